"""A scene: everything a picture of two hands is made from, as plain data. Camera space: x right, y down, z forward."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from aih_gen.scenes.backgrounds import Background

Array = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Hand:
    """One hand's parameters, as ``HandModel`` takes them."""

    pose: Array  # (48,) axis-angle, radians
    betas: Array  # (10,)
    transl: Array  # (3,) m
    arm_pose: Array  # (3,) axis-angle of the forearm relative to the hand


@dataclass(frozen=True, eq=False)
class Skin:
    """One person's skin and sleeves. Colours are linear reflectances in [0, 1]."""

    back: Array  # (3,) back of the hand and forearm
    palm: Array  # (3,)
    nail: Array  # (3,)
    sleeve: Array | None  # (3,) cloth over the forearm, None for bare arms
    sleeve_start: float  # m from the wrist
    roughness: float  # 0.3 moist .. 0.8 dry
    mottle: float  # amplitude of the fine unevenness
    seed: float  # where in the noise this person's skin lies


@dataclass(frozen=True, eq=False)
class Lights:
    """Soft light from all around plus a few lamps. Radiances are linear and of order one."""

    ambient: Array  # (4,3) spherical harmonics of degree 0 and 1: constant, x, y, z
    directions: Array  # (L,3) unit vectors towards the lamps
    colours: Array  # (L,3)


@dataclass(frozen=True, eq=False)
class Camera:
    """A pinhole camera at the origin; (0, 0) is the centre of the first pixel."""

    matrix: Array  # (3,3) intrinsics, px
    size: int  # image side, px


@dataclass(frozen=True)
class Sensor:
    """What the camera does to all pictures of a scene alike."""

    noise: float  # standard deviation of the read noise, in grey levels
    seed: int


@dataclass(frozen=True, eq=False)
class Scene:
    """Two hands of one person before a camera. ``hands`` is (right, left)."""

    index: int
    hands: tuple[Hand, Hand]
    skin: Skin
    lights: Lights
    camera: Camera
    background: Background
    sensor: Sensor
    interaction: str
