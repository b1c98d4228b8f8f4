"""Gestures of one hand: named ones blended and perturbed, without self-collision of the fingers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from aih_gen.hands.anatomy import (
    FINGER_BONES,
    GESTURES,
    MAX_ANGLES,
    MCP,
    MIN_ANGLES,
    TIGHT_GESTURES,
    FingerJoints,
)
from aih_gen.hands.model import HandModel
from aih_gen.kernels.hands import MAX_OVERLAP, Fingers, Rest, part_fingers, perturb
from aih_gen.scenes.skinning import Skinning, skinning
from aih_gen.typing import Array

NOISE = np.array([[6.0, 6, 6, 7], *[[3.0, 7, 8, 4]] * 4])
"""Standard deviation of each angle's perturbation in degrees."""
MAX_TRIES = 6


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
    for hand, noise in zip(mixed, NOISE * rng.standard_normal((count, 5, 4)), strict=True):
        perturb(hand, noise, MIN_ANGLES, MAX_ANGLES)
    return mixed


class FingerSolver:
    """Resolves self-collision of the fingers of a right and a left model at once; every bone is a capsule."""

    def __init__(self, models: tuple[HandModel, HandModel]) -> None:
        self.skinnings = skinning(models[0]), skinning(models[1])
        self.joints = FingerJoints(*models)
        right, left = (
            Fingers(axes, MIN_ANGLES, MAX_ANGLES, _bone_radii(skinning), FINGER_BONES)
            for axes, skinning in zip(self.joints.axes, self.skinnings, strict=True)
        )
        self.fingers = right, left

    def sample(
        self, rng: np.random.Generator, names: tuple[Sequence[str], Sequence[str]], rest: Sequence[Rest]
    ) -> Array:
        """Gestures (2,5,4) in degrees between the named ones, with no finger inside another of its hand."""
        angles = sample_gestures(rng, names)
        for _ in range(MAX_TRIES):
            angles, depth = self.resolve_self_collision(angles, rest)
            crowded = (depth > MAX_OVERLAP).any(1)
            if not crowded.any():
                break
            angles[crowded] = sample_gestures(rng, [names[side] for side in np.flatnonzero(crowded)])
        return angles

    def resolve_self_collision(self, angles: Array, rest: Sequence[Rest]) -> tuple[Array, Array]:
        """``angles`` (2,5,4) with thumbs opened and fingers spread just far enough, and the overlaps (2,4) in metres
        that are left.
        """  # fmt: skip
        parted = angles.copy()
        return parted, np.array([part_fingers(*hand) for hand in zip(parted, rest, self.fingers, strict=True)])


def _bone_radii(skinning: Skinning) -> Array:
    """(5,3) half the thickness (m) of each finger bone's flesh at rest."""
    shaped = skinning.shape(np.zeros(10))
    hand, carrier = shaped.points[: skinning.num_hand], skinning.model.carrier[: skinning.num_hand]
    radii = np.zeros((5, 3))
    for row, chain in enumerate(FINGER_BONES):
        for k, bone in enumerate(chain):
            start = shaped.home[bone]
            end = shaped.home[chain[k + 1]] if k < 2 else shaped.tips[row]
            along = (end - start) / np.linalg.norm(end - start)
            offset = hand[carrier == bone] - start
            radii[row, k] = np.median(np.linalg.norm(offset - (offset @ along)[:, None] * along, axis=1))
    return radii
