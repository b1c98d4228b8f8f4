"""Drawing what is behind the hands, by the passes in which ``gl`` draws the hands."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import moderngl
import numpy as np
from numpy.typing import NDArray

from aih_gen.scenes.scene import Prop

Box = tuple[int, int, int, int]
"""Left, top, right, bottom in pixels."""
Screen = Callable[[moderngl.Framebuffer, str, tuple[str, ...], Sequence[Box]], None]
"""Runs a fragment program with its needs on the pixels of a framebuffer that a box holds."""
Program = Callable[..., Any]
ROW = "3f 3f 4f 3f"
NAMES = ("position", "normal", "albedo", "fine")
FLOATS = 13
RESOLVED = (
    "geometry prop_geometry", "samples prop_samples", "drawn_alone prop_together", "drawn_together prop_right",
    "drawn_third prop_left",
)  # fmt: skip
"""The textures of ``resolve.frag``, by the names of those of props."""


class PropDrawer:
    """Draws the props of one scene, in the light and the shadow map of the renderer."""

    def __init__(
        self,
        context: moderngl.Context,
        size: int,
        supersampling: int,
        units: Sequence[str],
        program: Program,
        screen: Screen,
    ) -> None:
        """``supersampling`` is 0 for rough outlines. ``units`` names the texture units from the first one on."""
        self.context, self.size, self.screen = context, size, screen
        self.picture_unit = list(units).index("picture")
        self.surface_program = program("prop.vert", "prop.frag", ("SURFACES",))
        self.sample_program = program("prop.vert", "depth.frag")
        self.supersampled = supersampling > 0
        depth = context.depth_renderbuffer((size, size))
        kept = {"prop_geometry": context.texture((size, size), 1, dtype="f4")}
        self.geometry = context.framebuffer([kept["prop_geometry"]], depth)
        kept["prop_surface"] = context.texture((size, size), 4, dtype="f2")
        kept["prop_albedo"] = context.texture((size, size), 4)
        self.surface = context.framebuffer(list(kept.values()), depth)
        pictures = [[context.texture((size, size), 4) for _ in range(3)] for _ in range(2)]
        kept |= dict(zip(("prop_together", "prop_right", "prop_left"), pictures[0], strict=True))
        self.drawn, self.resolved = (
            {shadows: context.framebuffer(three[: 3 if shadows else 1], depth) for shadows in (False, True)}
            for three in pictures
        )
        for framebuffer in (*self.drawn.values(), *self.resolved.values()):
            framebuffer.depth_mask = False
        if self.supersampled:
            side = supersampling * size
            kept["prop_samples"] = context.depth_texture((side, side))
            kept["prop_samples"].compare_func = ""
            self.samples = context.framebuffer(depth_attachment=kept["prop_samples"])
        for name, texture in kept.items():
            texture.use(units.index(name))
        self.white = context.texture((1, 1), 3, b"\xff" * 3)

    def draw(self, props: Sequence[Prop], box: Box, shadows: bool, needs: tuple[str, ...]) -> NDArray[np.uint8]:
        """(3,H,W,4) as ``Layers.behind`` has it; ``box`` holds all props, ``needs`` are the shading program's."""
        rows, faces = np.concatenate([_rows(prop) for prop in props]), _faces(props)
        buffers = self.context.buffer(rows.tobytes()), self.context.buffer(faces.tobytes())
        self._draw_props(self.surface, self.geometry, self.surface_program, buffers, props)
        picture = self.drawn[shadows]
        self.screen(picture, "prop_shade.frag", needs, [box])
        if self.supersampled:
            self._draw_props(self.samples, self.samples, self.sample_program, buffers, props)
            picture = self.resolved[shadows]
            self.screen(picture, "resolve.frag", (*RESOLVED, *(("SHADOWS", "THIRD") if shadows else ())), [box])
        for buffer in buffers:
            buffer.release()
        colours = np.empty((3, self.size, self.size, 4), np.uint8)
        for k in range(3 if shadows else 1):
            picture.read_into(colours[k], components=4, attachment=k)
        if not shadows:
            colours[1:] = colours[0]
        return colours

    def _draw_props(
        self,
        target: moderngl.Framebuffer,
        cleared: moderngl.Framebuffer,
        program: Any,
        buffers: tuple[moderngl.Buffer, moderngl.Buffer],
        props: Sequence[Prop],
    ) -> None:
        """Clear what of a target must be empty where nothing is, then draw every prop from both sides."""
        cleared.use()  # else the scissor of the target that was used before would hold
        cleared.clear(red=np.inf, depth=1.0)
        target.use()
        self.context.enable_only(moderngl.DEPTH_TEST)
        layout = [(buffers[0], ROW, *NAMES)] if "normal" in program else [(buffers[0], "3f 40x", "position")]
        array = self.context.vertex_array(program, layout, buffers[1])
        first = 0
        for prop in props:
            texture = self._picture(prop) if "normal" in program else None
            array.render(vertices=prop.faces.size, first=first)
            first += prop.faces.size
            if texture is not None and texture is not self.white:
                texture.release()
        array.release()

    def _picture(self, prop: Prop) -> moderngl.Texture:
        """The prop's picture at its place, smoothly reduced where it is small."""
        texture = self.white
        if prop.picture is not None:
            height, width = prop.picture.shape[:2]
            texture = self.context.texture(
                (width, height), 3, np.ascontiguousarray(prop.picture).tobytes(), alignment=1
            )
            texture.build_mipmaps()
        texture.use(self.picture_unit)
        return texture


def _rows(prop: Prop) -> NDArray[np.float32]:
    """(V,13) a prop's vertices as ``prop.vert`` takes them."""
    rows = np.zeros((len(prop.vertices), FLOATS), np.float32)
    rows[:, :3], rows[:, 3:6], rows[:, 6:9] = prop.vertices, prop.normals, prop.albedo
    rows[:, 9], rows[:, 10] = prop.scatter, prop.roughness
    if prop.places is not None:
        rows[:, 11:] = prop.places
    return rows


def _faces(props: Sequence[Prop]) -> NDArray[np.int32]:
    """(F,3) faces of all props, whose vertices come one prop after the other."""
    firsts = np.cumsum([0, *(len(prop.vertices) for prop in props)])
    return np.concatenate([prop.faces + first for prop, first in zip(props, firsts, strict=False)], dtype=np.int32)
