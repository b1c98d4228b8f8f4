"""The default renderer: moderngl over EGL, with deferred shading. Runs on llvmpipe and on cards."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
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

Box = tuple[int, int, int, int]
"""Left, top, right, bottom in pixels."""
SHADERS = Path(__file__).parent / "shaders"
DEPTH_RANGE = (0.05, 10.0)
"""Nearest and farthest drawable distance in metres."""
SUPERSAMPLING = 2
"""Depth samples a pixel along each axis that smooth outlines in the full look. Masks and depth are pixel centres'."""
MAX_LAMPS = 4
SHADOW_SIDE = 160
SHADOW_REACH = 1.4
"""Radius of what casts shadows / distance of the farthest joint from the middle of both hands."""
KEPT_TEXTURES = 16
UNITS = (
    "detail", "grain", "painted_volume", "shadow_map", "places", "surfaces",
    "drawn_alone", "drawn_geometry", "drawn_together", "samples",
)  # fmt: skip
"""Texture units by the name of the sampler."""
SCENE = np.dtype(
    [
        ("intrinsics", "4f4"),
        ("depth_range", "2f4"),
        ("size", "f4"),
        ("lamps", "i4"),
        ("harmonics", "(9,4)f4"),
        ("lamp_direction", f"({MAX_LAMPS},4)f4"),
        ("lamp_colour", f"({MAX_LAMPS},4)f4"),
        ("lamp_axes", "(3,4)f4"),
        ("shadow_centre", "3f4"),
        ("shadow_radius", "f4"),
        ("back", "3f4"),
        ("roughness", "f4"),
        ("palm", "3f4"),
        ("mottle", "f4"),
        ("nail", "3f4"),
        ("crease", "f4"),
        ("sleeve", "3f4"),
        ("sleeve_start", "f4"),
        ("stripe", "3f4"),
        ("stripe_width", "f4"),
        ("volume_origin", "3f4"),
        ("vein", "f4"),
        ("volume_extent", "3f4"),
        ("flush", "f4"),
        ("noise_seed", "f4"),
        ("filling", "3f4"),
    ]
)
"""The uniform block of ``shaders/scene.glsl``."""


class SideArrays:
    """One side's mesh, ready for any program."""

    def __init__(self, context: moderngl.Context, topology: Topology) -> None:
        regions = topology.regions
        still = np.concatenate([topology.rest, (regions.palm - regions.arm_reach)[:, None]], 1)
        self.context = context
        self.index = context.buffer(topology.faces.astype(np.int32).tobytes())
        self.fixed = context.buffer(still.astype(np.float32).tobytes())
        self.positions, self.normals = (context.buffer(reserve=len(still) * 12, dynamic=True) for _ in range(2))
        self.hand_faces = int((topology.part == HAND).sum())
        self._arrays: dict[Any, moderngl.VertexArray] = {}

    def write(self, meshes: Meshes, k: int) -> None:
        """Take the pose of scene ``k``."""
        self.positions.write(meshes.vertices[k])
        self.normals.write(meshes.normals[k])

    def draw(self, program: Any) -> None:
        if program not in self._arrays:
            buffers: list[Any] = [(self.positions, "3f", "position")]
            if "normal" in program:
                buffers += [(self.normals, "3f", "normal"), (self.fixed, "3f 1f", "rest", "region")]
            self._arrays[program] = self.context.vertex_array(program, buffers, self.index)
        self._arrays[program].render()


class GLRenderer:
    """Draws every hand into a tile of its own. Masks and depth are sampled at pixel centres and never blended.

    Shading is deferred: a first pass keeps what lies at each pixel's centre, a second one shades every pixel once.
    Every scene is drawn at the same place: at another place of a framebuffer the rasteriser rounds differently, and a
    sample must not depend on its neighbours (law 1).
    """

    def __init__(self, hands: HandPair, size: int, look: Look = "full", textures: TextureLibrary | None = None) -> None:
        self.hands = hands
        self.size = size
        self.detailed = look == "full"
        self.textures = textures
        self.worn: dict[str, moderngl.Texture3D] = {}
        self.context = _context()
        self.context.cull_face = "front"  # images have y down, which turns every triangle round
        self.scene = np.zeros((), SCENE)
        self.block = self.context.buffer(reserve=SCENE.itemsize, dynamic=True)
        self.block.bind_to_uniform_block(0)
        self.screens: dict[tuple[str, ...], moderngl.VertexArray] = {}
        self._make_framebuffers()
        self._make_volumes(skin_volume(hands.models[0]))
        self.surface_program = self._program("hand.vert", "hand.frag")
        self.sample_program = self._program("hand.vert", "depth.frag")
        self.shadow_program = self._program("shadow.vert", "depth.frag")
        self.arrays = tuple(SideArrays(self.context, topology) for topology in hands.topology)

    def render(self, scenes: Sequence[Scene]) -> list[Layers]:
        """Draw each hand of each scene alone. ``scenes`` may be of any number."""
        meshes = [self.hands.pose(scenes, side) for side in (0, 1)]
        with self.context:  # another renderer of this process may have made its own context current
            return [self._render_scene(scene, meshes, k) for k, scene in enumerate(scenes)]

    def _render_scene(self, scene: Scene, meshes: Sequence[Meshes], k: int) -> Layers:
        shadows = self.detailed and scene.lights.shadows
        joints = np.stack([mesh.joints_3d[k] for mesh in meshes])
        self._fill_scene(scene, joints)
        self.block.write(self.scene)
        for array, mesh in zip(self.arrays, meshes, strict=True):
            array.write(mesh, k)
        boxes = [_pixel_box(mesh.vertices[k], scene.camera) for mesh in meshes]
        self._draw_hands(self.surface, self.surface_depth, self.surface_program)
        if shadows:
            self._draw_hands(self.shadow, self.shadow, self.shadow_program)
        if scene.skin.texture is not None:
            self._texture(scene.skin.texture).use(UNITS.index("painted_volume"))
        self._draw_screen(self.drawn, "shade.frag", self._needs(scene), boxes)
        picture = self.drawn
        if self.detailed:
            self._draw_hands(self.samples, self.samples, self.sample_program)
            self._draw_screen(self.resolved, "resolve.frag", ("SHADOWS",) * shadows, boxes)
            picture = self.resolved
        return self._read(picture, shadows, joints)

    def _needs(self, scene: Scene) -> tuple[str, ...]:
        """What the shading program has to do for this scene."""
        needs = {
            "DETAILED": self.detailed,
            "SHADOWS": self.detailed and scene.lights.shadows,
            "SLEEVED": scene.skin.sleeve is not None and self.hands.models[0].has_arm,
            "TEXTURED": scene.skin.texture is not None,
        }
        return tuple(name for name, needed in needs.items() if needed)

    def _draw_hands(self, target: moderngl.Framebuffer, depth: moderngl.Framebuffer, program: Any) -> None:
        """Clear a target's depth, which ``depth`` holds alone, then draw each hand into its half of it."""
        depth.use()  # else the scissor of the target that was used before would hold
        depth.clear(depth=1.0)
        target.use()
        self.context.enable_only(moderngl.DEPTH_TEST | moderngl.CULL_FACE)
        width, height = target.size[0] // 2, target.size[1]
        for side, array in enumerate(self.arrays):
            target.viewport = (side * width, 0, width, height)
            if "hand_faces" in program:
                program["hand_faces"] = array.hand_faces
            array.draw(program)
        target.viewport = (0, 0, *target.size)

    def _draw_screen(
        self, target: moderngl.Framebuffer, fragment: str, needs: tuple[str, ...], boxes: Sequence[Box]
    ) -> None:
        """Run a program on the pixels of each hand, which its box holds and the depth attached to the target knows."""
        key = (fragment, *needs)
        if key not in self.screens:  # compiled when first needed
            self.screens[key] = self.context.vertex_array(self._program("screen.vert", fragment, needs), [])
        screen = self.screens[key]
        target.use()
        target.clear()
        self.context.enable_only(moderngl.DEPTH_TEST)
        self.context.depth_func = ">"
        for side, (left, top, right, bottom) in enumerate(boxes):
            target.scissor = (side * self.size + left, top, right - left, bottom - top)
            if "side" in screen.program:
                screen.program["side"] = side
            screen.render(moderngl.TRIANGLES, vertices=3)
        target.scissor = (0, 0, *target.size)
        self.context.depth_func = "<"

    def _fill_scene(self, scene: Scene, joints: NDArray[np.float32]) -> None:
        lights, skin, sleeve, block = scene.lights, scene.skin, scene.skin.sleeve, self.scene
        matrix, lamps = scene.camera.matrix, len(scene.lights.directions)
        block["intrinsics"] = matrix[0, 0], matrix[1, 1], matrix[0, 2], matrix[1, 2]
        block["depth_range"], block["size"], block["lamps"] = DEPTH_RANGE, self.size, lamps
        block["harmonics"][:, :3] = lights.harmonics
        block["lamp_direction"][:lamps, :3] = lights.directions
        block["lamp_colour"][:lamps, :3] = lights.colours
        for name in ("back", "palm", "nail", "roughness", "mottle", "crease", "vein", "flush"):
            block[name] = getattr(skin, name)
        block["noise_seed"] = skin.seed
        if sleeve is not None:
            block["sleeve"], block["sleeve_start"] = sleeve.colour, sleeve.start
            block["stripe"], block["stripe_width"] = sleeve.stripe, sleeve.stripe_width
        if lights.shadows:
            both = joints.reshape(-1, 3)
            centre = (both.min(0) + both.max(0)) / 2
            block["lamp_axes"][:, :3] = _looking_from(lights.directions[0])
            block["shadow_centre"] = centre
            block["shadow_radius"] = SHADOW_REACH * float(np.linalg.norm(both - centre, axis=1).max())

    def _make_framebuffers(self) -> None:
        """One scene, right hand beside left."""
        context, (width, height) = self.context, (2 * self.size, self.size)
        limit = context.info["GL_MAX_TEXTURE_SIZE"]
        if SUPERSAMPLING * width > limit:
            raise AIHError(f"size {self.size}: expected at most {limit // 2 // SUPERSAMPLING}, which OpenGL draws here")
        kept = [context.texture((width, height), 4, dtype=kind) for kind in ("f4", "f2")]
        depth = context.depth_renderbuffer((width, height))
        self.surface = context.framebuffer(kept, depth)
        self.surface_depth = context.framebuffer(depth_attachment=depth)  # nothing reads colours off the hands
        pictures = [
            [
                context.texture((width, height), channels, dtype=kind)
                for channels, kind in ((4, "f1"), (1, "f4"), (4, "f1"))
            ]
            for _ in range(2)
        ]
        self.drawn = context.framebuffer(pictures[0], depth)
        self.drawn.depth_mask = False
        self.resolved = context.framebuffer(pictures[1], depth)
        self.resolved.depth_mask = False
        shadow_map = context.depth_texture((2 * SHADOW_SIDE, SHADOW_SIDE))
        shadow_map.compare_func = "<="
        shadow_map.repeat_x = shadow_map.repeat_y = False
        self.shadow = context.framebuffer(depth_attachment=shadow_map)
        samples = context.depth_texture((SUPERSAMPLING * width, SUPERSAMPLING * height))
        samples.compare_func = ""
        self.samples = context.framebuffer(depth_attachment=samples)
        for name, texture in zip(UNITS[3:], (shadow_map, *kept, *pictures[0], samples), strict=True):
            texture.use(UNITS.index(name))

    def _make_volumes(self, volume: SkinVolume) -> None:
        self.scene["volume_origin"], self.scene["volume_extent"] = volume.origin, volume.extent
        self.detail = self._volume_texture(volume.values)
        self.grain = self._volume_texture(grain_texture()[..., None], tiles=True)
        self.detail.use(UNITS.index("detail"))
        self.grain.use(UNITS.index("grain"))

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

    def _program(self, vertex: str, fragment: str, needs: Iterable[str] = ()) -> Any:
        shared = (SHADERS / "scene.glsl").read_text()
        sources = {}
        for kind, name in (("vertex_shader", vertex), ("fragment_shader", fragment)):
            version, _, body = (SHADERS / name).read_text().partition("\n")
            defined = "".join(f"#define {need}\n" for need in needs)
            sources[kind] = f"{version}\n{defined}{shared}{body}"
        program: Any = self.context.program(sources["vertex_shader"], sources["fragment_shader"])
        for unit, name in enumerate(UNITS):
            if name in program:
                program[name] = unit
        return program

    def _read(self, picture: moderngl.Framebuffer, shadows: bool, joints: NDArray[np.float32]) -> Layers:
        unread = np.empty((self.size, 2, self.size), np.float32)
        unread[0, 0, 0] = np.nan
        signed = self._read_one(picture, 1, unread)
        colour = self._read_one(picture, 0, np.empty((self.size, 2, self.size, 4), np.uint8))
        shaded = self._read_one(picture, 2, np.empty_like(colour)) if shadows else colour
        error = self.context.error
        if np.isnan(signed[0, 0, 0]) or error != "GL_NO_ERROR":
            raise AIHError(f"OpenGL: expected the picture that was drawn, found none ({error}); was the driver reset?")
        covered, arm = signed != 0, signed < 0
        depth = np.where(covered, np.abs(signed), np.float32(np.inf))
        part = covered * np.uint8(HAND) + arm * np.uint8(ARM - HAND)
        first, last = colour.swapaxes(0, 1), part.swapaxes(0, 1)  # hands first
        return Layers(first, shaded.swapaxes(0, 1) if shadows else first, last, depth.swapaxes(0, 1), joints)

    def _read_one(self, picture: moderngl.Framebuffer, attachment: int, into: NDArray[Any]) -> NDArray[Any]:
        """(H,2,W,...) both hands side by side, rows from the top of the image."""
        code, channels = ("f4", 1) if into.dtype == np.float32 else ("f1", 4)
        picture.read_into(into, (0, 0, *picture.size), components=channels, attachment=attachment, dtype=code)
        return into


def _pixel_box(vertices: NDArray[np.float32], camera: Camera) -> Box:
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
