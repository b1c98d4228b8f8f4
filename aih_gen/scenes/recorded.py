"""Recorded fits as pairs for scenes: used as they are, or with their fingers bent a little otherwise."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from aih_gen.hands.anatomy import FINGER_BONES, FingerJoints
from aih_gen.hands.model import HandModel
from aih_gen.scenes.body import ARM_RADIUS, FOREARM, MIRROR, PLACES, comfortable_arms
from aih_gen.scenes.pair import PairPose
from aih_gen.scenes.skinning import Posed, Skinning
from aih_gen.sources.fits import Fits

Array = NDArray[np.float64]

RECORDED = "recorded"
"""The name of such a pair's interaction."""
BENDS = 24
"""Wrist bends that are tried for the forearms, which fits do not know."""


class RecordedPairs:
    """Pairs from fits, posed by one pair of hand models."""

    def __init__(self, fits: Fits, models: tuple[HandModel, HandModel], noise: float = 0.0) -> None:
        """``noise`` is the standard deviation (degrees) by which each finger joint's flexion is changed."""
        self.fits, self.noise = fits, noise
        self.skinning = Skinning(models[0]), Skinning(models[1])
        self.joints = FingerJoints(models[0]), FingerJoints(models[1])

    def pair(self, index: int, rng: np.random.Generator) -> PairPose:
        """Pair ``index``, counted round and round."""
        row = index % len(self.fits)
        pose, betas, transl = (array[row] for array in (self.fits.pose, self.fits.betas, self.fits.transl))
        fingers = np.stack([self._changed(pose[side, 3:].reshape(15, 3), side, rng) for side in (0, 1)])
        roots = Rotation.from_rotvec(pose[:, :3]).as_matrix()
        hands = [self._posed(roots[k], fingers[k], betas[k], transl[k], np.eye(3), k) for k in (0, 1)]
        arms, elbows = _free_arms(rng, roots, (hands[0].joints, hands[1].joints))
        posed = [self._posed(roots[k], fingers[k], betas[k], transl[k], arms[k], k) for k in (0, 1)]
        return PairPose(
            roots=roots,
            fingers=fingers,
            betas=betas,
            rest_wrists=np.stack([one.joints[0] for one in posed]) - transl,
            transl=transl,
            arms=arms,
            elbow_directions=elbows,
            posed=(posed[0], posed[1]),
            hand_vertices=self.skinning[0].num_vertices,
            interaction=RECORDED,
        )

    def _changed(self, fingers: Array, side: int, rng: np.random.Generator) -> Array:
        if not self.noise:
            return fingers
        flexion = np.zeros((15, 3))
        flexion[FINGER_BONES.ravel() - 1] = self.joints[side].axes[:, 1:].reshape(15, 3)
        return fingers + np.radians(rng.normal(0, self.noise, (15, 1))) * flexion

    def _posed(self, root: Array, fingers: Array, betas: Array, transl: Array, arm: Array, side: int) -> Posed:
        skinning = self.skinning[side]
        turns = Rotation.from_rotvec(fingers).as_matrix()[FINGER_BONES - 1]
        return skinning(skinning.shape(betas), root, turns, arm).moved(transl)


def _free_arms(rng: np.random.Generator, roots: Array, joints: tuple[Array, Array]) -> tuple[Array, Array]:
    """Forearms relative to the hands (2,3,3) and unit directions to the elbows (2,3), kept as clear as can be."""
    bends, points = [], []
    for side in (0, 1):
        wrist = np.tile([-0.1, 0.2, -0.3], (BENDS, 1))
        bend = comfortable_arms(rng, BENDS, wrist).bend().transpose(0, 2, 1)
        bend = bend if side == 0 else bend * MIRROR[:, None] * MIRROR
        direction = (roots[side] @ bend)[:, :, 0] * (1 if side == 0 else -1)
        bends.append(bend)
        points.append(joints[side][0] + FOREARM * PLACES * direction[:, None])
    between = np.linalg.norm(points[0][:, None, :, None] - points[1][None, :, None], axis=-1)
    room = (between - ARM_RADIUS[:, None] - ARM_RADIUS).min((2, 3))
    for side in (0, 1):
        distance = np.linalg.norm(points[side][:, 1:, None] - joints[1 - side], axis=-1) - ARM_RADIUS[1:, None]
        room = np.minimum(room, distance.min((1, 2))[:, None] if side == 0 else distance.min((1, 2)))
    right, left = np.unravel_index(int(room.argmax()), room.shape)
    chosen = np.stack([bends[0][right], bends[1][left]])
    ends = np.stack([points[0][right, -1] - points[0][right, 0], points[1][left, -1] - points[1][left, 0]])
    return chosen, ends / FOREARM
