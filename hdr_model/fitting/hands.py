"""Joints in, posed hand models out: the fit, hands that do not pass through each other, and their meshes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from scipy.spatial.transform import Rotation
from torch import Tensor

from aih_gen.hands import load_hand_pair
from aih_gen.hands.anatomy import axis_angles
from aih_gen.hands.model import HandModel
from hdr_model.fitting.fit import Observations, fit_hands
from hdr_model.fitting.kinematics import HandParameters, Kinematics
from hdr_model.fitting.pairs import PairSolver


@dataclass(frozen=True, eq=False)
class FittedHands:
    """N hands in camera space, float32; ``HandModel(pose, betas, transl)`` gives their vertices and joints."""

    pose: Tensor  # (N,48) axis-angle, radians
    betas: Tensor  # (N,10)
    transl: Tensor  # (N,3) m
    vertices: Tensor  # (N,V,3) m
    joints: Tensor  # (N,21,3) m


def pose_hands(
    models: tuple[HandModel, HandModel], side: Tensor, pose: Tensor, betas: Tensor, transl: Tensor
) -> tuple[Tensor, Tensor]:
    """Vertices (N,V,3) and joints (N,21,3) of N hands, each of the model of its ``side`` (N,): 0 right, 1 left."""
    vertices, joints = pose.new_empty(len(pose), models[0].num_vertices, 3), pose.new_empty(len(pose), 21, 3)
    for number, model in enumerate(models):
        rows = (side == number).nonzero()[:, 0]
        out = model(pose[rows], betas[rows], transl[rows])
        vertices[rows], joints[rows] = out.vertices, out.joints
    return vertices, joints


def pair_rows(image: Sequence[int], side: Sequence[int]) -> list[tuple[int, int]]:
    """Rows of the right and the left hand of each image that has both; ``side``: 0 right, 1 left."""
    rows = {place: row for row, place in enumerate(zip(image, side, strict=True))}
    return [(row, rows[k, 1]) for (k, hand), row in rows.items() if hand == 0 and (k, 1) in rows]


class HandFitter:
    """Fits a right and a left hand model to joints."""

    def __init__(self, hand_model: str | Path = "free") -> None:
        """``hand_model``: as ``aih_gen.load_hand_model`` takes it.

        Raises:
            AssetError: no such file, or not a MANO file.
        """
        self.models = load_hand_pair(hand_model)
        self.kinematics = Kinematics(*self.models)

    @cached_property
    def pair_solver(self) -> PairSolver:
        """The solver that separates hands."""
        return PairSolver(self.models, self.kinematics)

    @torch.no_grad()
    def __call__(self, seen: Observations, pairs: Sequence[tuple[int, int]] = ()) -> FittedHands:
        """The hands as ``seen``; the right and left ones of ``pairs``, rows of it, do not pass through each other."""
        hands = fit_hands(self.kinematics, seen)
        for pair in pairs:
            rows = torch.tensor(pair)
            parted = self.pair_solver(HandParameters(*(part[rows] for part in hands)))
            hands = HandParameters(*(part.index_copy(0, rows, new) for part, new in zip(hands, parted, strict=True)))
        pose = self._pose(seen.side, hands).float()
        betas, transl = hands.betas.float(), hands.transl.float()
        return FittedHands(pose, betas, transl, *pose_hands(self.models, seen.side, pose, betas, transl))

    def _pose(self, side: Tensor, hands: HandParameters) -> Tensor:
        """(N,48)."""
        fingers = axis_angles(self.kinematics.finger_rotations(side, hands.angles).numpy())
        root = Rotation.from_matrix(hands.root.numpy()).as_rotvec()
        return torch.from_numpy(np.concatenate([root[:, None], fingers], 1)).flatten(1)
