// Meshes of hands on a canvas, turned by pointer and keys. A small rasteriser with a depth buffer: no library, no WebGL.

const LIGHT = [-0.42, -0.66, -0.62]; // where it comes from: left, above, behind the viewer; x right, y down, z away
const STEP = 0.12; // radians a key
const DENSE = 2; // drawn pixels a pixel of the page, so that edges are smooth; one while the hands move
const SETTLED = 150; // ms after the last movement

export class HandsView {
  constructor(canvas) {
    this.canvas = canvas;
    this.hands = [];
    this.bones = [];
    this.withBones = false;
    this.waiting = false;
    this.turnBack();
    this.drag = null; // the pointer that turns the hands, and where it was; browsers differ on movementX of a finger
    canvas.addEventListener("pointerdown", event => {
      if (this.drag || event.button) return; // a second finger, another button
      canvas.setPointerCapture(event.pointerId);
      this.drag = { id: event.pointerId, x: event.clientX, y: event.clientY };
    });
    canvas.addEventListener("pointermove", event => {
      if (this.drag?.id !== event.pointerId) return;
      this.turn((event.clientX - this.drag.x) / 120, (event.clientY - this.drag.y) / 120);
      Object.assign(this.drag, { x: event.clientX, y: event.clientY });
    });
    canvas.addEventListener("lostpointercapture", () => { this.drag = null; });
    canvas.addEventListener("keydown", event => this.press(event));
    new ResizeObserver(() => this.redraw()).observe(canvas);
  }

  // `meshes`: vertices and joints [[x, y, z], ...] in metres, faces [[a, b, c], ...] counter-clockwise, colour [r, g, b].
  show(meshes, bones, boneColours) {
    const points = meshes.flatMap(mesh => mesh.vertices);
    const middle = [0, 1, 2].map(axis => {
      const places = points.map(point => point[axis]);
      return (Math.min(...places) + Math.max(...places)) / 2;
    });
    const centred = list => Float32Array.from(list.flatMap(point => point.map((v, axis) => v - middle[axis])));
    this.reach = Math.max(...points.map(point => Math.hypot(...point.map((v, axis) => v - middle[axis]))));
    this.hands = meshes.map(mesh => {
      const vertices = centred(mesh.vertices), faces = Uint32Array.from(mesh.faces.flat());
      return { vertices, faces, normals: normals(vertices, faces), joints: centred(mesh.joints), shades: shades(mesh.colour) };
    });
    this.bones = bones.map((bone, k) => ({ bone, colour: `rgb(${boneColours[Math.floor(k / 4)]})` }));
    this.turnBack();
  }

  turnBack() {
    this.across = 0; this.down = 0; this.zoom = 1;
    this.redraw();
  }

  turn(across, down) {
    this.across += across;
    this.down = Math.max(-Math.PI / 2, Math.min(Math.PI / 2, this.down + down));
    this.redraw();
  }

  resize(factor) {
    this.zoom = Math.max(0.5, Math.min(4, this.zoom * factor));
    this.redraw();
  }

  press(event) {
    const actions = {
      ArrowLeft: () => this.turn(-STEP, 0), ArrowRight: () => this.turn(STEP, 0),
      ArrowUp: () => this.turn(0, -STEP), ArrowDown: () => this.turn(0, STEP),
      "+": () => this.resize(1.15), "=": () => this.resize(1.15), "-": () => this.resize(1 / 1.15),
      Home: () => this.turnBack(),
    };
    if (event.ctrlKey || event.metaKey || event.altKey || !(event.key in actions)) return;
    event.preventDefault();
    actions[event.key]();
  }

  redraw() {
    if (this.waiting) return;
    this.waiting = true;
    clearTimeout(this.settling);
    requestAnimationFrame(() => {
      this.waiting = false;
      this.draw(1);
      this.settling = setTimeout(() => this.draw(Math.max(DENSE, window.devicePixelRatio)), SETTLED);
    });
  }

  draw(dense) {
    const { canvas } = this;
    const width = Math.round(canvas.clientWidth * dense), height = Math.round(canvas.clientHeight * dense);
    if (!width || !height || !this.hands.length) return;
    if (canvas.width !== width || canvas.height !== height) { canvas.width = width; canvas.height = height; }
    const pen = canvas.getContext("2d"), rotation = rotationOf(this.across, this.down);
    const scale = this.zoom * 0.47 * Math.min(width, height) / this.reach;
    const image = pen.createImageData(width, height), pixels = new Uint32Array(image.data.buffer);
    const depths = new Float32Array(width * height).fill(Infinity);
    const placed = points => moved(points, rotation, scale, width / 2, height / 2);
    for (const hand of this.hands) {
      const light = lights(moved(hand.normals, rotation, 1, 0, 0));
      paint(placed(hand.vertices), light, hand.faces, hand.shades, pixels, depths, width, height);
    }
    pen.putImageData(image, 0, 0);
    if (this.withBones) this.hands.forEach(hand => this.drawBones(pen, placed(hand.joints), width / 110));
  }

  drawBones(pen, joints, thickness) {
    pen.lineCap = "round";
    for (const [wide, colour] of [[1.5 * thickness, "#000a"], [thickness, null]]) {
      pen.lineWidth = wide;
      for (const { bone: [from, to], colour: own } of this.bones) {
        pen.strokeStyle = colour || own;
        pen.beginPath();
        pen.moveTo(joints[3 * from], joints[3 * from + 1]);
        pen.lineTo(joints[3 * to], joints[3 * to + 1]);
        pen.stroke();
      }
    }
  }
}

// Rows of a rotation; a drag to the right moves what is near to the right.
function rotationOf(across, down) {
  const [ca, sa, cd, sd] = [Math.cos(across), Math.sin(across), Math.cos(down), Math.sin(down)];
  return [ca, 0, -sa, -sa * sd, cd, -ca * sd, sa * cd, sd, ca * cd];
}

function moved(points, r, scale, x0, y0) {
  const found = new Float32Array(points.length);
  for (let k = 0; k < points.length; k += 3) {
    const x = points[k] * scale, y = points[k + 1] * scale, z = points[k + 2] * scale;
    found[k] = r[0] * x + r[1] * y + r[2] * z + x0;
    found[k + 1] = r[3] * x + r[4] * y + r[5] * z + y0;
    found[k + 2] = r[6] * x + r[7] * y + r[8] * z;
  }
  return found;
}

// Brightness of each vertex, 0 to 255.
function lights(normals) {
  return new Float32Array(normals.length / 3).map((_, k) => {
    const facing = normals[3 * k] * LIGHT[0] + normals[3 * k + 1] * LIGHT[1] + normals[3 * k + 2] * LIGHT[2];
    return 255 * Math.max(0, Math.min(1, 0.45 + 0.55 * facing));
  });
}

// Faces turned to the viewer, brightness interpolated between their corners, the nearest of each pixel kept.
function paint(points, light, faces, shades, pixels, depths, width, height) {
  for (let f = 0; f < faces.length; f += 3) {
    const a = faces[f], b = faces[f + 1], c = faces[f + 2];
    const ax = points[3 * a], ay = points[3 * a + 1], bx = points[3 * b], by = points[3 * b + 1], cx = points[3 * c], cy = points[3 * c + 1];
    const area = (bx - ax) * (cy - ay) - (by - ay) * (cx - ax);
    if (!(area < 0)) continue; // its back
    const left = Math.max(0, Math.ceil(Math.min(ax, bx, cx))), right = Math.min(width - 1, Math.floor(Math.max(ax, bx, cx)));
    const top = Math.max(0, Math.ceil(Math.min(ay, by, cy))), bottom = Math.min(height - 1, Math.floor(Math.max(ay, by, cy)));
    const az = points[3 * a + 2], bz = points[3 * b + 2], cz = points[3 * c + 2];
    for (let y = top; y <= bottom; y++) {
      for (let x = left; x <= right; x++) {
        const u = ((bx - x) * (cy - y) - (by - y) * (cx - x)) / area, v = ((cx - x) * (ay - y) - (cy - y) * (ax - x)) / area;
        const w = 1 - u - v;
        if (u < 0 || v < 0 || w < 0) continue;
        const depth = u * az + v * bz + w * cz, at = y * width + x;
        if (depth >= depths[at]) continue;
        depths[at] = depth;
        pixels[at] = shades[Math.round(u * light[a] + v * light[b] + w * light[c])];
      }
    }
  }
}

// Unit normals of vertices, outwards.
function normals(vertices, faces) {
  const sums = new Float32Array(vertices.length);
  for (let f = 0; f < faces.length; f += 3) {
    const [a, b, c] = [0, 1, 2].map(k => vertices.subarray(3 * faces[f + k], 3 * faces[f + k] + 3));
    const u = b.map((v, axis) => v - a[axis]), w = c.map((v, axis) => v - a[axis]);
    const normal = [u[1] * w[2] - u[2] * w[1], u[2] * w[0] - u[0] * w[2], u[0] * w[1] - u[1] * w[0]];
    for (let k = 0; k < 3; k++) normal.forEach((v, axis) => { sums[3 * faces[f + k] + axis] += v; });
  }
  for (let k = 0; k < sums.length; k += 3) {
    const length = Math.hypot(sums[k], sums[k + 1], sums[k + 2]) || 1;
    for (let axis = 0; axis < 3; axis++) sums[k + axis] /= length;
  }
  return sums;
}

// Pixels (red, green, blue, opaque) by brightness 0 to 255: from a dark tone over the colour towards white.
function shades(colour) {
  const bytes = new Uint8ClampedArray(4 * 256);
  for (let k = 0; k < 256; k++) {
    const bright = k / 255, white = Math.max(0, bright - 0.7) * 1.1;
    colour.forEach((v, channel) => { bytes[4 * k + channel] = v * (0.3 + 0.7 * Math.min(1, bright / 0.8)) * (1 - white) + 255 * white; });
    bytes[4 * k + 3] = 255;
  }
  return new Uint32Array(bytes.buffer);
}
