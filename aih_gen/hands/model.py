"""Linear blend skinning of one hand, with shape and pose blend shapes (Romero et al. 2017, MANO, eq. 1-4)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from aih_gen.config import Side
from aih_gen.hands.joints import FROM_MANO_AND_TIPS

NUM_BONES = 16


class HandOutput(NamedTuple):
    """A batch of posed hands, in metres."""

    vertices: Tensor  # (B,V,3)
    joints: Tensor  # (B,21,3) wrist, thumb 1-4, index, middle, ring, little, base to tip
    joints16: Tensor  # (B,16,3) MANO's order
    arm_vertices: Tensor  # (B,A,3) the forearm that continues the hand; A = 0 where the model has none


@dataclass(frozen=True, eq=False)
class HandData:
    """What a hand model file says. V hand vertices, A forearm vertices (0 for MANO), first axis hand then forearm."""

    v_template: Tensor  # (V+A,3) m
    shapedirs: Tensor  # (V+A,3,10)
    posedirs: Tensor | None  # (V,3,135), None where the model has none
    joint_template: Tensor  # (16,3)
    joint_shapedirs: Tensor  # (16,3,10)
    weights: Tensor  # (V+A,16)
    arm_weight: Tensor  # (A,) 1 where the forearm's own rotation applies in full
    faces: Tensor  # (F,3) of the hand
    arm_faces: Tensor  # (G,3) of the forearm, into the V+A vertices
    parents: tuple[int, ...]
    tip_vertices: Tensor  # (5,) thumb to little
    hands_mean: Tensor  # (45,) mean pose, zero where the model has none
    hands_components: Tensor  # (45,45) rows are principal components of the pose
    texture_coordinates: Tensor | None  # (T,2)
    texture_faces: Tensor | None  # (F,3) into texture_coordinates
    name: str
    sha256: str


def rotation_matrices(axis_angle: Tensor) -> Tensor:
    """Rodrigues' formula: (...,3) radians -> (...,3,3), smooth at zero."""
    squared = (axis_angle**2).sum(-1)
    small = squared < 1e-12
    angle = torch.sqrt(torch.where(small, torch.ones_like(squared), squared))
    sine = torch.where(small, 1 - squared / 6, torch.sin(angle) / angle)[..., None, None]
    cosine = torch.where(small, 0.5 - squared / 24, (1 - torch.cos(angle)) / angle**2)[..., None, None]
    x, y, z = axis_angle.unbind(-1)
    zero = torch.zeros_like(x)
    cross = torch.stack([zero, -z, y, z, zero, -x, -y, x, zero], -1).reshape(*axis_angle.shape[:-1], 3, 3)
    return torch.eye(3, dtype=axis_angle.dtype, device=axis_angle.device) + sine * cross + cosine * (cross @ cross)


class HandModel(torch.nn.Module):
    """One hand, right or left: ``hand(pose, betas, transl)`` -> HandOutput. Differentiable, any batch and dtype."""

    v_template: Tensor
    shapedirs: Tensor
    posedirs: Tensor
    joint_template: Tensor
    joint_shapedirs: Tensor
    weights: Tensor
    arm_weight: Tensor
    faces: Tensor
    arm_faces: Tensor
    tip_vertices: Tensor
    hands_mean: Tensor
    hands_components: Tensor

    def __init__(self, data: HandData, side: Side) -> None:
        super().__init__()
        self.side = side
        self.name = data.name
        self.sha256 = data.sha256
        self.parents = data.parents
        self.num_vertices = len(data.v_template) - len(data.arm_weight)
        self.has_arm = len(data.arm_weight) > 0
        self.texture_coordinates = data.texture_coordinates
        self.texture_faces = data.texture_faces
        posedirs = torch.zeros(0) if data.posedirs is None else data.posedirs.reshape(self.num_vertices * 3, 135)
        self.register_buffer("posedirs", posedirs)
        for name in ("v_template", "shapedirs", "joint_template", "joint_shapedirs", "weights", "arm_weight"):
            self.register_buffer(name, getattr(data, name))
        for name in ("faces", "arm_faces", "tip_vertices", "hands_mean", "hands_components"):
            self.register_buffer(name, getattr(data, name))

    def forward(
        self,
        pose: Tensor,
        betas: Tensor | None = None,
        transl: Tensor | None = None,
        *,
        arm_pose: Tensor | None = None,
        flat_hand_mean: bool = True,
        pca: int | None = None,
    ) -> HandOutput:
        """Pose the hand.

        Args:
            pose: (B,48) axis-angle in radians, 3 for the wrist then 45 in MANO's order; with ``pca=n``, (B,3+n).
            betas: (B,10) shape, about unit variance; zero when absent.
            transl: (B,3) metres; zero when absent.
            arm_pose: (B,3) axis-angle of the forearm relative to the hand at the wrist; straight when absent.
            flat_hand_mean: zero pose is a flat hand; else the model's mean pose is added.
            pca: number of principal components that stand for the 45 finger angles.
        """
        width = 48 if pca is None else 3 + pca
        if pose.ndim != 2 or pose.shape[1] != width:
            raise ValueError(f"pose: expected shape (B, {width}), found {tuple(pose.shape)}")
        fingers = pose[:, 3:] if pca is None else pose[:, 3:] @ self.hands_components[:pca]
        if not flat_hand_mean:
            fingers = fingers + self.hands_mean
        batch = len(pose)
        betas = pose.new_zeros(batch, 10) if betas is None else betas
        transl = pose.new_zeros(batch, 3) if transl is None else transl
        rotations = rotation_matrices(torch.cat([pose[:, :3], fingers], 1).reshape(batch, NUM_BONES, 3))

        shaped = self.v_template + torch.einsum("vak,bk->bva", self.shapedirs, betas)
        joints = self.joint_template + torch.einsum("jak,bk->bja", self.joint_shapedirs, betas)
        hand, arm = shaped[:, : self.num_vertices], shaped[:, self.num_vertices :]
        if len(self.posedirs):
            identity = torch.eye(3, dtype=pose.dtype, device=pose.device)
            features = (rotations[:, 1:] - identity).reshape(batch, -1)
            hand = hand + (features @ self.posedirs.T).reshape(batch, -1, 3)

        world, positions = self._chain(rotations, joints)
        shift = positions - torch.einsum("bjac,bjc->bja", world, joints)
        transforms = torch.cat([world, shift[..., None]], -1).reshape(batch, NUM_BONES, 12)
        blended = (self.weights[: self.num_vertices] @ transforms).reshape(batch, -1, 3, 4)
        vertices = (blended[..., :3] @ hand[..., None])[..., 0] + blended[..., 3]
        arm_vertices = self._pose_arm(arm, joints[:, :1], world[:, 0], arm_pose)

        vertices, positions = vertices + transl[:, None], positions + transl[:, None]
        every = torch.cat([positions, vertices[:, self.tip_vertices]], 1)
        return HandOutput(vertices, every[:, FROM_MANO_AND_TIPS], positions, arm_vertices + transl[:, None])

    def _chain(self, rotations: Tensor, joints: Tensor) -> tuple[Tensor, Tensor]:
        """World rotation and position of each bone, from the root outwards."""
        world, positions = [rotations[:, 0]], [joints[:, 0]]
        for bone in range(1, NUM_BONES):
            parent = self.parents[bone]
            offset = joints[:, bone] - joints[:, parent]
            positions.append(positions[parent] + (world[parent] @ offset[..., None])[..., 0])
            world.append(world[parent] @ rotations[:, bone])
        return torch.stack(world, 1), torch.stack(positions, 1)

    def _pose_arm(self, arm: Tensor, wrist: Tensor, world: Tensor, arm_pose: Tensor | None) -> Tensor:
        local = arm - wrist
        if arm_pose is not None and self.has_arm:
            turned = local @ rotation_matrices(arm_pose).transpose(1, 2)
            local = local + self.arm_weight[:, None] * (turned - local)
        return local @ world.transpose(1, 2) + wrist
