"""The reference renderer: pyrender, one scene at a time. Slower and plainer than ``gl``, with the same geometry."""

from __future__ import annotations

import os
from collections.abc import Sequence

import numpy as np

from aih_gen.errors import AIHError
from aih_gen.render.context import describe_driver
from aih_gen.render.layers import ARM, HAND, Layers
from aih_gen.render.meshes import HandPair, Meshes
from aih_gen.scenes.scene import Camera, Prop, Scene
from aih_gen.scenes.skin import vertex_albedo
from aih_gen.typing import Array, Float32, Floating, Integer, UInt8

os.environ.setdefault("PYOPENGL_PLATFORM", "egl")

try:
    import pyrender
    from pyrender.constants import RenderFlags
except ImportError as error:
    raise AIHError(f"renderer pyrender: expected the extra 'pyrender', found it missing ({error})") from error

FROM_OPENCV = np.diag([1.0, -1.0, -1.0, 1.0])
"""Pose of a pyrender camera (y up, looking along -z) that sees our camera space."""
Z_NEAR, Z_FAR = 0.05, 10.0


class PyrenderRenderer:
    """Draws every hand alone, twice: once for colour, once for parts and depth without multisampling."""

    def __init__(self, hands: HandPair, size: int, device: int | None = None) -> None:
        """``device``: the number of EGL's device that draws; by default the first."""
        if device is not None:
            os.environ["EGL_DEVICE_ID"] = str(device)  # where pyrender looks for it
        self.driver = describe_driver(device)  # pyrender fails in its own ways where none starts
        self.hands = hands
        self.size = size
        self.renderer = pyrender.OffscreenRenderer(size, size)

    def render(self, scenes: Sequence[Scene]) -> list[Layers]:
        """Draw each hand of each scene alone."""
        meshes = [self.hands.pose(scenes, side) for side in (0, 1)]
        return [self._render_scene(scene, meshes, k) for k, scene in enumerate(scenes)]

    def _render_scene(self, scene: Scene, meshes: list[Meshes], k: int) -> Layers:
        drawn = [self._render_hand(scene, meshes[side], side, k) for side in (0, 1)]
        colour, part, depth = (np.stack(arrays) for arrays in zip(*drawn, strict=True))
        joints = np.stack([mesh.joints_3d[k] for mesh in meshes])
        return Layers(colour, colour, part, depth, joints, self._behind(scene) if scene.props else None)

    def _behind(self, scene: Scene) -> UInt8:
        """(1,H,W,4) the scene's props, without any hand's shadow."""
        world = _world(scene)
        for prop in scene.props:
            colours = np.clip(prop.albedo * _painted(prop), 0, 1)
            world.add(_mesh(prop.vertices, prop.normals, prop.faces, colours, float(prop.roughness.mean())))
        shown, _ = self.renderer.render(world, RenderFlags.RGBA | RenderFlags.SKIP_CULL_FACES)
        return _unblended(shown, shown[..., 3])[None]

    def _render_hand(self, scene: Scene, meshes: Meshes, side: int, k: int) -> tuple[UInt8, UInt8, Float32]:
        if scene.hands[side] is None:
            empty = np.zeros((self.size, self.size, 4), np.uint8)
            return empty, empty[..., 0], np.full(empty.shape[:2], np.inf, np.float32)
        world = _world(scene)
        topology = self.hands.topology[side]
        albedo = np.clip(vertex_albedo(topology.regions, scene.skin), 0, 1)
        nodes = {}
        for part in (HAND, ARM):
            faces = topology.faces[topology.part == part]
            if len(faces):
                mesh = _mesh(meshes.vertices[k], meshes.normals[k], faces, albedo, scene.skin.roughness)
                nodes[world.add(mesh)] = (part, part, part)
        shown, _ = self.renderer.render(world, RenderFlags.RGBA | RenderFlags.SKIP_CULL_FACES)
        flags = RenderFlags.SEG | RenderFlags.SKIP_CULL_FACES
        segments, depth = self.renderer.render(world, flags, seg_node_map=nodes)
        part = segments[..., 0].astype(np.uint8)
        colour = _unblended(shown, 255)
        return colour, part, np.where(part > 0, depth, np.inf).astype(np.float32)


def _world(scene: Scene) -> pyrender.Scene:
    """A scene's camera and lights."""
    world = pyrender.Scene(bg_color=(0, 0, 0, 0), ambient_light=scene.lights.harmonics[0])
    world.add(_camera(scene.camera), pose=FROM_OPENCV)
    for direction, colour in zip(scene.lights.directions, scene.lights.colours, strict=True):
        light = pyrender.DirectionalLight(color=colour / colour.max(), intensity=2.0 * float(colour.max()))
        world.add(light, pose=_looking_along(-direction))
    return world


def _unblended(shown: UInt8, coverage: UInt8 | int) -> UInt8:
    """(H,W,4) colours without the black that multisampling blends with edges, and the given coverage."""
    alpha = np.maximum(shown[..., 3:].astype(np.float32), 1)
    colour = np.empty(shown.shape, np.uint8)
    colour[..., :3] = np.clip(shown[..., :3] * (255 / alpha), 0, 255)
    colour[..., 3] = coverage
    return colour


def _painted(prop: Prop) -> Float32:
    """(V,3) or one: factor of the prop's texture at each vertex."""
    if prop.texture is None or prop.texture_coordinates is None:
        return np.ones(3, np.float32)
    height, width = prop.texture.shape[:2]
    column, row = (np.floor(prop.texture_coordinates * [width, height]).astype(int) % [width, height]).T
    return (prop.texture[row, column] / np.float32(255)) ** 2


def _camera(camera: Camera) -> pyrender.IntrinsicsCamera:
    (fx, _, cx), (_, fy, cy) = camera.matrix[0], camera.matrix[1]
    return pyrender.IntrinsicsCamera(fx, fy, cx + 0.5, cy + 0.5, znear=Z_NEAR, zfar=Z_FAR)


def _mesh(vertices: Float32, normals: Float32, faces: Integer, albedo: Floating, roughness: float) -> pyrender.Mesh:
    material = pyrender.MetallicRoughnessMaterial(metallicFactor=0.0, roughnessFactor=roughness)
    primitive = pyrender.Primitive(vertices, normals, color_0=albedo, indices=faces, material=material)
    return pyrender.Mesh([primitive])


def _looking_along(direction: Float32) -> Array:
    """(4,4) pose of a light whose -z axis is ``direction``."""
    z = -direction / np.linalg.norm(direction)
    x = np.cross([0.0, 1.0, 0.0] if abs(z[1]) < 0.9 else [1.0, 0.0, 0.0], z)
    x /= np.linalg.norm(x)
    pose = np.eye(4)
    pose[:3, :3] = np.stack([x, np.cross(z, x), z], axis=1)
    return pose
