"""Recorded fits for scenes: as they are, or with their fingers bent a little."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from aih_gen.hands.anatomy import FINGER_BONES, bone_rotations
from aih_gen.hands.model import HandModel
from aih_gen.scenes.body import ARM_RADIUS, FOREARM, MIRROR_FRAME, PLACES, bend, comfortable_arms
from aih_gen.scenes.contact import TOLERANCE, ContactSolver, HandState, posed
from aih_gen.scenes.fits import Fits, Frames
from aih_gen.scenes.gestures import FingerSolver
from aih_gen.scenes.pair import PairPose, outline
from aih_gen.scenes.poses import pair_pose
from aih_gen.scenes.scene import Camera
from aih_gen.typing import Array

RECORDED = "recorded"
"""The interaction of such a pair."""
FAR = np.array([10.0, 0.0, 0.0])
"""Metres from a hand to the placeholder of the other one where that is absent."""
BENDS = 24
"""Wrist bends tried for the forearms, which fits do not have."""


class RecordedPairs:
    """The hands of fits, two or one, posed by one pair of hand models."""

    def __init__(
        self, fits: Fits, models: tuple[HandModel, HandModel], noise: float = 0.0, contact: bool = True
    ) -> None:
        """``noise`` is the standard deviation (degrees) by which finger flexions are changed; with ``contact``, hands
        that pass through each other are moved apart, else they stay as they are.
        """  # fmt: skip
        self.fits, self.noise, self.contact = fits, noise, contact
        self.finger_solver = FingerSolver(models)
        self.solver = ContactSolver(self.finger_solver)
        self.outlines = outline(self.finger_solver.skinnings[0]), outline(self.finger_solver.skinnings[1])

    def pair(self, index: int, rng: np.random.Generator) -> PairPose:
        """The hands of frame ``index`` modulo the number of frames."""
        row = index % len(self.fits)
        pose, betas, transl = (array[row] for array in (self.fits.pose, self.fits.betas, self.fits.transl))
        present = self.fits.present[row]
        if not present.all():
            transl = np.where(present[:, None], transl, transl[present] + FAR)
        rotations = bone_rotations(pose)  # (2,16,3,3)
        angles = np.zeros((2, 5, 4))
        if self.noise:
            angles[:, :, 1:] = rng.normal(0, self.noise, (2, 5, 3))
        right, left = (
            HandState(betas[k], rotations[k, 0], angles[k], np.eye(3), transl[k], rotations[k, FINGER_BONES])
            for k in (0, 1)
        )
        hands = right, left
        if self.contact and self.solver.measure(hands).depth > TOLERANCE:
            hands, _ = self.solver.resolve_penetration(hands, ())
        both = posed(self.finger_solver, self.outlines, hands)
        roots = np.stack([hand.root for hand in hands])
        arms, elbows = _free_arms(rng, roots, (both[0].joints, both[1].joints))
        hands = replace(hands[0], arm=arms[0]), replace(hands[1], arm=arms[1])
        both = posed(self.finger_solver, self.outlines, hands)
        pair = pair_pose(self.outlines, hands, both, elbows, RECORDED)
        return pair if present.all() else pair.alone(int(present.argmax()))


def own_camera(frames: Frames, index: int, size: int) -> Camera:
    """The camera of frame ``index`` modulo their number, for its photo scaled to ``size`` pixels a side."""
    scale = size / frames.photos.size[0]
    middle = (scale - 1) / 2
    matrix = np.array([[scale, 0, middle], [0, scale, middle], [0, 0, 1]]) @ frames.camera[index % len(frames.rows)]
    return Camera(matrix.astype(np.float32), size)


def _free_arms(rng: np.random.Generator, roots: Array, joints: tuple[Array, Array]) -> tuple[Array, Array]:
    """Forearms relative to the hands (2,3,3) and unit directions to the elbows (2,3), as far apart as possible."""
    bends, points = [], []
    for side in (0, 1):
        wrist = np.tile([-0.1, 0.2, -0.3], (BENDS, 1))
        angles = comfortable_arms(rng, BENDS, wrist).angles
        side_bends = bend(angles[:, 0], angles[:, 1]).transpose(0, 2, 1)
        side_bends = side_bends if side == 0 else side_bends * MIRROR_FRAME
        direction = (roots[side] @ side_bends)[:, :, 0] * (1 if side == 0 else -1)
        bends.append(side_bends)
        points.append(joints[side][0] + FOREARM * PLACES * direction[:, None])
    between = np.linalg.norm(points[0][:, None, :, None] - points[1][None, :, None], axis=-1)
    clearance = (between - ARM_RADIUS[:, None] - ARM_RADIUS).min((2, 3))
    for side in (0, 1):
        distance = np.linalg.norm(points[side][:, 1:, None] - joints[1 - side], axis=-1) - ARM_RADIUS[1:, None]
        clearance = np.minimum(clearance, distance.min((1, 2))[:, None] if side == 0 else distance.min((1, 2)))
    right, left = np.unravel_index(int(clearance.argmax()), clearance.shape)
    chosen = np.stack([bends[0][right], bends[1][left]])
    ends = np.stack([points[0][right, -1] - points[0][right, 0], points[1][left, -1] - points[1][left, 0]])
    return chosen, ends / FOREARM
