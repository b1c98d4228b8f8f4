"""Posed hands before any camera, sampled or recorded."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy.spatial.transform import Rotation

from aih_gen.hands.anatomy import FINGER_BONES, bone_rotations
from aih_gen.scenes.cameras import Views
from aih_gen.scenes.scene import Camera, Hand
from aih_gen.scenes.skinning import Skinning
from aih_gen.scenes.vectors import length
from aih_gen.scenes.visibility import Visibility, arms_before, shown_shares
from aih_gen.typing import Array

SPACING = 0.008
"""Least distance (m) at rest between the points that stand for a hand where its outline is what matters."""


def outline(skinning: Skinning) -> Skinning:
    """The vertices that suffice to estimate occlusion: spread evenly, as a hand's own lie close on its fingers."""
    points = skinning.model.template
    free, chosen = np.arange(skinning.num_hand), []
    while len(free):
        chosen.append(free[0])
        free = free[length(points[free] - points[free[0]]) >= SPACING]
    return skinning.only(np.concatenate([chosen, np.arange(skinning.num_hand, len(points), 2)]))


def surface(skinning: Skinning, hand: Hand) -> tuple[Array, Array]:
    """Points (P,3) m of a hand and of its forearm where a scene shows them."""
    shaped, rotations = skinning.shape(hand.betas.astype(np.float64)), bone_rotations(hand.pose)
    arm = Rotation.from_rotvec(hand.arm_pose.astype(np.float64)).as_matrix()
    transl = hand.transl.astype(np.float64)
    vertices = skinning.pose(shaped, rotations[0], rotations[FINGER_BONES], arm, transl).vertices
    return vertices[: skinning.num_hand], vertices[skinning.num_hand :]


@dataclass(frozen=True, eq=False)
class PairPose:
    """Two posed hands in some common frame, or one of them: sides not in ``sides`` are absent. First axis: right,
    left.
    """  # fmt: skip

    roots: Array  # (2,3,3) orientations of the hands
    fingers: Array  # (2,5,3,3,3) rotations of the bones
    betas: Array  # (2,10)
    wrists: Array  # (2,3) m, about which the hands rotate
    transl: Array  # (2,3) m
    arms: Array  # (2,3,3) forearms relative to the hands
    elbows: Array  # (2,3) unit, from wrist to elbow
    hand_points: tuple[Array, Array]  # (P,3) m of each hand's surface
    armed: bool  # the models have forearms
    interaction: str
    sides: tuple[int, ...] = (0, 1)

    def alone(self, side: int) -> PairPose:
        """Hand ``side`` without the other one."""
        return replace(self, sides=(side,))

    def visibility(self, views: Views) -> Visibility:
        """Visibility of the hands from cameras."""
        sides = list(self.sides)
        return Visibility.of(views, self.points(), self.wrists[sides], self.elbows[sides], self.armed)

    def shown(self, views: Views, seen: Visibility) -> Array:
        """(N,) share of the hands' points that each of N images holds."""
        return shown_shares(views, np.concatenate(self.points()), seen.shift)

    def arms_before(self, camera: Camera) -> bool:
        """True if a forearm is in the way of a camera in whose space the hands are."""
        sides = list(self.sides)
        return self.armed and arms_before(camera, self.wrists[sides], self.elbows[sides])

    def middle(self) -> Array:
        """(3,) m, mean of the surfaces."""
        return np.asarray(sum(points.sum(0) / len(points) for points in self.points())) / len(self.sides)

    def hands(self, rotation: Array, shift: Array) -> tuple[Hand | None, Hand | None]:
        """The hands rotated by ``rotation`` (3,3) into a camera's axes and moved by ``shift`` (3,) there."""
        rotations = np.empty((2, 17, 3, 3))
        rotations[:, 0], rotations[:, FINGER_BONES], rotations[:, 16] = rotation @ self.roots, self.fingers, self.arms
        rotvecs = Rotation.from_matrix(rotations.reshape(-1, 3, 3), assume_valid=True).as_rotvec().astype(np.float32)
        pose = rotvecs.reshape(2, 51)
        rest_wrists = self.wrists - self.transl
        transl = (self.wrists @ rotation.T + shift - rest_wrists).astype(np.float32)
        betas = self.betas.astype(np.float32)
        right, left = (
            Hand(pose[k, :48], betas[k], transl[k], pose[k, 48:]) if k in self.sides else None for k in (0, 1)
        )
        return right, left

    def points(self) -> tuple[Array, ...]:
        """(P,3) m of the surface of each hand that is there."""
        return tuple(self.hand_points[side] for side in self.sides)
