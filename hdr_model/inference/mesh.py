"""A hand as a mesh, as files, and drawn over the photo."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from aih_gen.errors import AIHError
from aih_gen.reports.paint import Colour
from aih_gen.typing import Float32, Int64
from hdr_model.visual import HAND_COLOURS, RGB

if TYPE_CHECKING:
    from aih_gen.render.layers import Renderer
    from aih_gen.scenes.scene import Prop

TO_GLTF = np.array([1.0, -1.0, -1.0])
"""From the camera's axes (x right, y down, z away) to glTF's (x right, y up, z towards the viewer)."""
SIDE = 1024
"""Of the square that is drawn of a photo, px; it is then scaled to its place."""
NEAR = 0.5
"""Metres at which hands are drawn, however far a camera of long focal length has them: no pixel changes."""


@dataclass(frozen=True, eq=False, repr=False)
class HandMesh:
    """A hand model fitted to one hand's joints, in the space of the photo's camera: x right, y down, z away, metres.

    NaN but for faces and camera where the hand is absent.
    """

    pose: NDArray[np.float32]  # (48,) axis-angle, radians, zero = flat hand
    betas: NDArray[np.float32]  # (10,) shape, and with it size
    transl: NDArray[np.float32]  # (3,) m
    vertices: NDArray[np.float32]  # (V,3) m: those of the hand model at pose, betas and transl
    faces: NDArray[np.int64]  # (F,3) counter-clockwise seen from outside
    joints: NDArray[np.float32]  # (21,3) m, of the same
    camera: NDArray[np.float32]  # (3,3) px of the photo
    joint_distance: float
    """Metres, mean distance of ``joints`` from SHPE's ``joints_3d``, wrists laid on each other."""
    hand_model: str
    """``free`` or ``mano``."""


def check_focal_length(focal_length: float | None) -> None:
    """Raise AIHError unless it is a positive number of pixels, or None."""
    if focal_length is not None and not (math.isfinite(focal_length) and focal_length > 0):
        raise AIHError(f"focal length: expected a positive number of pixels, found {focal_length:g}")


def photo_camera(height: int, width: int, focal_length: float | None = None) -> Float32:
    """Intrinsics (3,3) of a photo's camera, px: it looks through the middle, by default with the diagonal as focal
    length, which is an angle of view of 53 degrees from corner to corner.

    Raises:
        AIHError: the focal length is not a positive number.
    """  # fmt: skip
    check_focal_length(focal_length)
    focal = focal_length or math.hypot(height, width)
    return np.array([[focal, 0, (width - 1) / 2], [0, focal, (height - 1) / 2], [0, 0, 1]], np.float32)


def write_meshes(folder: Path, meshes: Mapping[str, HandMesh]) -> None:
    """``hands.glb`` and ``hands.obj``: an object ``right`` and one ``left``, as far as they are there, in metres.

    In glTF's axes, the camera at the origin: x right, y up, z towards the viewer.
    """

    def look(side: str, mesh: HandMesh) -> dict[str, Any]:
        return {"vertex_colors": np.tile(np.array([*HAND_COLOURS[side], 255], np.uint8), (len(mesh.vertices), 1))}

    (folder / "hands.glb").write_bytes(glb(meshes))
    (folder / "hands.obj").write_text(_exported(meshes, look, file_type="obj"), encoding="utf-8")


def glb(meshes: Mapping[str, HandMesh]) -> bytes:
    """The content of ``hands.glb``."""
    from trimesh.visual import TextureVisuals
    from trimesh.visual.material import PBRMaterial

    def look(side: str, _: HandMesh) -> dict[str, Any]:
        colour = [*HAND_COLOURS[side], 255]
        material = PBRMaterial(name=side, baseColorFactor=colour, metallicFactor=0.0, roughnessFactor=0.7)
        return {"visual": TextureVisuals(material=material)}

    return _exported(meshes, look, file_type="glb", include_normals=True)


def _exported(meshes: Mapping[str, HandMesh], look: Callable[[str, HandMesh], dict[str, Any]], **options: Any) -> Any:
    import trimesh

    scene = trimesh.Scene()
    for side, mesh in meshes.items():
        body = trimesh.Trimesh(mesh.vertices * TO_GLTF, mesh.faces, process=False, **look(side, mesh))
        scene.add_geometry(body, node_name=side, geom_name=side)
    return scene.export(**options)


def draw_meshes(image: RGB, meshes: Mapping[str, HandMesh]) -> RGB:
    """The photo (H,W,3) with the meshes on it, each in its hand's colour."""
    pixels = [_project(mesh.vertices, mesh.camera) for mesh in meshes.values()]
    height, width = image.shape[:2]
    if not pixels:
        return image
    low = np.floor(np.concatenate(pixels).min(0)).clip(0, [width, height]).astype(int)
    high = (np.ceil(np.concatenate(pixels).max(0)) + 1).clip(0, [width, height]).astype(int)
    if (low >= high).any():
        return image
    side = int((high - low).max())
    layer = _drawn(meshes, low, side)[: high[1] - low[1], : high[0] - low[0]]
    drawn = image.copy()
    near = drawn[low[1] : high[1], low[0] : high[0]]
    near[:] = (layer[..., :3] + near * (1 - layer[..., 3:] / 255)).round().clip(0, 255)
    return drawn


def _project(vertices: Float32, camera: Float32) -> Float32:
    pixels = vertices @ camera.T
    return pixels[:, :2] / pixels[:, 2:]


def _drawn(meshes: Mapping[str, HandMesh], corner: Int64, side: int) -> Float32:
    """(side,side,4) of a square of the photo: colour times coverage, and coverage, 0 to 255."""
    from aih_gen.scenes.backgrounds import Background
    from aih_gen.scenes.scene import Camera, Lights, Scene, Skin
    from aih_gen.scenes.sensor import PERFECT

    scale = SIDE / side
    camera = next(iter(meshes.values())).camera.copy()
    camera[:2, 2] = (camera[:2, 2] - corner + 0.5) * scale - 0.5
    camera[[0, 1], [0, 1]] *= scale
    grey = np.full(3, 0.5, np.float32)
    skin = Skin(grey, grey, grey, 0.5, 0.0, 0.0, 0.0, 0.0, 0.0, "light", None)
    harmonics = np.zeros((9, 3), np.float32)
    harmonics[:4] = np.array([0.55, 0.0, -0.1, -0.1])[:, None]  # softly from above and from the camera
    lamp = np.array([[-0.4, -0.6, -0.7]], np.float32)
    lights = Lights(harmonics, lamp / np.linalg.norm(lamp), np.full((1, 3), 0.5, np.float32), shadows=False)
    depth = min(float(mesh.vertices[:, 2].min()) for mesh in meshes.values())
    hands = tuple(_prop(mesh, NEAR / depth, HAND_COLOURS[name]) for name, mesh in meshes.items())
    camera_of_square = Camera(camera, SIDE)
    scene = Scene(0, (None, None), skin, lights, camera_of_square, Background("black"), PERFECT, "fitted", props=hands)
    behind = _renderer().render([scene])[0].behind
    assert behind is not None
    colour = behind[0].astype(np.float32)
    colour[..., :3] *= colour[..., 3:] / 255
    how = Image.Resampling.BOX if side < SIDE else Image.Resampling.BILINEAR
    channels = [Image.fromarray(channel).resize((side, side), how) for channel in np.moveaxis(colour, -1, 0)]
    return np.stack([np.asarray(channel) for channel in channels], -1)


def _prop(mesh: HandMesh, scale: float, colour: Colour) -> Prop:
    from aih_gen.scenes.props import prop

    albedo = (np.array(colour, np.float32) / 255) ** 2.2
    return prop(mesh.vertices * scale, mesh.faces, albedo, roughness=0.5, scatter=0.5)


@functools.cache
def _renderer() -> Renderer:
    from aih_gen.render import make_renderer
    from aih_gen.render.meshes import HandPair

    return make_renderer("gl", HandPair("free"), SIDE, "full")
