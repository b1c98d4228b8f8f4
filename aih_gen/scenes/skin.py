"""Skin: where palm, back and nails lie on a hand, and the tones that people have."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from aih_gen.hands.anatomy import back_directions
from aih_gen.hands.joints import JOINT_NAMES, MANO_FINGERS
from aih_gen.hands.model import HandModel
from aih_gen.hands.normals import VertexNormals
from aih_gen.scenes.scene import Array, Skin

PALEST = np.array([0.85, 0.62, 0.50])
"""Linear reflectance of skin without melanin or blood."""
PALENESS_OF_PALM = 0.6
"""How far palms, which hold little melanin, go from the tone of the back towards their own."""


@dataclass(frozen=True, eq=False)
class SkinRegions:
    """Soft membership of each vertex of a hand and its forearm, in [0, 1]."""

    palm: Array  # (V,)
    nail: Array  # (V,)
    arm_reach: Array  # (V,) m from the wrist along the forearm, 0 on the hand


def skin_regions(model: HandModel) -> SkinRegions:
    """Read palm, nails and forearm off the model's rest pose."""
    with torch.no_grad():
        out = model(torch.zeros(1, 48))
    vertices, joints = out.vertices[0].numpy(), out.joints[0].numpy()
    wrist = joints[0]
    normals = VertexNormals(model.faces.numpy(), len(vertices))(vertices[None])[0]
    owner = model.weights[: model.num_vertices].numpy().argmax(1)
    backs = back_directions(model).astype(np.float32)
    palm = _smoothstep(0.15, 0.6, -(normals * backs[owner]).sum(1))
    nail = _nails(vertices, normals, joints, owner, backs)
    reach = np.abs(out.arm_vertices[0, :, 0].numpy() - wrist[0])
    zeros = np.zeros(len(reach), np.float32)
    return SkinRegions(
        palm=np.concatenate([palm, zeros]).astype(np.float32),
        nail=np.concatenate([nail, zeros]).astype(np.float32),
        arm_reach=np.concatenate([np.zeros(len(vertices)), reach]).astype(np.float32),
    )


def _nails(
    vertices: NDArray[np.float32],
    normals: NDArray[np.float32],
    joints: NDArray[np.float32],
    owner: NDArray[np.int64],
    backs: NDArray[np.float32],
) -> NDArray[np.float32]:
    """The back of the last half of each finger's last bone, narrower than the finger."""
    nail = np.zeros(len(vertices), np.float32)
    for chain, finger in enumerate(MANO_FINGERS):
        base, tip = (joints[JOINT_NAMES.index(f"{finger}{k}")] for k in (3, 4))
        length = np.linalg.norm(tip - base)
        along = (tip - base) / length
        bone = 3 * chain + 3
        across = np.cross(along, backs[bone])
        offset = vertices - base
        reach = offset @ along / length
        inside = _smoothstep(0.5, 0.6, reach) * _smoothstep(1.08, 0.98, reach)
        facing = _smoothstep(0.45, 0.7, normals @ backs[bone])
        centred = _smoothstep(0.0075, 0.0055, np.abs(offset @ across))
        nail = np.maximum(nail, np.where(owner == bone, inside * facing * centred, 0))
    return nail


def _smoothstep(low: float, high: float, x: NDArray[np.float32]) -> NDArray[np.float32]:
    t = np.clip((x - low) / (high - low), 0, 1)
    return (t * t * (3 - 2 * t)).astype(np.float32)


def vertex_albedo(regions: SkinRegions, skin: Skin) -> Array:
    """(V,3) linear reflectance of each vertex."""
    colour = skin.back + regions.palm[:, None] * (skin.palm - skin.back)
    colour += regions.nail[:, None] * (skin.nail - colour)
    if skin.sleeve is not None:
        covered = _smoothstep(skin.sleeve_start, skin.sleeve_start + 0.004, regions.arm_reach)
        colour += covered[:, None] * (skin.sleeve - colour)
    return colour.astype(np.float32)


def sample_skin(rng: np.random.Generator) -> Skin:
    """A person: tone from pale to dark through melanin and haemoglobin, bare arms or sleeves."""
    melanin, blood = rng.uniform(0, 1), np.clip(rng.normal(0.5, 0.25), 0, 1)
    # Reflectance falls with melanin, most in blue; blood takes green and blue (after Jacques 2013, skin optics).
    back = PALEST * np.exp(-melanin * np.array([2.0, 2.6, 2.9])) * (1 - blood * np.array([0.0, 0.22, 0.24]))
    back *= rng.uniform(0.9, 1.1)
    inner = PALEST * np.exp(-0.55 * melanin * np.array([1.5, 2.1, 2.4])) * np.array([1.0, 0.82, 0.78])
    palm = back + PALENESS_OF_PALM * (inner - back)
    nail = 0.65 * palm + 0.35 * np.array([0.75, 0.5, 0.45])
    sleeve = None if rng.random() < 0.45 else _cloth(rng)
    return Skin(
        back=back.astype(np.float32),
        palm=palm.astype(np.float32),
        nail=nail.astype(np.float32),
        sleeve=sleeve,
        sleeve_start=float(rng.uniform(0.015, 0.16)),
        roughness=float(rng.uniform(0.35, 0.7)),
        mottle=float(rng.uniform(0.03, 0.12)),
        seed=float(rng.uniform(0, 100)),
    )


def _cloth(rng: np.random.Generator) -> Array:
    """A cloth colour: greys, dark and pale colours, seldom a shrill one."""
    grey = rng.uniform(0.02, 0.8)
    colour = grey + rng.uniform(0.05, 0.5) * (rng.uniform(0, 1, 3) - 0.5)
    return np.clip(colour, 0.01, 0.9).astype(np.float32)
