"""Gestures of one hand: named ones blended and perturbed, without self-collision of the fingers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from aih_gen.hands.anatomy import (
    FINGER_BONES,
    GESTURES,
    MCP,
    SPREAD,
    TIGHT_GESTURES,
    FingerJoints,
    clamp_to_joint_limits,
    spread_range,
)
from aih_gen.hands.model import HandModel
from aih_gen.scenes.skinning import Shaped, Skinning, skinning
from aih_gen.scenes.vectors import length, rotate
from aih_gen.typing import Array

NOISE = np.array([[6.0, 6, 6, 7], *[[3.0, 7, 8, 4]] * 4])
"""Standard deviation of each angle's perturbation in degrees."""
OPEN_THUMB = np.array([0.0, -12.0, -6.0, -10.0])
"""Opposition, adduction, MCP and IP flexion of a thumb that points away from every finger."""
MAX_OVERLAP = 0.0015
"""Depth (m) to which capsules may overlap: they are thicker than the fingers between the joints."""
LEVER = 0.05
"""Distance (m) from the knuckle at which neighbouring fingers meet."""
STEPS, MAX_TRIES = 8, 6
POINTS = np.linspace(0, 1, 5)[:, None]


_ANGLES = {name: gesture.angles() for name, gesture in (GESTURES | TIGHT_GESTURES).items()}


def sample_gestures(rng: np.random.Generator, names: Sequence[Sequence[str]]) -> Array:
    """(N,5,4) degrees within the joint limits: two of the named gestures of each of N hands, blended finger by finger
    and perturbed.
    """  # fmt: skip
    count = len(names)
    pairs = np.array([[_ANGLES[choices[int(len(choices) * share)]] for share in rng.random(2)] for choices in names])
    weight = rng.beta(0.4, 0.4, (count, 1, 1)) + 0.12 * rng.standard_normal((count, 5, 1))
    weight = np.minimum(np.maximum(weight, 0), 1)
    mixed = (1 - weight) * pairs[:, 0] + weight * pairs[:, 1]
    mixed[:, 1:, MCP:] += 5 * rng.standard_normal((count, 1, 1))  # fingers bend together more than apart
    noise = NOISE * rng.standard_normal((count, 5, 4))
    noise[:, 1:, SPREAD] *= spread_range(mixed[:, 1:, MCP])
    return clamp_to_joint_limits(mixed + noise)


class FingerSolver:
    """Resolves self-collision of the fingers of a right and a left model at once; every bone is a capsule."""

    def __init__(self, models: tuple[HandModel, HandModel]) -> None:
        self.skinnings = skinning(models[0]), skinning(models[1])
        self.joints = FingerJoints(*models)
        self.radius = np.stack([_bone_radii(skinning) for skinning in self.skinnings])  # (2,5,3)
        self._thick = np.repeat(self.radius[:, _OWN, 1:], len(POINTS), -1)
        self._thick += self.radius.reshape(2, 15)[:, _OTHERS, None]
        """(2,21,10) least distance (m) of each point from the axis of the capsule it is compared with."""

    def at_rest(self, shaped: Sequence[Shaped]) -> Rest:
        """Two hands of these shapes."""
        joints = np.array([hand.joints for hand in shaped])
        starts = joints[:, FINGER_BONES]
        along = np.empty_like(starts)
        along[:, :, :2] = starts[:, :, 1:] - starts[:, :, :2]
        tips = np.array([hand.tips for hand in shaped])
        last = tips - starts[:, :, 2]
        along[:, :, 2] = last * (1 - self.radius[:, :, 2:] / length(last)[..., None])
        return Rest(joints, tips, along, (along * along).sum(-1).reshape(2, 15)[:, _OTHERS, None])

    def sample(self, rng: np.random.Generator, names: tuple[Sequence[str], Sequence[str]], rest: Rest) -> Array:
        """Gestures (2,5,4) in degrees between the named ones, with no finger inside another of its hand."""
        angles = sample_gestures(rng, names)
        for _ in range(MAX_TRIES):
            angles, depth = self.resolve_self_collision(angles, rest)
            crowded = (depth > MAX_OVERLAP).any(1)
            if not crowded.any():
                break
            angles[crowded] = sample_gestures(rng, [names[side] for side in np.flatnonzero(crowded)])
        return angles

    def resolve_self_collision(self, angles: Array, rest: Rest) -> tuple[Array, Array]:
        """``angles`` (2,5,4) with thumbs opened and fingers spread just far enough, and the overlaps (2,4) in
        metres.
        """  # fmt: skip
        depth = self.depths(angles, rest)
        for _ in range(STEPS):
            overlap = np.maximum(depth, 0)
            crowded = overlap.max(1) > 0
            if not crowded.any():
                break
            opened = angles.copy()
            opened[:, 0] += (OPEN_THUMB - angles[:, 0]) * np.minimum(overlap[:, :1] / 0.02, 0.3)
            # Of two fingers the outer one moves aside; ring and little finger move together.
            away = np.degrees(overlap[:, 1:] / LEVER)
            opened[:, 1, SPREAD] += away[:, 0]
            opened[:, 3, SPREAD] += away[:, 1]
            opened[:, 4, SPREAD] += away[:, 1] + away[:, 2]
            angles = np.where(crowded[:, None, None], clamp_to_joint_limits(opened), angles)
            depth = self.depths(angles, rest)
        return angles, depth

    def depths(self, angles: Array, rest: Rest) -> Array:
        """(2,4) metres by which thumb and fingers, index and middle, middle and ring, ring and little overlap."""
        rotations = self.joints.matrices(angles)
        for level in (1, 2):
            rotations[:, :, level] = rotations[:, :, level - 1] @ rotations[:, :, level]
        along = rotate(rest.along, rotations)
        starts = np.empty_like(along)
        starts[:, :, 0] = rest.joints[:, FINGER_BONES[:, 0]]
        np.add(starts[:, :, 0], along[:, :, 0], out=starts[:, :, 1])
        np.add(starts[:, :, 1], along[:, :, 1], out=starts[:, :, 2])
        # Points of the outer two bones of thumb, index, middle and ring finger; coordinates first, as all below.
        points = (starts[:, :4, 1:, None] + POINTS * along[:, :4, 1:, None]).reshape(2, 4, -1, 3).transpose(3, 0, 1, 2)
        # The thumb against all fingers, each finger against the next one.
        others = starts.reshape(2, 15, 3).transpose(2, 0, 1)[:, :, _OTHERS, None]
        axes = along.reshape(2, 15, 3).transpose(2, 0, 1)[:, :, _OTHERS, None]
        offset = points[:, :, _OWN] - others
        share = (offset * axes).sum(0) / rest.squares
        offset -= np.minimum(np.maximum(share, 0), 1) * axes
        offset *= offset
        overlap = self._thick - np.sqrt(offset.sum(0))
        return np.asarray(np.maximum.reduceat(overlap.reshape(2, -1), _FIRST, axis=1) - _ALLOWED)


_OTHERS = np.array([*range(3, 15), *range(6, 15)])
"""Bones, three a finger, that are the capsules: all fingers' for the thumb, then those of each finger's neighbour."""
_OWN = np.repeat([0, 1, 2, 3], [12, 3, 3, 3])
_FIRST = 2 * len(POINTS) * np.array([0, 12, 15, 18])
_ALLOWED = np.array([0, MAX_OVERLAP, MAX_OVERLAP, MAX_OVERLAP])


@dataclass(frozen=True, eq=False)
class Rest:
    """Both hands at rest, metres."""

    joints: Array  # (2,16,3)
    tips: Array  # (2,5,3)
    along: Array  # (2,5,3,3) axes of the finger bones, the last ones as far as the capsules' ends
    squares: Array  # (2,21,1) m^2, of the lengths of the capsules that points are compared with


def _bone_radii(skinning: Skinning) -> Array:
    """(5,3) half the thickness (m) of each finger bone's flesh at rest."""
    shaped = skinning.shape(np.zeros(10))
    hand = shaped.points[:, : skinning.num_hand].T
    radii = np.zeros((5, 3))
    for row, chain in enumerate(FINGER_BONES):
        for k, bone in enumerate(chain):
            start = shaped.joints[bone]
            end = shaped.joints[chain[k + 1]] if k < 2 else shaped.tips[row]
            along = (end - start) / np.linalg.norm(end - start)
            offset = hand[skinning.dominant_bone[: skinning.num_hand] == bone] - start
            radii[row, k] = np.median(np.linalg.norm(offset - (offset @ along)[:, None] * along, axis=1))
    return radii
