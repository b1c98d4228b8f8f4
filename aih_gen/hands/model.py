"""Linear blend skinning of one hand, with shape and pose blend shapes (Romero et al. 2017, MANO, eq. 1-4).

Not built on ``smplx.lbs``: this is faster at every batch size, forwards and backwards, and no less exact
(``scripts/bench_hands.py`` measures both), and smplx's licence forbids commercial use.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from aih_gen.hands.joints import FROM_MANO_AND_TIPS
from aih_gen.typing import Side

NUM_BONES = 16


class HandOutput(NamedTuple):
    """A batch of posed hands, in metres."""

    vertices: Tensor  # (B,V,3)
    joints: Tensor  # (B,21,3) wrist, thumb 1-4, index, middle, ring, little, base to tip
    joints16: Tensor  # (B,16,3) MANO's order
    arm_vertices: Tensor  # (B,A,3) the forearm that continues the hand; A = 0 where the model has none


@dataclass(frozen=True, eq=False)
class HandData:
    """Contents of a hand model file. V hand vertices, A forearm vertices (0 for MANO), first axis hand then forearm."""

    v_template: Tensor  # (V+A,3) m
    shapedirs: Tensor  # (V+A,3,10)
    posedirs: Tensor | None  # (V,3,135), None where the model has none
    joint_template: Tensor  # (16,3)
    joint_shapedirs: Tensor  # (16,3,10)
    weights: Tensor  # (V+A,16)
    arm_weight: Tensor  # (A,) 1 where the forearm's own rotation applies in full
    faces: Tensor  # (F,3) of the hand
    arm_faces: Tensor  # (G,3) of the forearm, into the V+A vertices
    tip_vertices: Tensor  # (5,) thumb to little
    hands_mean: Tensor  # (45,) mean pose, zero where the model has none
    hands_components: Tensor  # (45,45) rows are principal components of the pose
    texture_coordinates: Tensor | None  # (T,2)
    texture_faces: Tensor | None  # (F,3) into texture_coordinates
    name: str
    sha256: str


IN_CACHE = 32
"""Hands skinned at once on a CPU: what lies between the steps stays in its cache, in two thirds of the time."""


def rotation_matrices(axis_angle: Tensor) -> Tensor:
    """Rodrigues' formula: (...,3) radians -> (...,3,3), smooth at zero."""
    squared = (axis_angle * axis_angle).sum(-1, keepdim=True)
    small = squared < 1e-12
    angle = torch.where(small, 1.0, squared).sqrt()
    half = torch.where(small, 0.5 - squared / 48, (angle / 2).sin() / angle)  # 1 - cos = 2 sin^2 of half the angle
    sine = torch.where(small, 1 - squared / 6, angle.sin() / angle)
    cosine = 2 * half * half
    x, y, z = (sine * axis_angle).unbind(-1)
    diagonal = (1 - cosine * squared)[..., 0]
    rotated = torch.stack([diagonal, -z, y, z, diagonal, -x, -y, x, diagonal], -1).reshape(*axis_angle.shape, 3)
    return (cosine * axis_angle)[..., :, None] * axis_angle[..., None, :] + rotated


def shaped(mean: Tensor, directions: Tensor, betas: Tensor) -> Tensor:
    """Points (N,3) moved by their shape directions (N,3,10), for betas (B,10): (B,N,3)."""
    moved = torch.addmm(mean.reshape(-1), betas, directions.reshape(-1, directions.shape[-1]).T)
    return moved.reshape(len(betas), len(mean), 3)  # of no hand, -1 would be any number


def with_pose(points: Tensor, rotations: Tensor, posedirs: Tensor) -> Tensor:
    """Vertices at rest (B,V,3) with the pose offsets of the bones' rotations (B,16,3,3), by posedirs (V*3,135):
    (B,V,3).
    """  # fmt: skip
    identity = torch.eye(3, dtype=rotations.dtype, device=rotations.device)
    features = (rotations[:, 1:] - identity).flatten(1)
    return torch.addmm(points.flatten(1), features, posedirs.T).reshape(points.shape)


def bone_transforms(rotations: Tensor, joints: Tensor) -> Tensor:
    """World rotation and position of each bone, from rotations (B,16,3,3) and joints at rest (B,16,3): (B,16,3,4).

    Bones are in MANO's order, the wrist and then five chains of three, so each step outwards is one product.
    """
    batch = len(rotations)
    chains = joints[:, 1:].reshape(batch, 5, 3, 3)
    starts = torch.cat([joints[:, :1, None].expand(-1, 5, -1, -1), chains[:, :, :2]], 2)
    offsets = torch.cat([joints[:, :1], (chains - starts).reshape(batch, 15, 3)], 1)
    last_row = torch.eye(4, dtype=joints.dtype, device=joints.device)[3].expand(batch, NUM_BONES, 1, 4)
    local = torch.cat([torch.cat([rotations, offsets[..., None]], -1), last_row], -2)
    fingers = local[:, 1:].reshape(batch, 5, 3, 4, 4)
    first = local[:, :1] @ fingers[:, :, 0]
    second = first @ fingers[:, :, 1]
    third = second @ fingers[:, :, 2]
    outer = torch.stack([first, second, third], 2).reshape(batch, 15, 4, 4)
    return torch.cat([local[:, :1], outer], 1)[:, :, :3]


def skin(rest: Tensor, joints: Tensor, bones: Tensor, weights: Tensor) -> Tensor:
    """Vertices at rest (B,V,3) carried along by the bones (B,16,3,4) with weights (V,16): (B,V,3)."""
    if rest.device.type != "cpu" or len(rest) <= IN_CACHE:
        return _skin(rest, joints, bones, weights)
    parts = zip(rest.split(IN_CACHE), joints.split(IN_CACHE), bones.split(IN_CACHE), strict=True)
    return torch.cat([_skin(*part, weights) for part in parts])


def _skin(rest: Tensor, joints: Tensor, bones: Tensor, weights: Tensor) -> Tensor:
    rotation, position = bones[..., :3], bones[..., 3:]
    transforms = torch.cat([rotation, position - rotation @ joints[..., None]], -1)
    # Coordinates first: one product for the batch, and rows of V numbers in everything after it.
    columns = transforms.permute(0, 3, 2, 1).reshape(-1, NUM_BONES) @ weights.T
    along_x, along_y, along_z, moved = columns.reshape(len(rest), 4, 3, len(weights)).unbind(1)
    x, y, z = rest.transpose(1, 2).split(1, 1)
    moved = torch.addcmul(moved, along_x, x).addcmul_(along_y, y).addcmul_(along_z, z)
    return moved.transpose(1, 2).contiguous()


def check_rows(name: str, rows: Tensor, batch: int, width: int) -> None:
    """Raise ValueError unless ``rows`` is (batch, width), or (1, width) for all of the batch."""
    if rows.ndim != 2 or rows.shape[1] != width or len(rows) not in (1, batch):
        raise ValueError(f"{name}: expected shape ({batch}, {width}), found {tuple(rows.shape)}")


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
    joint_order: Tensor

    def __init__(self, data: HandData, side: Side) -> None:
        super().__init__()
        self.side = side
        self.name = data.name
        self.sha256 = data.sha256
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
        self.register_buffer("joint_order", torch.from_numpy(FROM_MANO_AND_TIPS), persistent=False)

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
            pca: number of principal components that stand for the 45 finger angles, 0 to 45.

        ``betas``, ``transl`` and ``arm_pose`` of one row count for the whole batch; a batch may be empty.

        Raises:
            ValueError: an argument of another shape, or components that there are not.
        """
        if pca is not None and not 0 <= pca <= 45:
            raise ValueError(f"pca: expected 0 to 45, found {pca}")
        width = 48 if pca is None else 3 + pca
        if pose.ndim != 2 or pose.shape[1] != width:
            raise ValueError(f"pose: expected shape (B, {width}), found {tuple(pose.shape)}")
        fingers = pose[:, 3:] if pca is None else pose[:, 3:] @ self.hands_components[:pca]
        if not flat_hand_mean:
            fingers = fingers + self.hands_mean
        batch = len(pose)
        betas = pose.new_zeros(batch, 10) if betas is None else betas
        transl = pose.new_zeros(batch, 3) if transl is None else transl
        for name, rows, columns in (("betas", betas, 10), ("transl", transl, 3), ("arm_pose", arm_pose, 3)):
            if rows is not None:
                check_rows(name, rows, batch, columns)
        betas = betas.expand(batch, 10)
        rotations = rotation_matrices(torch.cat([pose[:, :3], fingers], 1).reshape(batch, NUM_BONES, 3))

        points = shaped(self.v_template, self.shapedirs, betas)
        joints = shaped(self.joint_template, self.joint_shapedirs, betas)
        hand, arm = points[:, : self.num_vertices], points[:, self.num_vertices :]
        if len(self.posedirs):
            hand = with_pose(hand, rotations, self.posedirs)
        bones = bone_transforms(rotations, joints)
        vertices = skin(hand, joints, bones, self.weights[: self.num_vertices]) + transl[:, None]
        positions = bones[..., 3] + transl[:, None]
        arm_vertices = self._pose_arm(arm, joints[:, :1], bones[:, 0, :, :3], arm_pose) + transl[:, None]
        every = torch.cat([positions, vertices[:, self.tip_vertices]], 1)
        return HandOutput(vertices, every[:, self.joint_order], positions, arm_vertices)

    def _pose_arm(self, arm: Tensor, wrist: Tensor, world: Tensor, arm_pose: Tensor | None) -> Tensor:
        if not self.has_arm:
            return arm
        local = arm - wrist
        if arm_pose is not None:
            rotated = local @ rotation_matrices(arm_pose).transpose(1, 2)
            local = local + self.arm_weight[:, None] * (rotated - local)
        return local @ world.transpose(1, 2) + wrist
