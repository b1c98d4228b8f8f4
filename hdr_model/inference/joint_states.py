"""The state of each joint in a photo: visible, or hidden and by what, in AIH's codes (``compose/sample.JOINT_*``)."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from aih_gen.compose.sample import (
    BELOW_SKIN,
    JOINT_OTHER_OCCLUDED,
    JOINT_OUTSIDE,
    JOINT_SELF_OCCLUDED,
    JOINT_UNKNOWN,
    JOINT_VISIBLE,
)
from aih_gen.hands.joints import BONES
from aih_gen.typing import Float32, Mask, Side, UInt8

STATE_NAMES = {
    JOINT_UNKNOWN: "unknown",
    JOINT_VISIBLE: "visible",
    JOINT_SELF_OCCLUDED: "hidden by its own hand",
    JOINT_OTHER_OCCLUDED: "hidden by the other hand",
    JOINT_OUTSIDE: "outside",
}
FINGER_RADIUS, PALM_RADIUS = 0.008, 0.012
"""Metres from a bone to the skin."""


def joint_states(joints_2d: Float32, joints_3d: Float32, masks: Mapping[str, Mask], side: Side) -> UInt8:
    """States (21,) of the joints of one hand, from its masks and the depth of its joints.

    A joint outside both hands' masks is unknown: masks and joints disagree.

    Args:
        joints_2d: (21,2) px of the photo.
        joints_3d: (21,3) m.
        masks: by the names of HASM's heads, (H,W).
    """
    other = "left" if side == "right" else "right"
    nothing = np.zeros_like(masks[f"{side}_amodal"])
    height, width = nothing.shape
    column, row = np.rint(joints_2d).astype(int).T
    outside = (column < 0) | (row < 0) | (column >= width) | (row >= height)
    at = row.clip(0, height - 1), column.clip(0, width - 1)

    def covers(name: str) -> Mask:
        return np.asarray(masks.get(name, nothing)[at])

    buried = below_own_hand(joints_3d)
    states = np.select(
        [
            outside,
            covers(f"{side}_visible") & ~buried,
            covers(f"{side}_visible") | covers(f"{side}_arm"),
            covers(f"{side}_amodal") | covers(f"{other}_visible") | covers(f"{other}_arm"),
        ],
        [JOINT_OUTSIDE, JOINT_VISIBLE, JOINT_SELF_OCCLUDED, JOINT_OTHER_OCCLUDED],
        JOINT_UNKNOWN,
    )
    return states.astype(np.uint8)


def below_own_hand(joints: Float32) -> NDArray[np.bool_]:
    """True (21,) where a bone of the same hand, as a cylinder, hides a joint (21,3) m from a camera far along -z."""
    parents, children = np.array(BONES).T
    start, along = joints[parents], joints[children] - joints[parents]  # (20,3)
    to_joint = joints[:, None] - start  # (21,20,3)
    length = (along[:, :2] ** 2).sum(-1).clip(1e-12)
    share = ((to_joint[..., :2] * along[:, :2]).sum(-1) / length).clip(0, 1)
    nearest = start + share[..., None] * along  # (21,20,3) of each bone, as the camera sees them
    distance = np.linalg.norm((joints[:, None] - nearest)[..., :2], axis=-1)
    radius = np.where(parents == 0, PALM_RADIUS, FINGER_RADIUS)
    nearer = nearest[..., 2] - radius < joints[:, None, 2] - BELOW_SKIN
    return np.asarray(((distance < radius) & nearer).any(-1))
