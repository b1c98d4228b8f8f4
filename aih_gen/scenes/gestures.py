"""Gestures of one hand: named ones blended and perturbed, then made such that no finger enters another."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from aih_gen.hands.anatomy import FINGER_BONES, GESTURES, MCP, SPREAD, FingerJoints, held, spread_room
from aih_gen.hands.model import HandModel
from aih_gen.scenes.skinning import Shaped, Skinning

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


def sample_gesture(rng: np.random.Generator, names: Sequence[str]) -> Array:
    """Two of the named gestures blended finger by finger and perturbed: (5,4) degrees that a hand can hold."""
    first, second = (GESTURES[names[k]].angles() for k in rng.integers(len(names), size=2))
    weight = np.clip(rng.beta(0.4, 0.4) + rng.normal(0, 0.12, (5, 1)), 0, 1)
    mixed = (1 - weight) * first + weight * second
    mixed[1:, MCP:] += rng.normal(0, 5)  # fingers bend together more than apart
    noise = NOISE * rng.normal(size=(5, 4))
    noise[1:, SPREAD] *= spread_room(mixed[1:, MCP])
    return held(mixed + noise)


class FingerRoom:
    """Keeps the fingers of one hand model out of each other; every bone is taken for a capsule."""

    def __init__(self, model: HandModel) -> None:
        self.skinning, self.joints = Skinning(model), FingerJoints(model)
        self.radius = _bone_radii(self.skinning)

    def sample(self, rng: np.random.Generator, names: Sequence[str], shaped: Shaped) -> Array:
        """A gesture (5,4) in degrees between the named ones, with no finger inside another."""
        for _ in range(MAX_TRIES):
            angles = self.cleared(sample_gesture(rng, names), shaped)
            if (self.depths(angles, shaped) <= CLEAR).all():
                break
        return angles

    def cleared(self, angles: Array, shaped: Shaped) -> Array:
        """``angles`` (5,4) with the thumb opened and the fingers spread just far enough to be clear of each other."""
        for _ in range(STEPS):
            depth = np.maximum(self.depths(angles, shaped), 0)
            if not depth.any():
                break
            angles = angles.copy()
            angles[0] += (OPEN_THUMB - angles[0]) * min(depth[0] / 0.02, 0.3)
            # Of two fingers the outer one moves aside; ring and little finger move together.
            away = np.degrees(depth[1:] / LEVER)
            angles[1:, SPREAD] += [away[0], 0, away[1], away[1] + away[2]]
            angles = held(angles)
        return angles

    def depths(self, angles: Array, shaped: Shaped) -> Array:
        """(4,) metres by which thumb and fingers, index and middle, middle and ring, ring and little overlap."""
        starts, ends = self._bones(angles, shaped)
        along = ends - starts
        points = (starts[:4, 1:, None] + POINTS * along[:4, 1:, None]).reshape(4, -1, 1, 3)
        # The thumb against all fingers, each finger against the next one.
        thumb = _overlap(points[0], self.radius[0], starts[1:].reshape(-1, 3), along[1:].reshape(-1, 3),
                         self.radius[1:].ravel())  # fmt: skip
        pairs = _overlap(points[1:], self.radius[1:4], starts[2:, None], along[2:, None], self.radius[2:, None])
        return np.concatenate([thumb[None], pairs - CLEAR])

    def _bones(self, angles: Array, shaped: Shaped) -> tuple[Array, Array]:
        """Where the axes of the (5,3) finger bones start and end."""
        turns, joints = self.skinning.bones(shaped, np.eye(3), self.joints.matrices(angles))
        starts, last = joints[FINGER_BONES], FINGER_BONES[:, 2]
        tips = shaped.vertices[self.skinning.tip_vertices] - shaped.joints[last]
        tips *= 1 - self.radius[:, 2:] / np.linalg.norm(tips, axis=1, keepdims=True)
        ends = np.concatenate([starts[:, 1:], (joints[last] + np.einsum("fij,fj->fi", turns[last], tips))[:, None]], 1)
        return starts, ends


def _overlap(points: Array, radii: Array, starts: Array, along: Array, other_radii: Array) -> Array:
    """How deep (m) the outer two bones of fingers, as points (...,P,1,3), enter capsules from starts (...,B,3)."""
    offset = points - starts
    where = np.clip((offset * along).sum(-1) / (along**2).sum(-1), 0, 1)[..., None]
    distance = np.linalg.norm(offset - where * along, axis=-1)
    own = np.repeat(radii[..., 1:], len(POINTS), axis=-1)[..., None]
    return np.asarray((own + other_radii - distance).max((-2, -1)))


def _bone_radii(skinning: Skinning) -> Array:
    """(5,3) half the thickness (m) of each finger bone's flesh at rest."""
    shaped = skinning.shape(np.zeros(10))
    radii = np.zeros((5, 3))
    for row, bones in enumerate(FINGER_BONES):
        for k, bone in enumerate(bones):
            own = shaped.vertices[: skinning.num_vertices][skinning.owner == bone]
            start = shaped.joints[bone]
            end = shaped.joints[bones[k + 1]] if k < 2 else shaped.vertices[skinning.tip_vertices[row]]
            along = (end - start) / np.linalg.norm(end - start)
            offset = own - start
            radii[row, k] = np.median(np.linalg.norm(offset - (offset @ along)[:, None] * along, axis=1))
    return radii
