"""The default renderer: moderngl over EGL, many scenes a framebuffer, one read-back. Runs on llvmpipe and on cards."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import moderngl
import numpy as np
from numpy.typing import NDArray

from aih_gen.config import Look
from aih_gen.errors import AIHError
from aih_gen.render.layers import ARM, HAND, Layers
from aih_gen.render.meshes import HandPair, Meshes, Topology
from aih_gen.scenes.scene import Scene

SHADERS = Path(__file__).parent / "shaders"
SCENES_PER_DRAW = 16
DEPTH_RANGE = (0.05, 10.0)
"""Nearest and farthest drawable distance in metres."""
SUPERSAMPLING = {"full": 2, "plain": 1}
MAX_LAMPS = 4


class GLRenderer:
    """Draws every hand into a tile of its own. Masks and depth are sampled at pixel centres and never blended."""

    def __init__(self, hands: HandPair, size: int, look: Look = "full") -> None:
        self.hands = hands
        self.size = size
        self.factor = SUPERSAMPLING[look]
        self.smooth = look == "full"
        self.context = _context()
        self.program = self.context.program(_shader("hand.vert"), _shader("hand.frag"))
        self.resolve = self.context.program(_shader("resolve.vert"), _shader("resolve.frag"))
        for unit, name in enumerate(("fine", "coarse", "shape")):
            self.resolve[name].value = unit  # type: ignore[union-attr]
        self.resolve["factor"].value = self.factor  # type: ignore[union-attr]
        self.screen = self.context.vertex_array(self.resolve, [])
        self._make_framebuffers()
        self.arrays = tuple(self._vertex_array(topology) for topology in hands.topology)

    def render(self, scenes: Sequence[Scene]) -> list[Layers]:
        """Draw each hand of each scene alone. ``scenes`` may be of any number."""
        layers: list[Layers] = []
        with self.context:  # another renderer of this process may have made its own context current
            for start in range(0, len(scenes), SCENES_PER_DRAW):
                layers += self._render_sheet(scenes[start : start + SCENES_PER_DRAW])
        return layers

    def _render_sheet(self, scenes: Sequence[Scene]) -> list[Layers]:
        meshes = [self.hands.pose(scenes, side) for side in (0, 1)]
        for side in (0, 1):
            self.arrays[side][1].write(_interleaved(meshes[side]))
        for k, scene in enumerate(scenes):
            # Every scene is drawn at the same place and copied into the sheet: at another place of a framebuffer the
            # rasteriser rounds differently, and a sample must not depend on its neighbours (law 1).
            self._set_scene(scene)
            self._draw(self.coarse, k)
            self._draw(self.fine, k)
            self._resolve_into_sheet(k)
        colour, geometry = self._read(0, 4, np.uint8), self._read(1, 2, np.float32)
        return [_layers(colour[k], geometry[k], meshes, k) for k in range(len(scenes))]

    def _draw(self, target: moderngl.Framebuffer, k: int) -> None:
        target.use()
        target.clear()
        self.context.enable_only(moderngl.DEPTH_TEST)
        part: Any = self.program["part"]
        width, height = target.size[0] // 2, target.size[1]
        for side in (0, 1):
            target.viewport = (side * width, 0, width, height)
            array, _, count, arm = self.arrays[side]
            part.value = float(HAND)
            array.render(vertices=count - arm, first=k * count)
            if arm:
                part.value = float(ARM)
                array.render(vertices=arm, first=k * count + count - arm)

    def _set_scene(self, scene: Scene) -> None:
        program: Any = self.program
        matrix, lights, skin = scene.camera.matrix, scene.lights, scene.skin
        program["intrinsics"].value = (matrix[0, 0], matrix[1, 1], matrix[0, 2], matrix[1, 2])
        program["size"].value = float(self.size)
        program["depth_range"].value = DEPTH_RANGE
        lamps = len(lights.directions)
        padding = ((0, MAX_LAMPS - lamps), (0, 0))
        program["ambient"].write(lights.ambient.tobytes())
        program["lamp_direction"].write(np.pad(lights.directions, padding).tobytes())
        program["lamp_colour"].write(np.pad(lights.colours, padding).tobytes())
        program["lamps"].value = lamps
        program["roughness"].value = skin.roughness
        program["mottle"].value = skin.mottle if self.smooth else 0.0
        program["noise_seed"].value = skin.seed

    def _resolve_into_sheet(self, k: int) -> None:
        self.sheet.use()
        row = k * self.size
        self.sheet.viewport = (0, row, 2 * self.size, self.size)
        self.context.enable_only(moderngl.NOTHING)
        resolve: Any = self.resolve
        resolve["row"].value = row
        for unit, texture in enumerate((self.fine_colour, self.coarse_colour, self.coarse_geometry)):
            texture.use(unit)
        self.screen.render(moderngl.TRIANGLES, vertices=3)

    def _make_framebuffers(self) -> None:
        """One scene at pixel resolution and supersampled, right hand beside left; and the sheet of all scenes."""
        context, (width, height) = self.context, (2 * self.size, self.size)
        fine = (width * self.factor, height * self.factor)
        sheet = (width, height * SCENES_PER_DRAW)
        limit = context.info["GL_MAX_TEXTURE_SIZE"]
        if max(*fine, *sheet) > limit:
            raise AIHError(
                f"size {self.size}: expected sheets of at most {limit} px a side, found {max(*fine, *sheet)}"
            )
        self.coarse_colour = context.texture((width, height), 4)
        self.coarse_geometry = context.texture((width, height), 2, dtype="f4")
        self.fine_colour = context.texture(fine, 4)
        self.coarse = context.framebuffer(
            [self.coarse_colour, self.coarse_geometry], context.depth_renderbuffer((width, height))
        )
        self.fine = context.framebuffer([self.fine_colour], context.depth_renderbuffer(fine))
        self.sheet = context.framebuffer([context.texture(sheet, 4), context.texture(sheet, 2, dtype="f4")])

    def _vertex_array(self, topology: Topology) -> tuple[moderngl.VertexArray, moderngl.Buffer, int, int]:
        """One vertex array that holds the side's mesh once for every scene of a sheet, and its index counts."""
        vertices, faces = len(topology.rest), topology.faces
        offsets = np.arange(SCENES_PER_DRAW, dtype=np.int32)[:, None, None] * vertices
        index = self.context.buffer((faces[None] + offsets).astype(np.int32).tobytes())
        rest = self.context.buffer(np.tile(topology.rest.astype(np.float32), (SCENES_PER_DRAW, 1)).tobytes())
        posed = self.context.buffer(reserve=SCENES_PER_DRAW * vertices * 9 * 4, dynamic=True)
        content = [(posed, "3f 3f 3f", "position", "normal", "albedo"), (rest, "3f", "rest")]
        array = self.context.vertex_array(self.program, content, index)
        return array, posed, faces.size, int((topology.part == ARM).sum()) * 3

    def _read(self, attachment: int, channels: int, dtype: Any) -> NDArray[Any]:
        """The sheet as (scenes, hands, size, size, channels), rows from the top of the image."""
        code = "f4" if dtype is np.float32 else "f1"
        raw = self.sheet.read(viewport=(0, 0, *self.sheet.size), components=channels, attachment=attachment, dtype=code)
        sheet = np.frombuffer(raw, dtype).reshape(SCENES_PER_DRAW, self.size, 2, self.size, channels)
        return sheet.transpose(0, 2, 1, 3, 4)


def _context() -> moderngl.Context:
    device = int(os.environ.get("AIH_EGL_DEVICE", "0"))
    options: dict[str, Any] = {"backend": "egl", "device_index": device}
    try:
        return moderngl.create_context(standalone=True, require=330, **options)
    except Exception as error:  # drivers fail in many ways, all of which mean the same to the user
        raise AIHError(
            f"OpenGL through EGL (device {device}): expected a driver, found none that starts ({error}); "
            "on Debian or Ubuntu: apt-get install libegl1 libgl1-mesa-dri"
        ) from error


def _shader(name: str) -> str:
    return (SHADERS / name).read_text()


def _interleaved(meshes: Meshes) -> bytes:
    return np.concatenate([meshes.vertices, meshes.normals, meshes.albedo], axis=-1).astype(np.float32).tobytes()


def _layers(colour: NDArray[np.uint8], geometry: NDArray[np.float32], meshes: list[Meshes], k: int) -> Layers:
    part = geometry[..., 1].astype(np.uint8)
    return Layers(
        colour=np.ascontiguousarray(colour[..., :3]),
        alpha=np.ascontiguousarray(colour[..., 3]),
        part=part,
        depth=np.where(part > 0, geometry[..., 0], np.float32(np.inf)),
        joints_3d=np.stack([mesh.joints_3d[k] for mesh in meshes]),
    )
