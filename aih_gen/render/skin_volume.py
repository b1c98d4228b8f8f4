"""The fine structure of skin as a volume around the resting hand: creases, veins, flushed skin, nails.

A volume needs no texture coordinates, so it serves the free hand, MANO, and both sides alike; at a millimetre a voxel
it is as fine as an image of 256 pixels can show.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from scipy.ndimage import gaussian_filter

from aih_gen.hands.anatomy import back_directions, bone_directions
from aih_gen.hands.joints import JOINT_NAMES, MANO_FINGERS, WRIST
from aih_gen.hands.model import HandModel
from aih_gen.typing import Array, Float32, Floating, Int64, UInt8

VOXEL = 0.001
MARGIN = 0.004
"""Metres; the margin is what the volume reaches beyond the hand."""
CREASE, VEIN, FLUSH, NAIL = range(4)
LINE = 0.0007
"""Half width of a crease in metres."""
GRAIN_SIDE = 64
"""Voxels of the tiling noise; it covers 77 mm."""


@dataclass(frozen=True, eq=False)
class SkinVolume:
    """Values in the space of the resting right hand, wrist at the origin."""

    values: UInt8  # (Z,Y,X,4) crease, vein, flush, nail; or red, green, blue, share of the voxel painted
    origin: Array  # (3,) m, the corner of the first voxel
    extent: Floating  # (3,) m


def skin_volume(model: HandModel) -> SkinVolume:
    """Paint the volume of a right hand from its joints and outline."""
    vertices, joints = _at_rest(model)
    origin, counts = _box(vertices)
    values = np.zeros((*counts, 4), np.float32)
    painter = _Painter(values, origin)
    dominant_bone = model.weights[: model.num_vertices].numpy().argmax(1)
    along, backs = bone_directions(model), back_directions(model)
    for chain, finger in enumerate(MANO_FINGERS):
        _paint_finger(painter, vertices, joints, dominant_bone, along, backs, chain, finger)
    _paint_palm(painter, joints)
    _paint_back(painter, joints)
    texture = np.ascontiguousarray((np.clip(values, 0, 1) * 255 + 0.5).astype(np.uint8).transpose(2, 1, 0, 3))
    return SkinVolume(texture, origin, counts * VOXEL)


def texture_volume(model: HandModel, faces: Int64, corners: Array, image: UInt8) -> SkinVolume:
    """Paint an image (H,W,3) on the surface of a right hand: ``corners`` (F,3,2) are its ``faces``' coordinates."""
    vertices, _ = _at_rest(model)
    origin, counts = _box(vertices)
    sums = np.zeros((*counts, 4), np.float32)
    rng = np.random.default_rng(5)
    triangles = vertices[faces]
    sides = np.cross(triangles[:, 1] - triangles[:, 0], triangles[:, 2] - triangles[:, 0])
    samples = np.ceil(np.linalg.norm(sides, axis=1) / 2 / (VOXEL / 4) ** 2).astype(int)
    which = np.repeat(np.arange(len(faces)), samples)
    u, v = rng.random((2, len(which)))
    u, v = np.where(u + v > 1, 1 - u, u), np.where(u + v > 1, 1 - v, v)
    weights = np.stack([1 - u - v, u, v], 1)[..., None]
    points, texels = (weights * triangles[which]).sum(1), (weights * corners[which]).sum(1)
    height, width = image.shape[:2]
    columns = np.clip((texels[:, 0] % 1 * width).astype(int), 0, width - 1)
    rows = np.clip(((1 - texels[:, 1] % 1) * height).astype(int), 0, height - 1)
    x, y, z = np.clip(((points - origin) / VOXEL).astype(int), 0, counts - 1).T
    np.add.at(sums, (x, y, z), np.concatenate([image[rows, columns] / 255, np.ones((len(points), 1))], 1))
    # Reads between voxels reach a little off the surface: let every voxel borrow from its neighbours.
    spread = gaussian_filter(sums, (0.6, 0.6, 0.6, 0))
    colours = spread[..., :3] / np.maximum(spread[..., 3:], 1e-6)
    share = np.clip(spread[..., 3:] * 8, 0, 1)
    values = np.concatenate([colours * share, share], -1)
    texture = np.ascontiguousarray((values * 255 + 0.5).astype(np.uint8).transpose(2, 1, 0, 3))
    return SkinVolume(texture, origin, counts * VOXEL)


def _at_rest(model: HandModel) -> tuple[Array, Array]:
    """Vertices and 21 joints of the resting hand, wrist at the origin."""
    with torch.no_grad():
        out = model(torch.zeros(1, 48))
    vertices, joints = (a[0].double().numpy() for a in (out.vertices, out.joints))
    return vertices - joints[WRIST], joints - joints[WRIST]


def _box(vertices: Array) -> tuple[Array, Int64]:
    """The corner of the volume, and its voxels along each axis."""
    origin = vertices.min(0) - MARGIN
    return origin, np.ceil((vertices.max(0) + MARGIN - origin) / VOXEL).astype(np.int64)


def grain_texture() -> UInt8:
    """(64,64,64) noise of two sizes around grey that tiles in every direction."""
    rng = np.random.default_rng(7)
    noise = rng.normal(size=(2, GRAIN_SIDE, GRAIN_SIDE, GRAIN_SIDE)).astype(np.float32)
    layers = [gaussian_filter(n, sigma, mode="wrap") for n, sigma in zip(noise, (0.8, 3.5), strict=True)]
    mixed = sum(weight * layer / layer.std() for weight, layer in zip((0.5, 0.5), layers, strict=True))
    return np.clip(128 + 46 * mixed, 0, 255).astype(np.uint8)


@dataclass(frozen=True, eq=False)
class _Painter:
    values: Float32  # (X,Y,Z,4)
    origin: Array

    def box(self, centre: Array, radius: float) -> tuple[tuple[slice, slice, slice], Array]:
        """The voxels around a point, and their centres (x,y,z,3)."""
        low = np.clip(((centre - radius - self.origin) / VOXEL).astype(int), 0, self.values.shape[:3])
        high = np.clip(((centre + radius - self.origin) / VOXEL).astype(int) + 1, 0, self.values.shape[:3])
        where = (slice(low[0], high[0]), slice(low[1], high[1]), slice(low[2], high[2]))
        axes = [self.origin[k] + VOXEL * (np.arange(low[k], high[k]) + 0.5) for k in range(3)]
        return where, np.stack(np.meshgrid(*axes, indexing="ij"), -1)

    def add(self, where: tuple[slice, slice, slice], channel: int, amount: Array) -> None:
        self.values[(*where, channel)] = np.maximum(self.values[(*where, channel)], amount)


def _paint_finger(
    painter: _Painter,
    vertices: Array,
    joints: Array,
    dominant_bone: Int64,
    along: Array,
    backs: Array,
    chain: int,
    finger: str,
) -> None:
    """Creases over and under the joints, flushed knuckles and finger tip, and the nail."""
    thumb = finger == "thumb"
    chain_joints = [joints[JOINT_NAMES.index(f"{finger}{k}")] for k in (1, 2, 3, 4)]
    for k, joint in enumerate(chain_joints[:3]):
        bone = 3 * chain + 1 + k
        axis, back = along[bone], backs[bone]
        where, at = painter.box(joint, 0.02)
        a, b, c = ((at - joint) @ direction for direction in (axis, back, np.cross(axis, back)))
        near = np.exp(-((c / 0.008) ** 4))
        painter.add(where, FLUSH, 0.8 * _bump(a, 0.006) * _bump(c, 0.007) * (b > 0))
        if k == 0:
            continue
        bow = a + 25.0 * c**2 * np.sign(a)
        over = [-0.0036, -0.0012, 0.0012, 0.0036] if k == 1 and not thumb else [-0.0013, 0.0013]
        under = [-0.001, 0.001] if k == 1 else [0.0]
        dorsal = sum(_bump(bow - line, LINE) for line in over)
        palmar = sum(_bump(a - line, LINE) for line in under)
        painter.add(where, CREASE, 0.7 * dorsal * near * (b > 0) + palmar * (b < 0))
        if k == 1 and not thumb:
            # Where the finger leaves the palm, well beyond its knuckle.
            base = chain_joints[0] + 0.48 * (joint - chain_joints[0])
            where, at = painter.box(base, 0.016)
            painter.add(where, CREASE, _bump((at - base) @ axis, LINE) * ((at - base) @ back < 0))
    _paint_nail(painter, vertices[dominant_bone == 3 * chain + 3], chain_joints, backs[3 * chain + 3])


def _paint_nail(painter: _Painter, vertices: Array, chain_joints: list[Array], back: Array) -> None:
    base, tip = chain_joints[2:]
    length = float(np.linalg.norm(tip - base))
    axis = (tip - base) / length
    back = back - (back @ axis) * axis
    back /= np.linalg.norm(back)
    across = np.cross(axis, back)
    spread = vertices - base
    half_width = 0.66 * float(np.quantile(np.abs(spread @ across), 0.9))
    height = float(np.quantile(spread @ back, 0.9))
    where, at = painter.box(tip, 0.018)
    a, b, c = ((at - base) @ direction for direction in (axis, back, across))
    reach = (a / length - 0.76) / 0.26
    edge = (np.abs(reach) ** 3 + np.abs(c / half_width) ** 3) ** (1 / 3)
    painter.add(where, NAIL, (b > 0.25 * height) * np.clip((1.06 - edge) / 0.14, 0, 1))
    painter.add(where, CREASE, 0.4 * _bump(edge - 1.1, 0.06) * (reach < 0.6) * (b > 0.25 * height))
    painter.add(where, FLUSH, 0.7 * np.exp(-((np.linalg.norm(at - tip, axis=-1) / 0.009) ** 2)))


def _paint_palm(painter: _Painter, joints: Array) -> None:
    """Heart, head and life line, and the flushed heels of the palm; x and z say where, y < 0 is the palm."""

    def between(first: str, second: str, share: float) -> Array:
        start, end = (joints[JOINT_NAMES.index(name)][[0, 2]] for name in (first, second))
        return start + share * (end - start)

    heart = [between("little1", "wrist", 0.13), between("ring1", "wrist", 0.10), between("middle1", "wrist", -0.02)]
    head = [between("little1", "wrist", 0.42), between("middle1", "wrist", 0.30), between("index1", "wrist", 0.10)]
    life = [
        between("index1", "wrist", 0.14),
        between("middle1", "wrist", 0.38),
        between("middle1", "wrist", 0.66),
        between("middle1", "wrist", 0.88),
    ]
    centre = (joints[JOINT_NAMES.index("middle1")] + joints[0]) / 2
    where, at = painter.box(centre, 0.065)
    flat, below = _seen_from_above(at), at[..., 1] < centre[1]
    for line in (heart, head, life):
        painter.add(where, CREASE, 0.9 * _bump(_distance(flat, _smooth(line)), 0.0009) * below)
    for name, share in (("thumb2", 0.4), ("little1", 0.55)):
        pad = between(name, "wrist", share)
        painter.add(where, FLUSH, 0.6 * _bump(np.linalg.norm(flat - pad, axis=-1), 0.016) * below)


def _paint_back(painter: _Painter, joints: Array) -> None:
    """Veins that run from the wrist to between the knuckles."""
    rng = np.random.default_rng(3)
    centre = (joints[JOINT_NAMES.index("middle1")] + joints[0]) / 2
    where, at = painter.box(centre, 0.06)
    flat, above = _seen_from_above(at), at[..., 1] > centre[1]
    knuckles = [joints[JOINT_NAMES.index(f"{name}1")] for name in ("index", "middle", "ring", "little")]
    wrist = joints[0][[0, 2]]
    for first, second in pairwise(knuckles):
        end = ((first + second) / 2)[[0, 2]]
        steps = np.linspace(0.15, 0.92, 7)[:, None]
        line = wrist + steps * (end - wrist) + rng.normal(0, 0.0022, (7, 2))
        painter.add(where, VEIN, _bump(_distance(flat, _smooth(list(line))), 0.0016) * above)


def _seen_from_above(at: Array) -> Array:
    """Of voxels' centres (x,y,z,3) what all heights share: (x,1,z,2)."""
    return at[:, :1, :, [0, 2]]


def _bump(distance: Array, width: float) -> Array:
    return np.exp(-((distance / width) ** 2))


def _smooth(points: list[Array]) -> Array:
    """Corners cut twice (Chaikin 1974), ends kept."""
    line = np.stack(points)
    for _ in range(2):
        cut = np.stack([0.75 * line[:-1] + 0.25 * line[1:], 0.25 * line[:-1] + 0.75 * line[1:]], 1).reshape(-1, 2)
        line = np.concatenate([line[:1], cut, line[-1:]])
    return line


def _distance(points: Array, line: Array) -> Array:
    """From points (...,2) to a polyline (N,2)."""
    nearest = np.full(points.shape[:-1], np.inf)
    for start, end in pairwise(line):
        step = end - start
        share = np.clip(((points - start) @ step) / max(float(step @ step), 1e-12), 0, 1)
        nearest = np.minimum(nearest, np.linalg.norm(points - start - share[..., None] * step, axis=-1))
    return nearest
