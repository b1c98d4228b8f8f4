"""Gestures of one hand: named ones blended and perturbed, then made such that no finger enters another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from aih_gen.hands.anatomy import FINGER_BONES, GESTURES, MCP, SPREAD, FingerJoints, held, spread_room
from aih_gen.hands.model import HandModel
from aih_gen.scenes.skinning import Shaped, Skinning, bones, skinning
from aih_gen.scenes.vectors import length, turned

Array = NDArray[np.float64]

NOISE = np.array([[6.0, 6, 6, 7], *[[3.0, 7, 8, 4]] * 4])
"""Standard deviation of each angle's perturbation in degrees."""
OPEN_THUMB = np.array([0.0, -12.0, -6.0, -10.0])
"""Opposition, adduction, MCP and IP flexion of a thumb that points away from every finger."""
CLEAR = 0.0015
"""Depth (m) at which capsules may overlap: they are thicker than the fingers between the joints."""
LEVER = 0.05
"""How far (m) from the knuckle neighbouring fingers meet."""
STEPS, MAX_TRIES = 8, 6
POINTS = np.linspace(0, 1, 5)[:, None]


_ANGLES = {name: gesture.angles() for name, gesture in GESTURES.items()}


def sample_gesture(rng: np.random.Generator, names: Sequence[str]) -> Array:
    """Two of the named gestures blended finger by finger and perturbed: (5,4) degrees that a hand can hold."""
    first, second = (_ANGLES[names[k]] for k in rng.integers(len(names), size=2))
    weight = np.minimum(np.maximum(rng.beta(0.4, 0.4) + 0.12 * rng.normal(size=(5, 1)), 0), 1)
    mixed = (1 - weight) * first + weight * second
    mixed[1:, MCP:] += rng.normal(0, 5)  # fingers bend together more than apart
    noise = NOISE * rng.normal(size=(5, 4))
    noise[1:, SPREAD] *= spread_room(mixed[1:, MCP])
    return held(mixed + noise)


class FingerRoom:
    """Keeps the fingers of each hand out of each other, for a right and a left model at once; every bone is taken for a
    capsule.
    """  # fmt: skip

    def __init__(self, models: tuple[HandModel, HandModel]) -> None:
        self.skinnings = skinning(models[0]), skinning(models[1])
        self.joints = FingerJoints(*models)
        self.radius = np.stack([_bone_radii(one) for one in self.skinnings])  # (2,5,3)
        self._thick = np.repeat(self.radius[:, _OWN, 1:], len(POINTS), -1)
        self._thick += self.radius[:, _OTHERS[:, 0], _OTHERS[:, 1], None]
        """(2,21,10) how near each point may come to the capsule it is compared with."""

    def sample(self, rng: np.random.Generator, names: tuple[Sequence[str], Sequence[str]], rest: Rest) -> Array:
        """Gestures (2,5,4) in degrees between the named ones, with no finger inside another of its hand."""
        angles = np.stack([sample_gesture(rng, some) for some in names])
        for _ in range(MAX_TRIES):
            angles, depth = self.cleared(angles, rest)
            crowded = (depth > CLEAR).any(1)
            if not crowded.any():
                break
            for side in np.flatnonzero(crowded):
                angles[side] = sample_gesture(rng, names[side])
        return angles

    def cleared(self, angles: Array, rest: Rest) -> tuple[Array, Array]:
        """``angles`` (2,5,4) with thumbs opened and fingers spread just far enough to be clear, and the depths left."""
        depth = self.depths(angles, rest)
        for _ in range(STEPS):
            much = np.maximum(depth, 0)
            crowded = much.max(1) > 0
            if not crowded.any():
                break
            opened = angles.copy()
            opened[:, 0] += (OPEN_THUMB - angles[:, 0]) * np.minimum(much[:, :1] / 0.02, 0.3)
            # Of two fingers the outer one moves aside; ring and little finger move together.
            away = np.degrees(much[:, 1:] / LEVER)
            opened[:, 1, SPREAD] += away[:, 0]
            opened[:, 3, SPREAD] += away[:, 1]
            opened[:, 4, SPREAD] += away[:, 1] + away[:, 2]
            angles = np.where(crowded[:, None, None], held(opened), angles)
            depth = self.depths(angles, rest)
        return angles, depth

    def depths(self, angles: Array, rest: Rest) -> Array:
        """(2,4) metres by which thumb and fingers, index and middle, middle and ring, ring and little overlap."""
        starts, along = self._bones(angles, rest)
        # Points of the outer two bones of thumb, index, middle and ring finger.
        points = (starts[:, :4, 1:, None] + POINTS * along[:, :4, 1:, None]).reshape(2, 4, -1, 3)
        # The thumb against all fingers, each finger against the next one.
        other_starts, other_along = starts[:, _OTHERS[:, 0], _OTHERS[:, 1]], along[:, _OTHERS[:, 0], _OTHERS[:, 1]]
        offset = points[:, _OWN] - other_starts[:, :, None]
        squares = np.einsum("sbi,sbi->sb", other_along, other_along)
        where = (offset @ other_along[..., None])[..., 0] / squares[..., None]
        offset -= np.minimum(np.maximum(where, 0), 1)[..., None] * other_along[:, :, None]
        overlap = (self._thick - length(offset)).max(-1)
        depths = np.stack([overlap[:, :12].max(1), *(overlap[:, 9 + 3 * k : 12 + 3 * k].max(1) for k in (1, 2, 3))], 1)
        return depths - [0, CLEAR, CLEAR, CLEAR]

    def _bones(self, angles: Array, rest: Rest) -> tuple[Array, Array]:
        """Where the axes of the (2,5,3) finger bones start, and the way (2,5,3,3) to their ends."""
        turns, joints = bones(rest.joints, np.eye(3), self.joints.matrices(angles))
        last = FINGER_BONES[:, 2]
        tips = rest.tips - rest.joints[:, last]
        tips = tips * (1 - self.radius[:, :, 2:] / length(tips)[..., None])
        starts = joints[:, FINGER_BONES]
        ends = np.concatenate([starts[:, :, 1:], (joints[:, last] + turned(tips, turns[:, last]))[:, :, None]], 2)
        return starts, ends - starts


_OTHERS = np.array([(f, k) for f in (1, 2, 3, 4) for k in range(3)] + [(f, k) for f in (2, 3, 4) for k in range(3)])
"""Finger and bone of the capsules: all of them for the thumb, then those of each finger's neighbour."""
_OWN = np.repeat([0, 1, 2, 3], [12, 3, 3, 3])


@dataclass(frozen=True, eq=False)
class Rest:
    """Both hands' joints (2,16,3) and finger tips (2,5,3) at rest, metres."""

    joints: Array
    tips: Array


def at_rest(shaped: Sequence[Shaped]) -> Rest:
    """Joints and tips of two hands."""
    return Rest(np.stack([one.joints for one in shaped]), np.stack([one.tips for one in shaped]))


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
            offset = hand[skinning.owner[: skinning.num_hand] == bone] - start
            radii[row, k] = np.median(np.linalg.norm(offset - (offset @ along)[:, None] * along, axis=1))
    return radii
