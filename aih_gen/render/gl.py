"""The default renderer: moderngl over EGL, many scenes a framebuffer, one read-back. Runs on llvmpipe and on cards."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import moderngl
import numpy as np
from numpy.typing import NDArray

from aih_gen.config import Look
from aih_gen.errors import AIHError
from aih_gen.render.layers import ARM, HAND, Layers
from aih_gen.render.meshes import HandPair, Meshes, Topology
from aih_gen.render.skin_volume import SkinVolume, grain_texture, skin_volume, texture_volume
from aih_gen.scenes.scene import Camera, Scene
from aih_gen.scenes.textures import TextureLibrary

SHADERS = Path(__file__).parent / "shaders"
SCENES_PER_DRAW = 16
DEPTH_RANGE = (0.05, 10.0)
"""Nearest and farthest drawable distance in metres."""
SAMPLES = {"full": 4, "plain": 1}
"""Colour samples a pixel. Masks and depth are taken at pixel centres, whatever the look."""
MAX_LAMPS = 4
SHADOW_SIDE = 256
SHADOW_REACH = 1.4
"""Radius of what casts shadows / distance of the farthest joint from the middle of both hands."""
TEXTURE_UNIT = 3
KEPT_TEXTURES = 16


class SideArrays:
    """One side's mesh, once for every scene of a sheet, ready for any program."""

    def __init__(self, context: moderngl.Context, topology: Topology) -> None:
        vertices, faces = len(topology.rest), topology.faces
        offsets = np.arange(SCENES_PER_DRAW, dtype=np.int32)[:, None, None] * vertices
        regions = topology.regions
        still = np.concatenate([topology.rest, regions.palm[:, None], regions.arm_reach[:, None]], 1)
        self.context = context
        self.index = context.buffer((faces[None] + offsets).astype(np.int32).tobytes())
        self.fixed = context.buffer(np.tile(still.astype(np.float32), (SCENES_PER_DRAW, 1)).tobytes())
        self.posed = context.buffer(reserve=SCENES_PER_DRAW * vertices * 6 * 4, dynamic=True)
        self.arm_indices = int((topology.part == ARM).sum()) * 3
        self.hand_indices = faces.size - self.arm_indices
        self._arrays: dict[Any, moderngl.VertexArray] = {}

    def draw(self, program: Any, scene: int, part: int | None = None) -> None:
        """Draw the hand, the arm, or both."""
        if program not in self._arrays:
            posed = ("3f 3f", ["position", "normal"]) if "normal" in program else ("3f 3x4", ["position"])
            buffers = [(self.posed, posed[0], *posed[1])]
            if "rest" in program:
                buffers.append((self.fixed, "3f 2f", "rest", "surface"))
            self._arrays[program] = self.context.vertex_array(program, buffers, self.index)
        first = scene * (self.hand_indices + self.arm_indices) + (self.hand_indices if part == ARM else 0)
        count = {HAND: self.hand_indices, ARM: self.arm_indices, None: self.hand_indices + self.arm_indices}[part]
        if count:
            self._arrays[program].render(vertices=count, first=first)


class GLRenderer:
    """Draws every hand into a tile of its own. Masks and depth are sampled at pixel centres and never blended."""

    def __init__(self, hands: HandPair, size: int, look: Look = "full", textures: TextureLibrary | None = None) -> None:
        self.hands = hands
        self.size = size
        self.detailed = look == "full"
        self.textures = textures
        self.worn: dict[str, moderngl.Texture3D] = {}
        self.context = _context()
        self.samples = min(SAMPLES[look], self.context.max_samples)
        self.context.cull_face = "front"  # images have y down, which turns every triangle round
        self.skins: dict[tuple[str, ...], Any] = {}
        self.geometry_program = self._program("hand.vert", "geometry.frag")
        self.shadow_program = self._program("shadow.vert", "shadow.frag")
        self.resolve = self._program("resolve.vert", "resolve.frag")
        self.screen = self.context.vertex_array(self.resolve, [])
        self._make_framebuffers()
        self._make_textures(skin_volume(hands.models[0]))
        self.arrays = tuple(SideArrays(self.context, topology) for topology in hands.topology)

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
            posed = np.concatenate([meshes[side].vertices, meshes[side].normals], axis=-1)
            self.arrays[side].posed.write(posed)
        self.sheet.clear()
        for k, scene in enumerate(scenes):
            # Every scene is drawn at the same place and copied into the sheet: at another place of a framebuffer the
            # rasteriser rounds differently, and a sample must not depend on its neighbours (law 1).
            skins = {HAND: self._skin_program(scene, HAND), ARM: self._skin_program(scene, ARM)}
            for program in set(skins.values()):
                self._set_look(program, scene)
            if "shadow_map" in skins[HAND]:
                self._draw_shadows(scene, [mesh.joints_3d[k] for mesh in meshes], k, set(skins.values()))
            if scene.skin.texture is not None:
                self._texture(scene.skin.texture).use(TEXTURE_UNIT)
            _set_camera(self.geometry_program, scene.camera)
            self._draw_geometry(k)
            self._draw_colours(skins, k)
            boxes = [_pixel_box(mesh.vertices[k], scene.camera) for mesh in meshes]
            self._resolve_into_sheet(k, boxes)
        colour, shaded, geometry = self._read(0, 4, np.uint8), self._read(1, 4, np.uint8), self._read(2, 2, np.float32)
        return [_layers(colour[k], shaded[k], geometry[k], meshes, k) for k in range(len(scenes))]

    def _tiles(self, target: moderngl.Framebuffer, flags: int) -> Iterator[int]:
        """Clear a target, then make each side's tile of it the one that is drawn to."""
        target.use()
        target.clear(depth=1.0)
        self.context.enable_only(flags)
        width, height = target.size[0] // 2, target.size[1]
        for side in (0, 1):
            target.viewport = (side * width, 0, width, height)
            yield side

    def _draw_geometry(self, k: int) -> None:
        for side in self._tiles(self.flat, moderngl.DEPTH_TEST | moderngl.CULL_FACE):
            for part in (HAND, ARM):
                _set(self.geometry_program, part=float(part))
                self.arrays[side].draw(self.geometry_program, k, part)

    def _draw_colours(self, skins: dict[int, Any], k: int) -> None:
        for side in self._tiles(self.fine, moderngl.DEPTH_TEST | moderngl.CULL_FACE):
            for part, program in skins.items():
                _set(program, side=side)
                self.arrays[side].draw(program, k, part)

    def _draw_shadows(self, scene: Scene, joints: Sequence[NDArray[np.float32]], k: int, skins: Iterable[Any]) -> None:
        """Each hand's depth as the first lamp sees it, in a tile of its own."""
        both = np.concatenate(joints)
        centre = (both.min(0) + both.max(0)) / 2
        radius = SHADOW_REACH * float(np.linalg.norm(both - centre, axis=1).max())
        axes = np.ascontiguousarray(_looking_from(scene.lights.directions[0]).T).tobytes()  # column by column
        for program in (self.shadow_program, *skins):
            _set(program, lamp_axes=axes, shadow_centre=tuple(centre.tolist()), shadow_radius=radius)
        for side in self._tiles(self.shadow, moderngl.DEPTH_TEST):
            self.arrays[side].draw(self.shadow_program, k)

    def _skin_program(self, scene: Scene, part: int) -> Any:
        """The program that does what this scene needs and no more, compiled when first needed."""
        needs = {
            "DETAILED": self.detailed,
            "SHADOWS": self.detailed and scene.lights.shadows,
            "SLEEVED": part == ARM and scene.skin.sleeve is not None,
            "TEXTURED": part == HAND and scene.skin.texture is not None,
        }
        key = tuple(name for name, needed in needs.items() if needed)
        if key not in self.skins:
            self.skins[key] = self._program("hand.vert", "hand.frag", key)
            _set(
                self.skins[key],
                volume_origin=tuple(self.volume.origin.tolist()),
                volume_extent=tuple(self.volume.extent.tolist()),
                detail=0,
                grain=1,
                shadow_map=2,
                texture_volume=TEXTURE_UNIT,
            )
        return self.skins[key]

    def _set_look(self, program: Any, scene: Scene) -> None:
        _set_camera(program, scene.camera)
        lights, skin, sleeve = scene.lights, scene.skin, scene.skin.sleeve
        lamps = len(lights.directions)
        padding = ((0, MAX_LAMPS - lamps), (0, 0))
        _set(
            program,
            harmonics=lights.harmonics.tobytes(),
            lamp_direction=np.pad(lights.directions, padding).tobytes(),
            lamp_colour=np.pad(lights.colours, padding).tobytes(),
            lamps=lamps,
            back=tuple(skin.back.tolist()),
            palm=tuple(skin.palm.tolist()),
            nail=tuple(skin.nail.tolist()),
            roughness=skin.roughness,
            mottle=skin.mottle,
            crease=skin.crease,
            vein=skin.vein,
            flush=skin.flush,
            noise_seed=skin.seed,
        )
        if sleeve is not None:
            _set(
                program,
                sleeve=tuple(sleeve.colour.tolist()),
                stripe=tuple(sleeve.stripe.tolist()),
                stripe_width=sleeve.stripe_width,
                sleeve_start=sleeve.start,
            )

    def _resolve_into_sheet(self, k: int, boxes: Sequence[tuple[int, int, int, int]]) -> None:
        """Copy the scene into its row; only ``boxes`` (left, top, right, bottom) of each side hold anything."""
        self.sheet.use()
        row = k * self.size
        self.sheet.viewport = (0, row, 2 * self.size, self.size)
        self.context.enable_only(moderngl.NOTHING)
        _set(self.resolve, row=row, samples=self.samples)
        textures: list[moderngl.Texture] = [*self.fine_colours, self.flat_geometry]
        for unit, texture in enumerate(textures):
            texture.use(unit)
        for side, (left, top, right, bottom) in enumerate(boxes):
            self.sheet.scissor = (side * self.size + left, row + top, right - left, bottom - top)
            self.screen.render(moderngl.TRIANGLES, vertices=3)
        self.sheet.scissor = (0, 0, *self.sheet.size)
        self._bind_textures()

    def _make_framebuffers(self) -> None:
        """One scene, right hand beside left: colours, geometry, shadows; and the sheet of all scenes."""
        context, (width, height) = self.context, (2 * self.size, self.size)
        sheet = (width, height * SCENES_PER_DRAW)
        limit = context.info["GL_MAX_TEXTURE_SIZE"]
        if max(sheet) > limit:
            raise AIHError(f"size {self.size}: expected sheets of at most {limit} px a side, found {max(sheet)}")
        self.flat_geometry = context.texture((width, height), 2, dtype="f4")
        self.flat = context.framebuffer([self.flat_geometry], context.depth_renderbuffer((width, height)))
        self.fine_colours = [context.texture((width, height), 4, samples=self.samples) for _ in range(2)]
        depth = context.depth_renderbuffer((width, height), samples=self.samples)
        self.fine = context.framebuffer(self.fine_colours, depth)
        self.shadow_map = context.depth_texture((2 * SHADOW_SIDE, SHADOW_SIDE))
        self.shadow_map.compare_func = "<="
        self.shadow_map.repeat_x = self.shadow_map.repeat_y = False
        self.shadow = context.framebuffer(depth_attachment=self.shadow_map)
        self.sheet = context.framebuffer(
            [context.texture(sheet, 4), context.texture(sheet, 4), context.texture(sheet, 2, dtype="f4")]
        )
        for unit, name in enumerate(("alone", "together", "shape")):
            _set(self.resolve, **{name: unit})

    def _make_textures(self, volume: SkinVolume) -> None:
        self.volume = volume
        self.detail = self._volume_texture(volume.values)
        self.grain = self._volume_texture(grain_texture()[..., None], tiles=True)
        self._bind_textures()

    def _texture(self, name: str) -> moderngl.Texture3D:
        """A person's skin, painted when first worn; the one painted first is dropped when there are many."""
        if name not in self.worn:
            assert self.textures is not None, "a scene with a texture needs the library that it was sampled from"
            library, model = self.textures, self.hands.models[0]
            volume = texture_volume(model, library.faces, library.corners, library.picture(name))
            if len(self.worn) >= KEPT_TEXTURES:
                self.worn.pop(next(iter(self.worn))).release()
            self.worn[name] = self._volume_texture(volume.values)
        return self.worn[name]

    def _volume_texture(self, values: NDArray[np.uint8], tiles: bool = False) -> moderngl.Texture3D:
        depth, height, width, channels = values.shape
        texture = self.context.texture3d((width, height, depth), channels, np.ascontiguousarray(values).tobytes())
        texture.repeat_x = texture.repeat_y = texture.repeat_z = tiles
        return texture

    def _bind_textures(self) -> None:
        self.detail.use(0)
        self.grain.use(1)
        self.shadow_map.use(2)

    def _program(self, vertex: str, fragment: str, needs: Iterable[str] = ()) -> Any:
        first, _, rest = (SHADERS / fragment).read_text().partition("\n")
        defined = "".join(f"#define {name}\n" for name in needs)
        return self.context.program((SHADERS / vertex).read_text(), f"{first}\n{defined}{rest}")

    def _read(self, attachment: int, channels: int, dtype: Any) -> NDArray[Any]:
        """The sheet as (scenes, hands, size, size, channels), rows from the top of the image."""
        code = "f4" if dtype is np.float32 else "f1"
        raw = self.sheet.read(viewport=(0, 0, *self.sheet.size), components=channels, attachment=attachment, dtype=code)
        sheet = np.frombuffer(raw, dtype).reshape(SCENES_PER_DRAW, self.size, 2, self.size, channels)
        return sheet.transpose(0, 2, 1, 3, 4)


def _set(program: Any, **uniforms: Any) -> None:
    """Set uniforms; those that the compiler left out, because nothing depends on them, are passed over."""
    for name, value in uniforms.items():
        if name not in program:
            continue
        if isinstance(value, bytes):
            program[name].write(value)
        else:
            program[name].value = value


def _set_camera(program: Any, camera: Camera) -> None:
    matrix = camera.matrix
    _set(
        program,
        intrinsics=(matrix[0, 0], matrix[1, 1], matrix[0, 2], matrix[1, 2]),
        size=float(camera.size),
        depth_range=DEPTH_RANGE,
    )


def _pixel_box(vertices: NDArray[np.float32], camera: Camera) -> tuple[int, int, int, int]:
    """Left, top, right, bottom of what vertices (V,3) may cover; the whole image if some are beside the camera."""
    size = camera.size
    if vertices[:, 2].min() <= DEPTH_RANGE[0]:
        return 0, 0, size, size
    pixels = vertices[:, :2] / vertices[:, 2:] * camera.matrix[[0, 1], [0, 1]] + camera.matrix[:2, 2]
    low = np.clip(pixels.min(0) - 2, 0, size).astype(int)
    high = np.clip(pixels.max(0) + 3, low, size).astype(int)
    return int(low[0]), int(low[1]), int(high[0]), int(high[1])


def _looking_from(direction: NDArray[np.float32]) -> NDArray[np.float32]:
    """(3,3) rows: two axes across a parallel beam of light from ``direction``, and the way it travels."""
    away = -direction / np.linalg.norm(direction)
    across = np.cross([0, 1, 0] if abs(away[1]) < 0.9 else [1, 0, 0], away)
    across /= np.linalg.norm(across)
    return np.stack([across, np.cross(away, across), away]).astype(np.float32)


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


def _layers(
    colour: NDArray[np.uint8], shaded: NDArray[np.uint8], geometry: NDArray[np.float32], meshes: list[Meshes], k: int
) -> Layers:
    part = geometry[..., 1].astype(np.uint8)
    return Layers(
        colour=colour,
        shaded_colour=shaded,
        part=part,
        depth=np.where(part > 0, geometry[..., 0], np.float32(np.inf)),
        joints_3d=np.stack([mesh.joints_3d[k] for mesh in meshes]),
    )
