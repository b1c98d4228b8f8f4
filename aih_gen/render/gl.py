"""The default renderer: moderngl over EGL, with deferred shading. Runs on llvmpipe and on cards."""

from __future__ import annotations

import weakref
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import moderngl
import numpy as np

from aih_gen.errors import AIHError
from aih_gen.render.context import driver_of, open_context
from aih_gen.render.dress import BINDING, DressBlock, dress_needs
from aih_gen.render.gl_arrays import SCENE, SideArrays
from aih_gen.render.gl_props import PropDrawer
from aih_gen.render.layers import ARM, HAND, Layers
from aih_gen.render.meshes import HandPair, Meshes
from aih_gen.render.skin_volume import SkinVolume, grain_texture, skin_volume, texture_volume
from aih_gen.scenes.scene import Scene
from aih_gen.scenes.textures import TextureLibrary
from aih_gen.typing import AnyArray, Float32, Look, UInt8

Box = tuple[int, int, int, int]
"""Left, top, right, bottom in pixels."""
SHADERS = Path(__file__).parent / "shaders"
DEPTH_RANGE = (0.05, 10.0)
"""Nearest and farthest drawable distance in metres."""
SUPERSAMPLING = 2
"""Depth samples a pixel along each axis that smooth outlines in the full look. Masks and depth are pixel centres'."""
SHADOW_SIDE = 160
SHADOW_REACH = 1.4
"""Radius of what casts shadows / distance of the farthest joint from the middle of both hands."""
SHADOW_FADED = 0.7
"""Metres behind the hands beyond which their shadows are too soft to be seen."""
MAX_CACHED_TEXTURES = 16
UNITS = (
    "detail", "grain", "painted_volume", "shadow_map", "geometry", "surfaces", "places",
    "drawn_alone", "drawn_together", "samples", "prop_geometry", "prop_surface", "prop_albedo", "prop_together",
    "prop_right", "prop_left", "prop_texture",
)  # fmt: skip
"""Texture units by the name of the sampler."""


class GLRenderer:
    """Draws every hand into a tile of its own. Masks and depth are sampled at pixel centres and never blended.

    Shading is deferred: a first pass keeps what lies at each pixel's centre, a second one shades every pixel once.
    Every scene is drawn at the same place: at another place of a framebuffer the rasteriser rounds differently, and a
    sample must not depend on its neighbours (law 1).
    """

    def __init__(
        self,
        hands: HandPair,
        size: int,
        look: Look = "full",
        textures: TextureLibrary | None = None,
        device: int | None = None,
    ) -> None:
        """``device``: the number of EGL's device that draws; by default as ``context.open_context`` takes it."""
        self.hands = hands
        self.size = size
        self.detailed = look == "full"
        self.places = self.detailed or (textures is not None and len(textures.names) > 0)  # skin has a pattern
        self.textures = textures
        self.volumes: dict[str, moderngl.Texture3D] = {}
        self.context = open_context(device)
        # All that is drawn with goes with the context, and neither goes with its Python object.
        weakref.finalize(self, self.context.release).atexit = False
        self.driver = driver_of(self.context)
        self.context.cull_face = "front"  # images have y down, which turns every triangle round
        self.scene = np.zeros((), SCENE)
        self.block = self.context.buffer(reserve=SCENE.itemsize, dynamic=True)
        self.block.bind_to_uniform_block(0)
        self.dress = DressBlock(self.context, hands.models[0])
        self.screens: dict[tuple[str, ...], moderngl.VertexArray] = {}
        self._make_framebuffers()
        self._make_volumes(skin_volume(hands.models[0]))
        self.surface_program = self._program("hand.vert", "hand.frag", ("PLACES",) * self.places)
        self.sample_program = self._program("hand.vert", "depth.frag")
        self.shadow_program = self._program("shadow.vert", "depth.frag")
        self.arrays = tuple(SideArrays(self.context, topology) for topology in hands.topology)
        self.props = PropDrawer(self.context, size, self.detailed, UNITS, self._program, self._draw_screen)

    def render(self, scenes: Sequence[Scene]) -> list[Layers]:
        """Draw each hand of each scene alone. ``scenes`` may be of any number."""
        meshes = [self.hands.pose(scenes, side) for side in (0, 1)]
        boxes = list(zip(*(_pixel_boxes(mesh.vertices, scenes) for mesh in meshes), strict=True))
        with self.context:  # another renderer of this process may have made its own context current
            return [self._render_scene(scene, meshes, boxes[k], k) for k, scene in enumerate(scenes)]

    def _render_scene(self, scene: Scene, meshes: Sequence[Meshes], boxes: Sequence[Box], k: int) -> Layers:
        sides = [side for side, hand in enumerate(scene.hands) if hand is not None]
        shadows = self.detailed and scene.lights.shadows and bool(sides)
        joints = np.stack([mesh.joints_3d[k] for mesh in meshes])
        self._fill_scene(scene, joints[sides], shadows)
        self.block.write(self.scene)
        self.dress.fill(scene)
        for side in sides:
            self.arrays[side].write(meshes[side], k)
        self._draw_hands(self.surface, self.geometry, self.surface_program, sides)
        if shadows:
            self._draw_hands(self.shadow, self.shadow, self.shadow_program, sides)
        if scene.skin.texture is not None:
            self._texture(scene.skin.texture).use(UNITS.index("painted_volume"))
        target = self.drawn[shadows]
        self._draw_screen(target, "shade.frag", self._needs(scene), boxes)
        if self.detailed:
            self._draw_hands(self.samples, self.samples, self.sample_program, sides)
            target = self.resolved[shadows]
            self._draw_screen(target, "resolve.frag", ("SHADOWS",) * shadows, boxes)
        layers = self._read(target, shadows, joints)
        if not scene.props:
            return layers
        vertices = np.concatenate([prop.vertices for prop in scene.props])
        box = _pixel_boxes(vertices[None], [scene])[0]
        thrown = shadows and any(self._reached(prop.vertices) for prop in scene.props)
        return replace(layers, behind=self.props.draw(scene, box, self.detailed, thrown))

    def _reached(self, vertices: Float32) -> bool:
        """True if shadows of the hands may fall on vertices (V,3) behind them."""
        block = self.scene
        lamp = (vertices - block["shadow_centre"]) @ block["lamp_axes"][:, :3].T
        low, high, radius = lamp.min(0), lamp.max(0), block["shadow_radius"]
        return bool((low[:2] < radius).all() and (high > -radius).all() and low[2] < SHADOW_FADED)

    def _needs(self, scene: Scene) -> tuple[str, ...]:
        """Defines of the shading program for this scene."""
        needs = {
            "DETAILED": self.detailed,
            "SHADOWS": self.detailed and scene.lights.shadows,
            "SLEEVED": scene.skin.sleeve is not None and self.hands.models[0].has_arm,
            "TEXTURED": scene.skin.texture is not None,
        }
        if self.detailed:
            needs |= dress_needs(scene.skin.dress)
        return tuple(name for name, needed in needs.items() if needed)

    def _draw_hands(
        self, target: moderngl.Framebuffer, cleared: moderngl.Framebuffer, program: Any, sides: Sequence[int]
    ) -> None:
        """Clear what of a target must be empty where no hand is, then draw each hand into its half of the target."""
        cleared.use()  # else the scissor of the target that was used before would hold
        cleared.clear(red=np.inf, depth=1.0)
        target.use()
        self.context.enable_only(moderngl.DEPTH_TEST | moderngl.CULL_FACE)
        width, height = target.size[0], target.size[1] // 2
        for side in sides:
            target.viewport = (0, side * height, width, height)
            self.arrays[side].draw(program)
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
            if right == left:
                continue
            target.scissor = (left, side * self.size + top, right - left, bottom - top)
            if "side" in screen.program:
                screen.program["side"] = side
            screen.render(moderngl.TRIANGLES, vertices=3)
        target.scissor = (0, 0, *target.size)
        self.context.depth_func = "<"

    def _fill_scene(self, scene: Scene, joints: Float32, shadows: bool) -> None:
        lights, skin, sleeve, block = scene.lights, scene.skin, scene.skin.sleeve, self.scene
        matrix, lamps = scene.camera.matrix, len(scene.lights.directions)
        block["intrinsics"] = matrix[0, 0], matrix[1, 1], matrix[0, 2], matrix[1, 2]
        block["depth_range"], block["size"], block["lamps"] = DEPTH_RANGE, self.size, lamps
        block["harmonics"][:, :3] = lights.harmonics
        block["lamp_direction"][:lamps, :3] = lights.directions
        block["lamp_colour"][:lamps, :3] = lights.colours
        for name in ("back", "palm", "nail", "roughness", "mottle", "crease", "vein", "flush"):
            block[name] = getattr(skin, name)
        if skin.dress.polish is not None:
            block["nail"] = skin.dress.polish
        block["noise_seed"] = skin.seed
        if sleeve is not None:
            block["sleeve"], block["sleeve_start"] = sleeve.colour, sleeve.start
            block["stripe"], block["stripe_width"] = sleeve.stripe, sleeve.stripe_width
        if shadows:
            both = joints.reshape(-1, 3)
            centre = (both.min(0) + both.max(0)) / 2
            block["lamp_axes"][:, :3] = _looking_from(lights.directions[0])
            block["shadow_centre"] = centre
            block["shadow_radius"] = SHADOW_REACH * float(np.linalg.norm(both - centre, axis=1).max())

    def _make_framebuffers(self) -> None:
        """One scene, the left hand below the right."""
        context, (width, height) = self.context, (self.size, 2 * self.size)
        limit = context.info["GL_MAX_TEXTURE_SIZE"]
        if SUPERSAMPLING * height > limit:
            raise AIHError(
                f"size: expected at most {limit // 2 // SUPERSAMPLING}, which OpenGL draws here, found {self.size}"
            )
        depth = context.depth_renderbuffer((width, height))
        textures = {"geometry": context.texture((width, height), 1, dtype="f4")}
        self.geometry = context.framebuffer([textures["geometry"]], depth)
        textures["surfaces"] = context.texture((width, height), 4, dtype="f2")  # nothing reads these two off the hands
        if self.places:
            textures["places"] = context.texture((width, height), 4, dtype="f4")
        self.surface = context.framebuffer(list(textures.values()), depth)
        targets = [[context.texture((width, height), 4) for _ in range(2)] for _ in range(2)]
        textures["drawn_alone"], textures["drawn_together"] = targets[0]
        # Keyed by shadows, which take a second image.
        self.drawn, self.resolved = (
            {shadows: context.framebuffer(both[: 1 + shadows], depth) for shadows in (False, True)} for both in targets
        )
        for framebuffer in (*self.drawn.values(), *self.resolved.values()):
            framebuffer.depth_mask = False
        textures["shadow_map"] = context.depth_texture((SHADOW_SIDE, 2 * SHADOW_SIDE))
        textures["shadow_map"].compare_func = "<="
        textures["shadow_map"].repeat_x = textures["shadow_map"].repeat_y = False
        self.shadow = context.framebuffer(depth_attachment=textures["shadow_map"])
        textures["samples"] = context.depth_texture((SUPERSAMPLING * width, SUPERSAMPLING * height))
        textures["samples"].compare_func = ""
        self.samples = context.framebuffer(depth_attachment=textures["samples"])
        for name, texture in textures.items():
            texture.use(UNITS.index(name))

    def _make_volumes(self, volume: SkinVolume) -> None:
        self.scene["volume_origin"], self.scene["volume_extent"] = volume.origin, volume.extent
        self.detail = self._volume_texture(volume.values)
        self.grain = self._volume_texture(grain_texture()[..., None], tiles=True)
        self.detail.use(UNITS.index("detail"))
        self.grain.use(UNITS.index("grain"))

    def _texture(self, name: str) -> moderngl.Texture3D:
        """A person's skin, painted when first needed; the oldest of ``MAX_CACHED_TEXTURES`` is dropped."""
        if name not in self.volumes:
            assert self.textures is not None, "a scene with a texture needs the library that it was sampled from"
            library, model = self.textures, self.hands.models[0]
            volume = texture_volume(model, library.faces, library.corners, library.image(name))
            if len(self.volumes) >= MAX_CACHED_TEXTURES:
                self.volumes.pop(next(iter(self.volumes))).release()
            self.volumes[name] = self._volume_texture(volume.values)
        return self.volumes[name]

    def _volume_texture(self, values: UInt8, tiles: bool = False) -> moderngl.Texture3D:
        depth, height, width, channels = values.shape
        texture = self.context.texture3d((width, height, depth), channels, np.ascontiguousarray(values).tobytes())
        texture.repeat_x = texture.repeat_y = texture.repeat_z = tiles
        return texture

    def _program(self, vertex: str, fragment: str, needs: Iterable[str] = ()) -> Any:
        shared = (SHADERS / "scene.glsl").read_text() + f"const float SHADOW_FADED = {SHADOW_FADED};\n"
        sources = {}
        for kind, name in (("vertex_shader", vertex), ("fragment_shader", fragment)):
            version, _, body = (SHADERS / name).read_text().partition("\n")
            defined = "".join(f"#define {need}\n" for need in needs)
            body = body.replace('#include "dress.glsl"\n', (SHADERS / "dress.glsl").read_text())
            sources[kind] = f"{version}\n{defined}{shared}{body}"
        program: Any = self.context.program(sources["vertex_shader"], sources["fragment_shader"])
        if "Dress" in program:
            program["Dress"].binding = BINDING
        for unit, name in enumerate(UNITS):
            if name in program:
                program[name] = unit
        return program

    def _read(self, target: moderngl.Framebuffer, shadows: bool, joints: Float32) -> Layers:
        unread = np.empty((2, self.size, self.size), np.float32)
        unread[0, 0, 0] = np.nan
        signed = self._read_one(self.geometry, 0, unread)
        colour = self._read_one(target, 0, np.empty((*signed.shape, 4), np.uint8))
        shaded = self._read_one(target, 1, np.empty_like(colour)) if shadows else colour
        error = self.context.error
        if np.isnan(signed[0, 0, 0]) or error != "GL_NO_ERROR":
            raise AIHError(f"OpenGL: expected the image that was drawn, found none ({error}); was the driver reset?")
        part = (signed < np.inf) * np.uint8(HAND) + (signed < 0) * np.uint8(ARM - HAND)
        return Layers(colour, shaded, part, np.abs(signed, out=signed), joints)

    def _read_one(self, target: moderngl.Framebuffer, attachment: int, into: AnyArray) -> AnyArray:
        """(2,H,W,...) one hand after the other, rows from the top of the image."""
        code, channels = ("f4", 1) if into.dtype == np.float32 else ("f1", 4)
        target.read_into(into, (0, 0, *target.size), components=channels, attachment=attachment, dtype=code)
        return into


def _pixel_boxes(vertices: Float32, scenes: Sequence[Scene]) -> list[Box]:
    """Pixels that vertices (N,V,3) of each scene may cover; all of them if some are beside the camera, none if NaN."""
    size, depth = scenes[0].camera.size, vertices[..., 2]
    matrices = np.stack([scene.camera.matrix for scene in scenes])
    near = depth.min(1) <= DEPTH_RANGE[0]
    lows, highs = [], []
    for axis in (0, 1):
        with np.errstate(divide="ignore", invalid="ignore"):  # where some are beside the camera
            pixels = vertices[..., axis] / depth * matrices[:, axis, axis, None] + matrices[:, axis, 2, None]
        low = np.clip(np.nan_to_num(np.where(near, 0, pixels.min(1) - 2)), 0, size).astype(int)
        lows.append(low)
        high = np.where(near, size, np.nan_to_num(pixels.max(1) + 3))
        highs.append(np.clip(high, low, size).astype(int))
    return [tuple(box) for box in np.stack([*lows, *highs], 1).tolist()]


def _looking_from(direction: Float32) -> Float32:
    """(3,3) rows: two axes across a parallel beam of light from ``direction``, and the way it travels."""
    away = -direction / np.linalg.norm(direction)
    across = np.cross([0.0, 1.0, 0.0] if abs(away[1]) < 0.9 else [1.0, 0.0, 0.0], away)
    across /= np.linalg.norm(across)
    return np.stack([across, np.cross(away, across), away]).astype(np.float32)
