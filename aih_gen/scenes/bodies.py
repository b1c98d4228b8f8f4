"""People's bodies: CC0 data in ``assets/people``, made by ``scripts/build_people.py``, and how they are posed.

All points are in the frame of ``scenes.body``: shoulders at the origin, x to the person's left, y down, facing -z.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, cached_property, lru_cache

import numpy as np

from aih_gen.assets import asset_path
from aih_gen.errors import AssetError
from aih_gen.hands.normals import vertex_normals
from aih_gen.io.archives import read_npz
from aih_gen.kernels.meshes import blend_shapes, skinned
from aih_gen.scenes.mesh_cut import Cut, cut_mesh
from aih_gen.scenes.vectors import cross, length, unit
from aih_gen.typing import AnyArray, Array, Float32, Floating, Int32, Int64, UInt8

VERSION = 1
"""Of the file's layout."""
ELBOW, WRIST = 1.0, 2.0
"""Values of ``People.reach``."""
END = 0.14
"""Length past the elbow, in forearms, of an arm that another mesh continues; it tapers there."""
HEM = 0.455
"""Distance (m) from the shoulders down to the end of a shirt."""
NECK_BASE = np.array([0.0, -0.085, 0.0], np.float32)
HEAD_BONES = ("neck", "head")
EYE_RADIUS = 0.0155
CLOTH_EXTENT = 0.9
"""Metres of a shirt's front that its texture covers."""


@dataclass(frozen=True, eq=False)
class Hair:
    """A head of hair: N tapered ribbons of P points, each with a left and a right vertex."""

    points: Float32  # (N*P*2,3) m, on the mean head
    normals: Float32  # (N*P*2,3) unit
    bright: Float32  # (N*P*2,) about 1
    faces: Int32  # (F,3)


@dataclass(frozen=True, eq=False)
class People:
    """Contents of the file. Vertices of all parts come in one list; V of them."""

    mean: Float32  # (V,3) m
    variants: Float32  # (P,V,3) m, differences of real variety from the mean
    traits: Float32  # (P,6) 1 for women, age 0.5 young .. 1 old, weight, African, Asian and European share
    pivots: Float32  # (P,B+2,3) m, where each bone begins; the last two are the wrists, left and right
    bones: tuple[str, ...]
    weights: Float32  # (V,B)
    reach: Float32  # (V,) 0 off the arms and at the shoulders, 1 at the elbow, 2 at the wrist
    sky: Float32  # (V,) share of the light from all around that reaches the surface
    parts: dict[str, slice]
    faces: dict[str, Int32]
    moving: Int64  # vertices that expressions move
    expressions: dict[str, Float32]  # (M,3) m
    head_masks: dict[str, Float32]  # (T,T) 0 to 1, by name: brows, lips, beard, ...
    head_coordinates: Float32  # (V,2) texture coordinates of the head's vertices
    inside: Float32  # (S,) of the skin's vertices: in the mouth
    hair: dict[str, Hair]

    @cached_property
    def neck(self) -> Float32:
        """(V,) m from the base of the neck, at rest: necklines are where it is constant."""
        way = self.mean - NECK_BASE
        way[:, 1] = np.maximum(way[:, 1], 0)
        return np.sqrt((way * way).sum(1))

    @cached_property
    def carriers(self) -> tuple[Int64, Float32]:
        """(V,K) the bones that carry each vertex, as many as carry any one, and their weights."""
        most = int((self.weights > 0).sum(1).max())
        bones = np.ascontiguousarray(np.argsort(-self.weights, axis=1, kind="stable")[:, :most])
        return bones, np.take_along_axis(self.weights, bones, 1)

    @cached_property
    def expression_table(self) -> Float32:
        """(E,M,3) m the expressions, in their order."""
        return np.ascontiguousarray(list(self.expressions.values()), np.float32)

    @cached_property
    def shade(self) -> Float32:
        """(V,) share of the reflected light that corners leave."""
        return np.asarray(0.25 + 0.75 * self.sky, np.float32)

    def normals(self, part: str, points: Float32) -> Float32:
        """(V,3) unit normals of a part among ``points`` (V,3); 0 elsewhere."""
        span, normals = self.parts[part], np.zeros_like(points)
        normals[span] = vertex_normals(points[span], self.faces[part] - span.start)
        return normals

    @cached_property
    def eye_coordinates(self) -> Float32:
        """(V,2) texture coordinates of the eyes' vertices, on an eye from the front."""
        span, head_coordinates = self.parts["eyes"], np.zeros((len(self.mean), 2), np.float32)
        middles = self.pivots.mean(0)[[self.bones.index("eye.L"), self.bones.index("eye.R")]]
        side = (self.mean[span, 0] < 0).astype(int)
        head_coordinates[span] = 0.5 + 0.5 * (self.mean[span, :2] - middles[side, :2]) / EYE_RADIUS
        return np.clip(head_coordinates, 0.02, 0.98)

    @cached_property
    def cloth_coordinates(self) -> Float32:
        """(V,2) texture coordinates on a shirt's front."""
        return self.mean[:, :2] / np.float32(CLOTH_EXTENT) + np.float32(0.5)

    @cached_property
    def cut_masks(self) -> dict[str, tuple[tuple[slice, slice], Float32]]:
        """Rows and columns around the marked part of each mask, and that part of it."""
        found = {}
        for name, mask in self.head_masks.items():
            rows, columns = (np.flatnonzero((mask > 0.04).any(axis)) for axis in (1, 0))
            box = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
            found[name] = box, np.ascontiguousarray(mask[box])
        return found

    @cached_property
    def from_head(self) -> tuple[Int32, Array]:
        """Vertices (H,) of the head, and the matrix (4,H) that maps their points (H,3) to the affine map from the mean
        head.
        """  # fmt: skip
        head = np.flatnonzero(self.weights[self.parts["skin"], self.bones.index("head")] > 0.9)[::8]
        at = np.concatenate([self.mean[head], np.ones((len(head), 1))], 1)
        return head.astype(np.int32), np.linalg.pinv(at.astype(np.float64))

    def cut(self, part: str, neck: float, sleeve: float) -> Cut:
        """The faces of a part below the neckline ``neck`` (m from the neck's base) and above ``sleeve`` (of reach)."""
        return _cut(self, part, neck, sleeve)


@lru_cache(maxsize=128)
def _cut(people: People, part: str, neck: float, sleeve: float) -> Cut:
    field = np.minimum(people.neck - neck, (sleeve - people.reach) * 0.28)
    if part == "shirt":
        field = np.minimum(field, HEM - people.mean[:, 1])
    return cut_mesh(people.faces[part], field)


@cache
def load_people() -> People:
    """The shipped people, read once.

    Raises:
        AssetError: the file is missing, damaged or of another version.
    """
    path = asset_path("people") / "people.npz"
    arrays = read_npz(path)
    found = int(arrays["version"]) if "version" in arrays else None
    if found != VERSION:
        raise AssetError(f"{path}: expected a people folder of version {VERSION}, found version {found}")
    try:
        return _people(arrays)
    except (KeyError, ValueError, IndexError) as error:
        raise AssetError(f"{path}: expected the people's data, found a part missing or damaged ({error})") from error


def _people(arrays: dict[str, AnyArray]) -> People:
    step = np.float32(arrays["step"])
    parts, starts = arrays["parts"].tolist(), arrays["starts"].tolist()
    names, hair_names = arrays["expression_names"].tolist(), arrays["hair_names"].tolist()
    return People(
        mean=arrays["mean"] * step,
        variants=arrays["people"] * step,
        traits=arrays["traits"],
        pivots=arrays["pivots"],
        bones=tuple(arrays["bones"].tolist()),
        weights=_normalised(arrays["weights"]),
        reach=arrays["reach"].astype(np.float32),
        sky=(arrays["sky"] / 255).astype(np.float32),
        parts={name: slice(starts[k], starts[k + 1]) for k, name in enumerate(parts)},
        faces={name: arrays[f"faces_{name}"].astype(np.int32) for name in parts},
        moving=arrays["moving"].astype(np.int64),
        expressions={name: arrays["expressions"][k] * step for k, name in enumerate(names)},
        head_masks={
            name: arrays["pictures"][k] / np.float32(255) for k, name in enumerate(arrays["picture_names"].tolist())
        },
        head_coordinates=arrays["head_places"],
        inside=(arrays["inside"] / 255).astype(np.float32),
        hair={
            name: _hair(
                arrays[f"hair_{k}_points"] * step, arrays[f"hair_{k}_normals"] / 127, arrays[f"hair_{k}_bright"] / 100
            )
            for k, name in enumerate(hair_names)
        },
    )


def _normalised(weights: UInt8) -> Float32:
    real = weights.astype(np.float32)
    return np.ascontiguousarray(real / real.sum(1, keepdims=True))


def _hair(points: Floating, normals: Floating, bright: Floating) -> Hair:
    """From (N,P,2,3) points and normals, and (N,P,2) brightness."""
    count, along = points.shape[:2]
    corner = 2 * np.arange(along - 1)[None] + 2 * along * np.arange(count)[:, None]
    quads = corner[..., None] + np.array([0, 1, 3, 2])
    faces = np.stack([quads[..., [0, 1, 2]], quads[..., [0, 2, 3]]], -2).reshape(-1, 3)
    return Hair(
        points.reshape(-1, 3).astype(np.float32),
        normals.reshape(-1, 3).astype(np.float32),
        bright.reshape(-1).astype(np.float32),
        faces.astype(np.int32),
    )


@dataclass(frozen=True, eq=False)
class Build:
    """One person at rest: two of the people blended."""

    points: Float32  # (V,3) m
    pivots: Float32  # (B+2,3) m

    @classmethod
    def of(cls, people: People, first: int, second: int, share: float, face: dict[str, float]) -> Build:
        """``share`` of the ``second`` person and the rest of the first, with expressions in their strengths."""
        strengths = np.array([face.get(name, 0.0) for name in people.expressions], np.float32)
        points = blend_shapes(
            people.mean, people.variants[first], people.variants[second], share, people.moving,
            people.expression_table, strengths,
        )  # fmt: skip
        return cls(points, (1 - share) * people.pivots[first] + share * people.pivots[second])


@dataclass(frozen=True, eq=False)
class Pose:
    """A person's pose; rotations are (3,3) relative to the parent bone."""

    torso: Array
    neck: Array
    head: Array
    eyes: Array
    legs: tuple[Array, Array]  # thighs and lower legs
    elbows: Array  # (2,3) m, left and right, in the body's frame
    wrists: Array  # (2,3) m


@dataclass(frozen=True, eq=False)
class Posed:
    """A person as posed."""

    points: Float32  # (V,3) m
    bones: Array  # (B,3,4) from rest


def posed(people: People, build: Build, pose: Pose) -> Posed:
    """The person in a pose, by linear blend skinning."""
    bones = {name: k for k, name in enumerate(people.bones)}
    pivots = build.pivots.astype(np.float64)
    rotations, homes = np.empty((len(bones), 3, 3)), np.empty((len(bones), 3))

    def hang(bone: str, on: str, rotation: Array) -> None:
        child, parent = bones[bone], bones[on]
        rotations[child] = rotations[parent] @ rotation
        homes[child] = homes[parent] + rotations[parent] @ (pivots[child] - pivots[parent])

    torso = bones["torso"]
    rotations[torso], homes[torso] = pose.torso, pose.torso @ pivots[torso]
    hang("neck", "torso", pose.neck)
    hang("head", "neck", pose.head)
    for k, side in enumerate("LR"):
        hang(f"eye.{side}", "head", pose.eyes)
        hang(f"upperleg.{side}", "torso", pose.legs[0])
        hang(f"lowerleg.{side}", f"upperleg.{side}", pose.legs[1])
        upper, lower = bones[f"upperarm.{side}"], bones[f"lowerarm.{side}"]
        shoulder = pose.torso @ pivots[upper]
        hang(f"clavicle.{side}", "torso", np.eye(3))
        homes[upper], homes[lower] = shoulder, pose.elbows[k]
        rotations[upper] = _aimed(pivots[lower] - pivots[upper], pose.elbows[k] - shoulder)
        rotations[lower] = _aimed(pivots[len(bones) + k] - pivots[lower], pose.wrists[k] - pose.elbows[k])
    transforms = np.concatenate(
        [rotations, (homes - (rotations @ pivots[: len(bones), :, None])[..., 0])[..., None]], -1
    )
    return Posed(skinned(build.points, *people.carriers, transforms.astype(np.float32)), transforms)


def _aimed(rest: Array, wanted: Array) -> Array:
    """(3,3) that turns ``rest`` (3,) by the shortest way to ``wanted`` (3,), and stretches it along itself."""
    a, b = unit(rest), unit(wanted)
    v, c = cross(a, b), float(a @ b)
    x, y, z = v
    skew = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    rotation = np.eye(3) + skew + skew @ skew / max(1 + c, 1e-3)
    stretch = float(length(wanted)) / max(float(length(rest)), 1e-9)
    return np.asarray(rotation @ (np.eye(3) + (min(max(stretch, 0.6), 1.5) - 1) * np.outer(a, a)))


def tapered(people: People, at: Posed, elbows: Array, wrists: Array) -> Float32:
    """The points with the arms' ends, just past the elbows, drawn in: other meshes continue them."""
    points = at.points.copy()
    near = np.flatnonzero((people.reach > ELBOW) & (people.reach < ELBOW + 2 * END))
    side = (people.mean[near, 0] < 0).astype(int)  # 0 left, 1 right
    axis = unit(wrists - elbows)[side].astype(np.float32)
    way = points[near] - elbows[side].astype(np.float32)
    along = (way * axis).sum(1, keepdims=True) * axis
    share = np.minimum((people.reach[near] - ELBOW) / (0.75 * END), 1)[:, None]
    points[near] = elbows[side].astype(np.float32) + along + (way - along) * np.sqrt(1 - share**2)
    return points
