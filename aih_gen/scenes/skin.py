"""Skin: where palm, back and nails lie on a hand, and the tones that people have."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch

from aih_gen.hands.anatomy import back_directions
from aih_gen.hands.joints import JOINT_NAMES, MANO_FINGERS
from aih_gen.hands.model import HandModel
from aih_gen.hands.normals import vertex_normals
from aih_gen.scenes.scene import Skin, Sleeve
from aih_gen.scenes.textures import TextureLibrary
from aih_gen.typing import Float32, Floating, Int64

PALEST = np.array([0.85, 0.62, 0.50])
"""Linear reflectance of skin without melanin or blood."""
PALENESS_OF_PALM = 0.6
"""Share by which palms, which hold little melanin, go from the tone of the back towards their own."""
TONES = ("very light", "light", "intermediate", "tan", "brown", "dark")
ITA_BOUNDS = (55.0, 41.0, 28.0, 10.0, -30.0)
"""Individual typology angles in degrees between those classes (Del Bino and Bernerd 2013)."""
TONE_TRIES = 24
"""Colours drawn at once: a class of tone comes in one of nine."""
SLEEVE_THICKNESS = 0.0025
"""Metres."""
_BY_MELANIN, _BY_MELANIN_OF_PALM = np.array([2.0, 2.6, 2.9]), np.array([1.5, 2.1, 2.4])
_BY_BLOOD, _BLOOD_OF_PALM = np.array([0.0, 0.22, 0.24]), np.array([1.0, 0.82, 0.78])
_NAIL = np.array([0.75, 0.5, 0.45])
_TO_XYZ = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
_TO_RELATIVE_XYZ = (_TO_XYZ / _TO_XYZ.sum(1, keepdims=True)).T


@dataclass(frozen=True, eq=False)
class SkinRegions:
    """Soft membership of each vertex of a hand and its forearm, in [0, 1]."""

    palm: Float32  # (V,)
    nail: Float32  # (V,)
    arm_reach: Float32  # (V,) m from the wrist along the forearm, 0 on the hand


def skin_regions(model: HandModel) -> SkinRegions:
    """Read palm, nails and forearm off the model's rest pose."""
    with torch.no_grad():
        out = model(torch.zeros(1, 48))
    vertices, joints = out.vertices[0].numpy(), out.joints[0].numpy()
    wrist = joints[0]
    normals = vertex_normals(vertices, model.faces.numpy())
    dominant_bone = model.weights[: model.num_vertices].numpy().argmax(1)
    backs = back_directions(model).astype(np.float32)
    palm = _smoothstep(0.15, 0.6, -(normals * backs[dominant_bone]).sum(1))
    nail = _nails(vertices, normals, joints, dominant_bone, backs)
    reach = np.abs(out.arm_vertices[0, :, 0].numpy() - wrist[0])
    zeros = np.zeros(len(reach), np.float32)
    return SkinRegions(
        palm=np.concatenate([palm, zeros]).astype(np.float32),
        nail=np.concatenate([nail, zeros]).astype(np.float32),
        arm_reach=np.concatenate([np.zeros(len(vertices)), reach]).astype(np.float32),
    )


def _nails(
    vertices: Float32,
    normals: Float32,
    joints: Float32,
    dominant_bone: Int64,
    backs: Float32,
) -> Float32:
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
        nail = np.maximum(nail, np.where(dominant_bone == bone, inside * facing * centred, 0))
    return nail


def _smoothstep(low: float, high: float, x: Float32) -> Float32:
    t = np.clip((x - low) / (high - low), 0, 1)
    return (t * t * (3 - 2 * t)).astype(np.float32)


def vertex_albedo(regions: SkinRegions, skin: Skin) -> Float32:
    """(V,3) linear reflectance of each vertex."""
    colour = skin.back + regions.palm[:, None] * (skin.palm - skin.back)
    colour += regions.nail[:, None] * ((skin.nail if skin.dress.polish is None else skin.dress.polish) - colour)
    if skin.dress.glove is not None:
        colour[regions.arm_reach < skin.dress.glove.cuff] = skin.dress.glove.colour
    if skin.sleeve is not None:
        colour[regions.arm_reach > skin.sleeve.start] = skin.sleeve.colour
    return colour.astype(np.float32)


def thickness(regions: SkinRegions, skin: Skin) -> Float32:
    """(V,) distance (m) of clothes from the skin."""
    if skin.sleeve is None:
        return np.zeros(len(regions.arm_reach), np.float32)
    return SLEEVE_THICKNESS * _smoothstep(skin.sleeve.start - 0.004, skin.sleeve.start, regions.arm_reach)


def sample_skin(rng: np.random.Generator, textures: TextureLibrary | None = None) -> Skin:
    """A person: all six classes of tone alike often, through melanin and haemoglobin; bare arms or sleeves.

    With textures, each person wears one, and the tone is the texture's.
    """
    if textures is not None and textures.names:
        return _textured(rng, textures)
    wanted = int(rng.integers(len(TONES)))
    while True:
        # Reflectance falls with melanin, most in blue; blood takes green and blue (after Jacques 2013, skin optics).
        melanin = 1.1 * rng.random((TONE_TRIES, 1))
        blood = np.minimum(np.maximum(0.5 + 0.25 * rng.standard_normal((TONE_TRIES, 1)), 0), 1)
        backs = PALEST * np.exp(-melanin * _BY_MELANIN) * (1 - blood * _BY_BLOOD)
        backs *= rng.uniform(0.9, 1.1, (TONE_TRIES, 1))
        fits = np.flatnonzero(tone_classes(backs) == wanted)
        if len(fits):
            break
    back = backs[fits[0]]
    inner = PALEST * np.exp(-0.55 * melanin[fits[0]] * _BY_MELANIN_OF_PALM) * _BLOOD_OF_PALM
    palm = back + PALENESS_OF_PALM * (inner - back)
    nail = 0.65 * palm + 0.35 * _NAIL
    return Skin(
        back=back.astype(np.float32),
        palm=palm.astype(np.float32),
        nail=nail.astype(np.float32),
        roughness=float(rng.uniform(0.35, 0.7)),
        mottle=float(rng.uniform(0.05, 0.2)),
        crease=float(rng.uniform(0.3, 1.0)),
        vein=float(rng.uniform(0.0, 0.9)),
        flush=float(rng.uniform(0.2, 1.0)),
        seed=float(rng.uniform(0, 100)),
        tone=TONES[wanted],
        sleeve=None if rng.random() < 0.45 else _sleeve(rng),
    )


def _textured(rng: np.random.Generator, textures: TextureLibrary) -> Skin:
    name = textures.names[int(rng.integers(len(textures.names)))]
    texture = textures.image(name)
    mean = (np.median(texture[texture.any(-1)], axis=0) / 255) ** 2.2
    plain = replace(sample_skin(rng), back=mean.astype(np.float32), palm=mean.astype(np.float32), tone=tone_class(mean))
    return replace(plain, crease=0.0, vein=0.0, flush=0.0, texture=name)


def individual_typology_angle(reflectance: Floating) -> Floating:
    """ITA (...) in degrees of linear sRGB reflectances (...,3): high is pale (Chardon et al. 1991), under D65."""
    relative = reflectance @ _TO_RELATIVE_XYZ
    cubic = np.where(relative > 0.008856, np.cbrt(relative), 7.787 * relative + 16 / 116)
    lightness, blue_yellow = 116 * cubic[..., 1] - 16, 200 * (cubic[..., 1] - cubic[..., 2])
    return np.asarray(np.degrees(np.arctan2(lightness - 50, blue_yellow)))


def tone_classes(reflectance: Floating) -> Int64:
    """(...) index into ``TONES`` of linear reflectances (...,3)."""
    return np.searchsorted(-np.array(ITA_BOUNDS), -individual_typology_angle(reflectance))


def tone_class(reflectance: Floating) -> str:
    """Class, of ``TONES``, of a linear reflectance (3,)."""
    return TONES[int(tone_classes(reflectance))]


def _sleeve(rng: np.random.Generator) -> Sleeve:
    colour = _cloth(rng)
    striped = rng.random() < 0.25
    return Sleeve(
        colour=colour,
        stripe=_cloth(rng) if striped else colour,
        stripe_width=float(rng.uniform(0.004, 0.02)) if striped else 0.0,
        start=float(rng.uniform(0.015, 0.16)),
    )


def _cloth(rng: np.random.Generator) -> Float32:
    """A cloth colour: greys, dark and pale colours, seldom a shrill one."""
    grey = rng.uniform(0.02, 0.8)
    colour = grey + rng.uniform(0.05, 0.5) * (rng.uniform(0, 1, 3) - 0.5)
    return np.clip(colour, 0.01, 0.9).astype(np.float32)
