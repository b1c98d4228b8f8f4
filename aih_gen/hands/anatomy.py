"""Anatomical directions of a resting hand, and gestures in degrees: the words in which poses are described."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from aih_gen.hands.joints import MANO_FINGERS
from aih_gen.hands.model import HandModel

Array = NDArray[np.float64]


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
    """(16,3) which way the back of each bone faces at rest: up (+y), and outwards to the side for the thumb."""
    along = bone_directions(model)
    backs = np.tile([0.0, 1.0, 0.0], (16, 1))
    backs[13:] = [0.45 if model.side == "right" else -0.45, 0.75, 0.5]
    backs -= (backs * along).sum(1, keepdims=True) * along
    return backs / np.linalg.norm(backs, axis=1, keepdims=True)


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


FINGER_LIMITS = Finger(95, 110, 80, 20), Finger(-20, 0, -5, -12)
THUMB_LIMITS = Thumb(65, 45, 55, 75), Thumb(-15, -15, -10, -15)
"""Greatest and least angles in degrees, active range of healthy adults rounded inwards."""

_CURLED, _HALF, _STRAIGHT = Finger(80, 100, 60), Finger(35, 50, 30), Finger(0, 3, 2)
_FOLDED_THUMB = Thumb(45, 25, 35, 45)

GESTURES: dict[str, Gesture] = {
    "flat": Gesture(Thumb(0, 30, 0, 0), _STRAIGHT, _STRAIGHT, _STRAIGHT, _STRAIGHT),
    "spread": Gesture(Thumb(0, -12, -5, -10), *(replace(_STRAIGHT, mcp=-8, spread=s) for s in (12, 2, 9, 16))),
    "fist": Gesture(_FOLDED_THUMB, _CURLED, _CURLED, _CURLED, _CURLED),
    "point": Gesture(_FOLDED_THUMB, _STRAIGHT, _CURLED, _CURLED, _CURLED),
    "victory": Gesture(_FOLDED_THUMB, replace(_STRAIGHT, spread=12), replace(_STRAIGHT, spread=-8), _CURLED, _CURLED),
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
}
"""Gestures that people know by name."""


def mano_pose(gesture: Gesture, model: HandModel) -> Array:
    """(45,) axis-angle finger pose of ``model`` that shows ``gesture``."""
    along, backs = bone_directions(model), back_directions(model)
    flexion = np.cross(along, -backs)
    mirror = 1.0 if model.side == "right" else -1.0
    rotations = np.zeros((15, 3))
    for chain, name in enumerate(MANO_FINGERS):
        first = 3 * chain + 1
        angles = getattr(gesture, name)
        if isinstance(angles, Thumb):
            oppose = Rotation.from_rotvec([np.radians(angles.oppose), 0, 0])
            adduct = Rotation.from_rotvec([0, -mirror * np.radians(angles.adduct), 0])
            rotations[first - 1] = (oppose * adduct).as_rotvec()
            outer = (angles.mcp, angles.ip)
        else:
            # The index finger spreads towards the thumb, the others away from it.
            towards = mirror if name == "index" else -mirror
            spread = Rotation.from_rotvec([0, towards * np.radians(angles.spread), 0])
            bend = Rotation.from_rotvec(np.radians(angles.mcp) * flexion[first])
            rotations[first - 1] = (spread * bend).as_rotvec()
            outer = (angles.pip, angles.dip)
        for k, angle in enumerate(outer):
            rotations[first + k] = np.radians(angle) * flexion[first + 1 + k]
    return rotations.ravel()
