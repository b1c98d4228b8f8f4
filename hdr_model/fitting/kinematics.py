"""The joints of hands and how they move with every parameter, for right and left hands in one batch.

A pose is the hand's rotation and the 20 joint angles of ``aih_gen.hands.anatomy``, so whatever is found is a pose of a
hand, and its limits are limits of numbers.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from aih_gen.hands.anatomy import FINGER_BONES, joint_axes
from aih_gen.hands.joints import FROM_MANO_AND_TIPS
from aih_gen.hands.model import NUM_BONES, HandModel, rotation_matrices

NUM_JOINTS, NUM_ANGLES = 21, 20
ROOT, ANGLES, BETAS, PLACE = slice(0, 3), slice(3, 23), slice(23, 33), slice(33, 36)
"""The 36 unknowns: rotation of the hand about its wrist, joint angles, shape and place."""
NUM_UNKNOWNS = 36
_CHAINS = torch.from_numpy(FINGER_BONES)  # (5,3) MANO bones, thumb to little
_TURNED_AT = _CHAINS[:, [0, 0, 1, 2]]  # (5,4) the bone at whose start a joint angle turns


class HandParameters(NamedTuple):
    """N hands, float64."""

    root: Tensor  # (N,3,3) rotation of the hand
    angles: Tensor  # (N,5,4) radians, as in ``anatomy``
    betas: Tensor  # (N,10)
    transl: Tensor  # (N,3) m, camera space


class Kinematics:
    """The 21 joints of a right and a left hand model: all that a fit to joints has to pose."""

    def __init__(self, right: HandModel, left: HandModel) -> None:
        models = (right, left)
        self.axes = torch.stack([torch.from_numpy(joint_axes(model)) for model in models])  # (2,5,4,3)
        self.bones = torch.stack([_with_shape(m.joint_template, m.joint_shapedirs) for m in models])  # (2,16,3,11)
        tips = [m.tip_vertices for m in models]
        of_tips = [_with_shape(m.v_template[t], m.shapedirs[t]) for m, t in zip(models, tips, strict=True)]
        self.tips = torch.stack(of_tips)  # (2,5,3,11)
        self.weights = torch.stack([m.weights[t].double() for m, t in zip(models, tips, strict=True)])  # (2,5,16)
        self.posedirs: Tensor | None = None  # (2,15,135) of the tips, which are vertices
        if len(right.posedirs):
            offsets = [m.posedirs.reshape(-1, 3, 135)[t].flatten(0, 1) for m, t in zip(models, tips, strict=True)]
            self.posedirs = torch.stack(offsets).double()
        self.moves = _moves()  # (21,20)

    def finger_rotations(self, side: Tensor, angles: Tensor) -> Tensor:
        """(N,5,3,3,3) rotation of each finger bone relative to the one before: ``side`` (N,), ``angles`` (N,5,4)."""
        turns = rotation_matrices(self.axes[side] * angles[..., None])
        return torch.cat([turns[:, :, :1] @ turns[:, :, 1:2], turns[:, :, 2:]], 2)

    def __call__(self, side: Tensor, hands: HandParameters) -> tuple[Tensor, Tensor]:
        """Joints (N,21,3) m in camera space, and their derivatives (N,21,3,36) by the unknowns, with rotations in
        radians about the camera's axes.

        Derivatives by joint angles take a tip to be part of its last bone, which it is but for a few hundredths.

        Args:
            side: (N,) 0 right, 1 left.
            hands: their parameters.
        """  # fmt: skip
        local = self.finger_rotations(side, hands.angles)
        first = hands.root[:, None] @ local[:, :, 0]
        second = first @ local[:, :, 1]
        fingers = torch.stack([first, second, second @ local[:, :, 2]], 2)  # (N,5,3,3,3)
        frames = torch.cat([hands.root[:, None, None].expand(-1, 5, -1, -1, -1), fingers], 2)  # (N,5,4,3,3)

        # Everything is linear in rest positions, so the shape's directions go the way of the positions themselves.
        rest = self.bones[side]
        chains = rest[:, _CHAINS]  # (N,5,3,3,11)
        starts = torch.cat([rest[:, None, :1].expand(-1, 5, -1, -1, -1), chains[:, :, :2]], 2)
        carried = (frames[:, :, :3] @ (chains - starts)).cumsum(2)
        places = rest.clone()  # (N,16,3,11)
        places[:, _CHAINS] = rest[:, None, :1] + carried
        every = torch.cat([places, self._tips(side, rest, places, hands.root, local, fingers)], 1)
        every = every[:, FROM_MANO_AND_TIPS]
        joints = every[..., 0] + (every[..., 1:] @ hands.betas[:, None, :, None])[..., 0]

        centres = places[..., 0] + (places[..., 1:] @ hands.betas[:, None, :, None])[..., 0]
        axes = (frames @ self.axes[side][..., None]).reshape(-1, 1, NUM_ANGLES, 3)
        arms = joints[:, :, None] - centres[:, _TURNED_AT.flatten()][:, None]
        derivatives = joints.new_zeros(*joints.shape, NUM_UNKNOWNS)
        derivatives[..., ROOT] = _cross_matrices(centres[:, :1] - joints)
        derivatives[..., ANGLES] = (torch.linalg.cross(axes, arms) * self.moves[..., None]).mT
        derivatives[..., BETAS] = every[..., 1:]
        derivatives[..., PLACE] = torch.eye(3, dtype=joints.dtype)
        return joints + hands.transl[:, None], derivatives

    def _tips(self, side: Tensor, rest: Tensor, places: Tensor, root: Tensor, local: Tensor, fingers: Tensor) -> Tensor:
        """(N,5,3,11) finger tips, skinned as the vertices that they are."""
        count, tips = len(side), self.tips[side]
        if self.posedirs is not None:
            features = rest.new_zeros(count, NUM_BONES, 3, 3)
            features[:, _CHAINS] = local - torch.eye(3, dtype=rest.dtype)
            offsets = self.posedirs[side] @ features[:, 1:].reshape(count, -1, 1)
            tips = torch.cat([tips[..., :1] + offsets.reshape(count, 5, 3, 1), tips[..., 1:]], -1)
        rotations = root[:, None].repeat(1, NUM_BONES, 1, 1)
        rotations[:, _CHAINS] = fingers
        weights = self.weights[side]
        turned = (weights @ rotations.flatten(2)).unflatten(2, (3, 3))
        moved = weights @ (places - rotations @ rest).flatten(2)
        return turned @ tips + moved.unflatten(2, (3, -1))


def _with_shape(points: Tensor, directions: Tensor) -> Tensor:
    """Points (P,3) and their shape directions (P,3,10) side by side, (P,3,11)."""
    return torch.cat([points[..., None], directions], -1).double()


def _moves() -> Tensor:
    """(21,20): 1 where a joint angle moves a joint, else 0."""
    moves = torch.zeros(NUM_BONES + 5, 5, 4, dtype=torch.float64)
    for finger, chain in enumerate(FINGER_BONES):
        for level, bone in enumerate([*chain, NUM_BONES + finger]):
            moves[bone, finger, : level + 1] = 1
    return moves.reshape(-1, NUM_ANGLES)[FROM_MANO_AND_TIPS]


def _cross_matrices(vectors: Tensor) -> Tensor:
    """(...,3,3) M with M x = v cross x, for v (...,3)."""
    x, y, z = vectors.unbind(-1)
    zero = torch.zeros_like(x)
    return torch.stack([zero, -z, y, z, zero, -x, -y, x, zero], -1).unflatten(-1, (3, 3))
