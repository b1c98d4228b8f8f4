"""Props behind the hands, drawn by the passes in which ``gl`` draws the hands."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import moderngl
import numpy as np

from aih_gen.scenes.scene import Camera, Prop, Scene
from aih_gen.typing import Float32, Int32, UInt8

Box = tuple[int, int, int, int]
"""Left, top, right, bottom in pixels."""
Screen = Callable[[moderngl.Framebuffer, str, tuple[str, ...], Sequence[Box]], None]
"""Runs a fragment program with its needs on the pixels of a framebuffer that a box holds."""
Program = Callable[..., Any]
ROW = "3f 3f 4f 3f"
NAMES = ("position", "normal", "albedo", "fine")
FLOATS = 13
NEAR = 0.06
"""Metres: faces that reach nearer to the camera are always drawn."""
MIN_AREA = 0.02
"""Square pixels of a triangle that faces away, from which on it is left out."""


class PropDrawer:
    """Draws the props of one scene, in the light and the shadow map of the renderer."""

    def __init__(
        self,
        context: moderngl.Context,
        size: int,
        smooth: bool,
        units: Sequence[str],
        program: Program,
        screen: Screen,
    ) -> None:
        """``smooth`` softens outlines. ``units`` names the texture units from the first one on."""
        self.context, self.size, self.screen, self.smooth = context, size, screen, smooth
        self.texture_unit = list(units).index("prop_texture")
        self.surface_program = program("prop.vert", "prop.frag", ("SURFACES",))
        depth = context.depth_renderbuffer((size, size))
        textures = {"prop_geometry": context.texture((size, size), 1, dtype="f4")}
        self.geometry = context.framebuffer([textures["prop_geometry"]], depth)
        textures["prop_surface"] = context.texture((size, size), 4, dtype="f2")
        textures["prop_albedo"] = context.texture((size, size), 4)
        self.surface = context.framebuffer(list(textures.values()), depth)
        targets = [[context.texture((size, size), 4) for _ in range(3)] for _ in range(2)]
        textures |= dict(zip(("prop_together", "prop_right", "prop_left"), targets[0], strict=True))
        # Keyed by shadows, which take three images. Outlines reach a pixel beyond what has depth.
        by_shadows = ((False, slice(1)), (True, slice(3)))
        self.drawn = {shadows: context.framebuffer(targets[0][parts], depth) for shadows, parts in by_shadows}
        self.smoothed = {shadows: context.framebuffer(targets[1][parts]) for shadows, parts in by_shadows}
        for framebuffer in self.drawn.values():
            framebuffer.depth_mask = False
        for name, texture in textures.items():
            texture.use(units.index(name))
        self.white = context.texture((1, 1), 3, b"\xff" * 3)

    def draw(self, scene: Scene, box: Box, detailed: bool, shadows: bool) -> UInt8:
        """(3,H,W,4), or (1,H,W,4) without ``shadows``, as ``Layers.behind`` has it; ``box`` holds all props."""
        rows = np.concatenate([_rows(prop) for prop in scene.props])
        faces = visible_faces(scene.props, scene.camera)
        buffers = self.context.buffer(rows.tobytes()), self.context.buffer(np.concatenate(faces).tobytes())
        self.geometry.use()  # else the scissor of the target that was used before would hold
        self.geometry.clear(red=np.inf, depth=1.0)
        self.surface.use()
        self.context.enable_only(moderngl.DEPTH_TEST)
        array = self.context.vertex_array(self.surface_program, [(buffers[0], ROW, *NAMES)], buffers[1])
        first = 0
        for prop, shown in zip(scene.props, faces, strict=True):
            texture = self._texture(prop)
            if shown.size:
                array.render(vertices=shown.size, first=first)
            first += shown.size
            if texture is not self.white:
                texture.release()
        target = self.drawn[shadows]
        self.screen(target, "prop_shade.frag", ("DETAILED",) * detailed + ("SHADOWS",) * shadows, [box])
        if self.smooth:
            target = self.smoothed[shadows]
            self.screen(target, "prop_resolve.frag", ("SHADOWS",) * shadows, [box])
        for made in (array, *buffers):
            made.release()
        colours = np.empty((3 if shadows else 1, self.size, self.size, 4), np.uint8)
        for attachment, colour in enumerate(colours):
            target.read_into(colour, components=4, attachment=attachment)
        return colours

    def _texture(self, prop: Prop) -> moderngl.Texture:
        """The prop's texture, white if it has none."""
        texture = self.white
        if prop.texture is not None:
            height, width = prop.texture.shape[:2]
            texture = self.context.texture(
                (width, height), 3, np.ascontiguousarray(prop.texture).tobytes(), alignment=1
            )
        texture.use(self.texture_unit)
        return texture


def _rows(prop: Prop) -> Float32:
    """(V,13) a prop's vertices as ``prop.vert`` takes them."""
    rows = np.zeros((len(prop.vertices), FLOATS), np.float32)
    rows[:, :3], rows[:, 3:6], rows[:, 6:9] = prop.vertices, prop.normals, prop.albedo
    rows[:, 9], rows[:, 10] = prop.scatter, prop.roughness
    if prop.texture_coordinates is not None:
        rows[:, 11:] = prop.texture_coordinates
    return rows


def visible_faces(props: Sequence[Prop], camera: Camera) -> list[Int32]:
    """(F,3) of each prop, the faces that may be in the image; their vertices come one prop after the other.

    Faces outside the image, and those of closed surfaces that face away, are left out: drawing a triangle in software
    costs most even if nothing of it is seen.
    """
    found, first = [], 0
    for prop in props:
        depth = prop.vertices[:, 2:]
        with np.errstate(divide="ignore", invalid="ignore"):
            pixel = prop.vertices[:, :2] / depth * camera.matrix[[0, 1], [0, 1]] + camera.matrix[:2, 2]
        near = depth[:, 0] < NEAR
        x, y = np.ascontiguousarray(pixel.T)
        beyond = np.uint8(1) * (x < -2) + np.uint8(2) * (y < -2)
        beyond += np.uint8(4) * (x > camera.size + 1) + np.uint8(8) * (y > camera.size + 1)
        beyond[near] = 0
        a, b, c = np.ascontiguousarray(prop.faces.T)
        seen = np.flatnonzero((beyond[a] & beyond[b] & beyond[c]) == 0)
        if prop.closed:
            a, b, c = a[seen], b[seen], c[seen]
            area = (x[b] - x[a]) * (y[c] - y[a]) - (x[c] - x[a]) * (y[b] - y[a])
            seen = seen[(area < MIN_AREA) | near[a] | near[b] | near[c]]
        found.append(prop.faces[seen] + np.int32(first))
        first += len(prop.vertices)
    return found
