"""Joint angles of a hand, their limits and couplings, and gestures in degrees.

Angles come as (5,4) arrays in degrees, one row a finger (thumb, index, middle, ring, little). A finger's four are its
spreading, then flexion at its knuckle (MCP), middle (PIP) and last joint (DIP); the thumb's are opposition, adduction,
then flexion at its MCP and IP joints.
"""

from __future__ import annotations

from dataclasses import astuple, dataclass, replace

import numpy as np
from scipy.spatial.transform import Rotation

from aih_gen.hands.joints import FINGERS, MANO_FINGERS
from aih_gen.hands.model import HandModel
from aih_gen.kernels.hands import clamp_to_joint_limits as limit
from aih_gen.kernels.hands import finger_rotations
from aih_gen.typing import Array, Floating

MCP, PIP, DIP = 1, 2, 3
"""Columns of a finger's angles that bend it; the first spreads it."""


def bone_directions(model: HandModel) -> Array:
    """(16,3) unit direction of each MANO bone at rest; the last bone of a finger continues the one before."""
    joints = model.joint_template.numpy().astype(np.float64)
    directions = np.zeros((16, 3))
    for finger in range(5):
        first = 3 * finger + 1
        directions[first] = joints[first + 1] - joints[first]
        directions[first + 1] = directions[first + 2] = joints[first + 2] - joints[first + 1]
    directions[0] = joints[4] - joints[0]
    return directions / np.linalg.norm(directions, axis=1, keepdims=True)


def back_directions(model: HandModel) -> Array:
    """(16,3) unit direction of the back of each bone at rest: up (+y), and outwards to the side for the thumb."""
    along = bone_directions(model)
    backs = np.tile([0.0, 1.0, 0.0], (16, 1))
    backs[13:] = [0.45 if model.side == "right" else -0.45, 0.75, 0.5]
    backs -= (backs * along).sum(1, keepdims=True) * along
    return backs / np.linalg.norm(backs, axis=1, keepdims=True)


def joint_axes(model: HandModel) -> Array:
    """(5,4,3) unit axes of the joint angles in the resting hand's coordinates.

    The first two turn the base joint, the first of them last; the others turn the middle and the last joint. The index
    finger spreads towards the thumb, the other fingers away from it.
    """
    flexion = np.cross(bone_directions(model), -back_directions(model))
    mirror = 1.0 if model.side == "right" else -1.0
    axes = np.zeros((5, 4, 3))
    for row, name in enumerate(FINGERS):
        first = 3 * MANO_FINGERS.index(name) + 1
        axes[row, 2:] = flexion[first + 1 : first + 3]
        if name == "thumb":
            axes[row, :2] = [1, 0, 0], [0, -mirror, 0]
        else:
            axes[row, :2] = [0, mirror if name == "index" else -mirror, 0], flexion[first]
    return axes


FINGER_BONES = np.array([[3 * MANO_FINGERS.index(name) + k for k in (1, 2, 3)] for name in FINGERS])
"""(5,3) MANO bones of each row of the angles, base to tip."""


class FingerJoints:
    """Rotations of the bones from joint angles, for one hand model or several at once."""

    def __init__(self, *models: HandModel) -> None:
        axes = np.stack([joint_axes(model) for model in models])
        self.axes = axes[0] if len(models) == 1 else axes
        """([M,]5,4,3) for M models."""
        self._by_model = list(axes)

    def matrices(self, angles: Array) -> Array:
        """([M,]5,3,3,3) rotation of each bone relative to the one before, for ``angles`` ([M,]5,4) in degrees."""
        hands = zip(np.asarray(angles, np.float64, order="C").reshape(-1, 5, 4), self._by_model, strict=True)
        rotations = [finger_rotations(hand, axes) for hand, axes in hands]
        return rotations[0] if self.axes.ndim == 3 else np.array(rotations)

    def pose(self, angles: Array) -> Array:
        """([M,]15,3) axis-angle rotations in MANO's order."""
        return axis_angles(self.matrices(angles))


def bone_rotations(pose: Floating) -> Array:
    """(...,16,3,3) rotation of each bone relative to the one before, out of poses (...,48) as axis-angle rotations."""
    rotations = Rotation.from_rotvec(pose.reshape(-1, 3).astype(np.float64)).as_matrix()
    return np.asarray(rotations.reshape(*pose.shape[:-1], 16, 3, 3))


def axis_angles(fingers: Array) -> Array:
    """(...,15,3) axis-angle rotations in MANO's order from ``fingers`` (...,5,3,3,3)."""
    pose = np.empty((*fingers.shape[:-4], 15, 3))
    rotations = Rotation.from_matrix(fingers.reshape(-1, 3, 3), assume_valid=True)
    pose[..., FINGER_BONES.ravel() - 1, :] = rotations.as_rotvec().reshape(*fingers.shape[:-4], 15, 3)
    return pose


@dataclass(frozen=True)
class Finger:
    """Angles of one finger in degrees: flexion at its three joints, and spreading away from the middle finger."""

    mcp: float = 0.0
    pip: float = 0.0
    dip: float = 0.0
    spread: float = 0.0


@dataclass(frozen=True)
class Thumb:
    """Angles of the thumb in degrees: across the palm, towards the index finger, flexion of its outer joints."""

    oppose: float = 0.0
    adduct: float = 0.0
    mcp: float = 0.0
    ip: float = 0.0


@dataclass(frozen=True)
class Gesture:
    """All finger angles of one hand."""

    thumb: Thumb = Thumb()
    index: Finger = Finger()
    middle: Finger = Finger()
    ring: Finger = Finger()
    little: Finger = Finger()

    def angles(self) -> Array:
        """(5,4) degrees."""
        fingers = (self.index, self.middle, self.ring, self.little)
        return np.array([astuple(self.thumb), *((f.spread, f.mcp, f.pip, f.dip) for f in fingers)])


MIN_ANGLES = np.array(
    [[-15.0, -15, -10, -15], [-12, -20, 0, -5], [-8, -20, 0, -5], [-12, -20, 0, -5], [-14, -20, 0, -5]]
)
MAX_ANGLES = np.array([[65.0, 45, 55, 75], [20, 90, 105, 70], [8, 90, 105, 70], [14, 90, 105, 70], [20, 90, 105, 70]])
"""Least and greatest angles in degrees, active range of healthy adults rounded inwards."""


def clamp_to_joint_limits(angles: Array) -> Array:
    """The nearest angles (...,5,4) in degrees within the limits and couplings of the fingers."""
    clamped = np.array(angles, np.float64, order="C")
    for hand in clamped.reshape(-1, 5, 4):
        limit(hand, MIN_ANGLES, MAX_ANGLES)
    return clamped


_CURLED, _HALF, _STRAIGHT = Finger(66, 90, 48), Finger(35, 50, 30), Finger(0, 3, 2)
_CLOSED = (replace(_STRAIGHT, spread=s) for s in (-5, 0, -6, -10))

GESTURES: dict[str, Gesture] = {
    "flat": Gesture(Thumb(0, 20, 0, 0), *_CLOSED),
    "spread": Gesture(Thumb(0, -12, -5, -10), *(replace(_STRAIGHT, mcp=-8, spread=s) for s in (12, 2, 9, 16))),
    "fist": Gesture(Thumb(28, -7, 40, 55), _CURLED, _CURLED, _CURLED, _CURLED),
    "point": Gesture(Thumb(24, 7, 45, 38), _STRAIGHT, _CURLED, _CURLED, _CURLED),
    "victory": Gesture(
        Thumb(15, 29, 52, 32), replace(_STRAIGHT, spread=10), replace(_STRAIGHT, spread=5), _CURLED, _CURLED
    ),
    "thumb up": Gesture(Thumb(-5, -10, -8, -10), _CURLED, _CURLED, _CURLED, _CURLED),
    "pinch": Gesture(
        Thumb(48, 12, 22, 28), Finger(52, 48, 28), Finger(25, 30, 15), Finger(18, 22, 12), Finger(12, 18, 10, 6)
    ),
    "claw": Gesture(
        Thumb(30, 0, 20, 35),
        Finger(5, 65, 45, 8),
        Finger(5, 65, 45, 0),
        Finger(5, 65, 45, 5),
        Finger(5, 60, 45, 12),
    ),
    "call": Gesture(Thumb(0, -12, -5, -8), _CURLED, _CURLED, _CURLED, replace(_STRAIGHT, spread=12)),
    "relaxed": Gesture(
        Thumb(15, 12, 12, 15), Finger(18, 25, 14, 3), Finger(24, 30, 17), Finger(28, 33, 19, 1), Finger(30, 34, 20, 4)
    ),
    "grasp": Gesture(Thumb(45, 5, 15, 20), _HALF, _HALF, _HALF, replace(_HALF, spread=4)),
    "cup": Gesture(
        Thumb(20, 20, 10, 10),
        Finger(22, 18, 10, -4),
        Finger(25, 18, 10),
        Finger(27, 20, 12, -4),
        Finger(30, 22, 12, -8),
    ),
    "woven": Gesture(Thumb(5, 0, 5, 10), *(Finger(mcp=5, pip=15, dip=8, spread=s) for s in (16, 2, 9, 15))),
}
"""Common gestures by name."""

TIGHT_GESTURES: dict[str, Gesture] = {
    "grip": Gesture(
        Thumb(35, 15, 25, 35),
        Finger(70, 75, 42, 2),
        Finger(72, 78, 45),
        Finger(74, 78, 45, 1),
        Finger(76, 76, 44, 3),
    ),
    "woven tight": Gesture(
        Thumb(5, 0, 5, 10),
        Finger(4, 10, 6, 19),
        Finger(4, 10, 6, -3),
        Finger(4, 10, 6, 9),
        Finger(4, 10, 6, 20),
    ),
    "hooked": Gesture(
        Thumb(30, 15, 20, 25),
        Finger(45, 75, 42, 8),
        Finger(45, 78, 44),
        Finger(45, 78, 44, 4),
        Finger(45, 75, 42, 8),
    ),
    "half hooked": Gesture(
        Thumb(20, 18, 15, 15),
        Finger(25, 35, 20, 8),
        Finger(25, 36, 20),
        Finger(25, 36, 20, 4),
        Finger(25, 34, 20, 8),
    ),
    "thumb hooked": Gesture(
        Thumb(10, 0, 35, 50),
        Finger(12, 15, 9, 10),
        Finger(12, 15, 9),
        Finger(14, 16, 9, 5),
        Finger(14, 16, 9, 9),
    ),
}
"""Gestures of hands that hold each other, before and after their fingers close."""
