"""Fitted hands that pass through each other, taken apart by the solver that makes scenes touch."""

from __future__ import annotations

import numpy as np
import torch

from aih_gen.hands.model import HandModel
from aih_gen.scenes.contact import TOLERANCE, ContactSolver, Hands, HandState
from aih_gen.scenes.gestures import FingerSolver
from hdr_model.fitting.kinematics import HandParameters, Kinematics

MAX_SHIFT, PARTED = 0.015, 0.002
"""Metres: by which the joints of a hand may move on the mean, and the depth that may then be left. Hands that only more
would part were fitted at depths that contradict each other, of which contact says nothing: they stay as they are."""


class PairSolver:
    """Parts the hands of one pair of hand models."""

    def __init__(self, models: tuple[HandModel, HandModel], kinematics: Kinematics) -> None:
        self.kinematics = kinematics
        self.solver = ContactSolver(FingerSolver(models), arm_near=0.0)

    def __call__(self, hands: HandParameters) -> HandParameters:
        """A right and a left hand (two rows) that do not pass through each other, or the same hands: where they do not
        touch, and where it takes more than ``MAX_SHIFT``.
        """  # fmt: skip
        before = _states(hands)
        if self.solver.measure(before).depth <= TOLERANCE:
            return hands
        states, quality = self.solver.resolve_penetration(before, ())
        parted = HandParameters(
            *(torch.from_numpy(np.stack([getattr(state, part) for state in states])) for part in HandParameters._fields)
        )
        parted = parted._replace(angles=parted.angles.deg2rad())
        both = torch.arange(2)
        moved = (self.kinematics(both, parted)[0] - self.kinematics(both, hands)[0]).norm(dim=-1).mean(1)
        return parted if quality.depth <= PARTED and bool((moved <= MAX_SHIFT).all()) else hands


def _states(hands: HandParameters) -> Hands:
    root, angles, betas, transl = (part.numpy() for part in hands)
    right, left = (
        HandState(betas[side], root[side], np.degrees(angles[side]), np.eye(3), transl[side]) for side in (0, 1)
    )
    return right, left
