import { HandsView } from "/hands.js";

const SIDES = ["right", "left"];
const SVG = "http://www.w3.org/2000/svg";
const get = id => document.getElementById(id);
const view = new HandsView(get("hands"));
let working = null, addresses = [];

// ---- a photo comes in: chosen, dropped, pasted, an example, or the camera's

get("photo").addEventListener("change", event => {
  if (event.target.files[0]) send(event.target.files[0]);
  event.target.value = ""; // so that the same file can be chosen again
});

for (const name of ["dragover", "dragleave", "drop"]) {
  document.addEventListener(name, event => {
    event.preventDefault();
    document.body.classList.toggle("dropping", name === "dragover");
    if (name === "drop") sendFirst(event.dataTransfer.files, "dropped");
  });
}

document.addEventListener("paste", event => sendFirst(event.clipboardData.files, "pasted"));

function sendFirst(files, how) {
  const photo = [...files].find(file => file.type.startsWith("image/"));
  if (photo) send(photo);
  else say(`Expected a photo, found that what was ${how} is none.`, true);
}

for (const example of document.querySelectorAll(".example")) {
  example.addEventListener("click", async () => send(await (await fetch(example.dataset.photo)).blob()));
}

const video = document.querySelector("video");

get("camera").addEventListener("click", async () => {
  if (!navigator.mediaDevices) return say("This browser lets this page use no camera.", true);
  try {
    video.srcObject = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "environment", width: { ideal: 1280 } } });
  } catch (error) {
    return say({
      NotFoundError: "No camera was found.",
      NotAllowedError: "The browser did not allow this page to use the camera.",
      NotReadableError: "The camera is in use by another program.",
    }[error.name] || `The camera could not be used (${error.name}).`, true);
  }
  get("viewfinder").hidden = false;
  await video.play();
  get("take").focus();
});

get("close").addEventListener("click", closeCamera);

get("take").addEventListener("click", () => {
  if (!video.videoWidth) return say("The camera shows nothing yet.", true);
  const frame = document.createElement("canvas");
  frame.width = video.videoWidth; frame.height = video.videoHeight;
  frame.getContext("2d").drawImage(video, 0, 0);
  closeCamera();
  frame.toBlob(send, "image/png");
});

function closeCamera() {
  video.srcObject.getTracks().forEach(track => track.stop());
  video.srcObject = null;
  get("viewfinder").hidden = true;
  get("camera").focus();
}

// ---- it is worked on

get("stop").addEventListener("click", () => working?.abort());

async function send(photo) {
  working?.abort();
  const mine = working = new AbortController(), begun = Date.now();
  const tick = () => say(`Looking for hands, ${Math.floor((Date.now() - begun) / 1000)} s …`);
  const clock = setInterval(tick, 1000);
  tick(); setWorking(true);
  try {
    const answer = await fetch("/hdr", { method: "POST", body: photo, signal: mine.signal });
    const found = await answer.json();
    if (mine !== working) return;
    if (answer.ok) show(found);
    else say(found.error, true);
  } catch (error) {
    if (mine !== working) return;
    say(error.name === "AbortError" ? "Stopped." : "The program that serves this page does not answer.", error.name !== "AbortError");
  } finally {
    clearInterval(clock);
    if (mine === working) { working = null; setWorking(false); }
  }
}

function setWorking(on) {
  document.querySelector("progress").hidden = get("stop").hidden = !on;
}

function say(text, error = false) {
  get("said").textContent = text;
  get("said").classList.toggle("error", error);
}

// ---- and shown

function show(found) {
  addresses.forEach(URL.revokeObjectURL);
  addresses = [];
  const pictures = Object.fromEntries(Object.entries(found.pictures).map(([name, png]) => [name, address(bytes(png), "image/png")]));
  const present = SIDES.filter(side => found.result[side].present);
  showOverlay(found, pictures);
  get("wipes").replaceChildren(...present.map(side => wipe(side, pictures)));
  get("alone").parentElement.hidden = get("in-3d").parentElement.hidden = !present.length;
  document.querySelector("main").hidden = false;
  if (present.length) view.show(Object.values(found.meshes), found.bones, found.colours);
  showDownloads(found, pictures, present);
  get("shrunk").hidden = !found.shrunk;
  say(present.length ? `Found: ${found.found}.` : "No hand found in this photo.");
}

function showOverlay(found, pictures) {
  const layers = {
    "visible hands": [image(pictures.visible, "Visible parts of the hands, tinted over the photo"), true],
    "whole hands": [image(pictures.whole, "Whole hands, hidden parts too, outlined over the photo"), true],
    joints: [jointsSVG(found), true],
  };
  get("overlay").replaceChildren(image(pictures.photo, "The photo"), ...Object.values(layers).map(([layer]) => layer));
  get("layers").replaceChildren(...Object.entries(layers).map(([name, [layer, on]]) => {
    const label = document.createElement("label"), box = document.createElement("input");
    box.type = "checkbox";
    box.checked = on;
    box.addEventListener("change", () => layer.toggleAttribute("hidden", !box.checked));
    label.append(box, name);
    return label;
  }));
}

function jointsSVG({ size: [width, height], result, bones, colours }) {
  const svg = part("svg", { viewBox: `-0.5 -0.5 ${width} ${height}`, role: "img", "aria-label": "Joints of the hands over the photo; hollow ones are hidden" });
  const thick = Math.max(width, height) / 160;
  for (const side of SIDES.filter(name => result[name].present)) {
    const { joints_2d: joints, joint_state: states } = result[side];
    bones.forEach(([from, to], k) => {
      const [[x1, y1], [x2, y2]] = [joints[from], joints[to]];
      svg.append(part("line", { x1, y1, x2, y2, stroke: `rgb(${colours[Math.floor(k / 4)]})`, "stroke-width": thick }));
    });
    joints.forEach(([cx, cy], k) => {
      const colour = k ? `rgb(${colours[Math.floor((k - 1) / 4)]})` : "#282828", hidden = states[k] === 2 || states[k] === 3;
      svg.append(part("circle", { cx, cy, r: 0.9 * thick, stroke: colour, "stroke-width": thick / 2, fill: hidden ? "#fff" : colour }));
    });
  }
  return svg;
}

function wipe(side, pictures) {
  const figure = get("wipe").content.cloneNode(true).firstElementChild, stack = figure.querySelector(".stack");
  const slider = figure.querySelector("input"), move = () => {
    stack.style.setProperty("--at", `${slider.value}%`);
    slider.setAttribute("aria-valuetext", `photo ${slider.value}%, ${side} hand alone ${100 - slider.value}%`);
  };
  Object.assign(figure.querySelector(".before"), { src: pictures.photo, alt: "The photo" });
  Object.assign(figure.querySelector(".after"), { src: pictures[side], alt: `The ${side} hand alone` });
  slider.setAttribute("aria-label", `From the photo to the ${side} hand alone`);
  figure.querySelector("figcaption").textContent = `${side === "right" ? "Right" : "Left"} hand`;
  slider.addEventListener("input", move);
  move();
  return figure;
}

function showDownloads(found, pictures, present) {
  const files = [["overlay.png", pictures.overlay], ...present.map(side => [`${side}_alone.png`, pictures[side]])];
  files.push(["result.json", address(JSON.stringify(found.result, null, 1), "application/json")]);
  if (found.glb) files.push(["hands.glb", address(bytes(found.glb), "model/gltf-binary")]);
  get("downloads").replaceChildren(...files.map(([name, href]) => {
    const item = document.createElement("li"), link = document.createElement("a");
    Object.assign(link, { href, download: name, textContent: name });
    item.append(link);
    return item;
  }));
}

get("bones").addEventListener("change", event => { view.withBones = event.target.checked; view.redraw(); });
get("smaller").addEventListener("click", () => view.resize(1 / 1.25));
get("larger").addEventListener("click", () => view.resize(1.25));
get("reset").addEventListener("click", () => view.turnBack());

function image(src, alt) {
  return Object.assign(document.createElement("img"), { src, alt });
}

function part(name, attributes) {
  const made = document.createElementNS(SVG, name);
  Object.entries(attributes).forEach(([key, value]) => made.setAttribute(key, value));
  return made;
}

function bytes(base64) {
  return Uint8Array.from(atob(base64), letter => letter.charCodeAt(0));
}

function address(content, type) {
  addresses.push(URL.createObjectURL(new Blob([content], { type })));
  return addresses.at(-1);
}
