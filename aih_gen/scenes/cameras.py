"""Cameras: where they stand, and what they do to a picture."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from aih_gen.scenes.scene import Camera

FOCAL_LENGTHS_MM = (30.0, 85.0)
"""35 mm equivalents."""
FILM_WIDTH_MM = 36.0
NEAREST = 0.12
"""No vertex of a hand comes nearer to the camera than this, in metres."""
CELL = 0.012
"""Side of the cells, in metres, in which the overlap of two hands is counted."""
ARM_LENGTH, ARM_RADIUS = 0.7, 0.05
"""What of the arm may be drawn, in metres."""


def sample_view(rng: np.random.Generator) -> Rotation:
    """From which side the two hands are seen: any direction, often from the front or over the person's shoulder."""
    yaw = rng.choice([0.0, 180.0]) + rng.normal(0, 35) if rng.random() < 0.7 else rng.uniform(0, 360)
    pitch = np.clip(rng.normal(0, 30), -80, 80)
    return Rotation.from_euler("zxy", [rng.normal(0, 15), pitch, yaw], degrees=True)


def frame(points: NDArray[np.float64], size: int, rng: np.random.Generator) -> tuple[Camera, NDArray[np.float64]]:
    """A camera that shows ``points`` (P,3), and the shift (3,) that brings them before it.

    The longer side of their box fills 0.45 to 0.85 of the image, somewhat off centre.
    """
    focal = size * rng.uniform(*FOCAL_LENGTHS_MM) / FILM_WIDTH_MM
    fill = rng.uniform(0.45, 0.85)
    centre = (points.min(0) + points.max(0)) / 2
    extent = (points.max(0) - points.min(0))[:2].max()
    distance = max(focal * extent / (fill * size), NEAREST + centre[2] - points[:, 2].min())
    room = (1 - fill) / 2 * size * 0.6
    matrix = np.array([[focal, 0, (size - 1) / 2], [0, focal, (size - 1) / 2], [0, 0, 1]])
    off_centre = np.append(rng.uniform(-room, room, 2) * distance / focal, 0)
    return Camera(matrix.astype(np.float32), size), np.array([0, 0, distance]) - centre + off_centre


def overlap(hands: tuple[NDArray[np.float64], NDArray[np.float64]]) -> float:
    """How much of the smaller hand's outline, seen along z, the other one shares, 0 to 1: coarse, counted in cells."""
    cells = [set(map(tuple, np.unique((points[:, :2] // CELL).astype(np.int64), axis=0).tolist())) for points in hands]
    return len(cells[0] & cells[1]) / min(map(len, cells))


def arm_in_the_way(wrist: NDArray[np.float64], elbow_direction: NDArray[np.float64], camera: Camera) -> bool:
    """Whether a forearm from ``wrist`` (3,) passes through the picture close before the camera."""
    along = wrist + np.linspace(0.05, ARM_LENGTH, 24)[:, None] * elbow_direction
    close = along[:, 2] < 0.6 * wrist[2]
    depth = np.maximum(along[:, 2:], 0.02)
    pixel = (along @ camera.matrix.T.astype(np.float64))[:, :2] / depth
    # The arm is thick: what lies a little outside the picture still fills part of it.
    margin = ARM_RADIUS * camera.matrix[0, 0] / depth
    seen = ((pixel > -margin) & (pixel < camera.size + margin)).all(1)
    return bool((close & seen & (along[:, 2] > -ARM_RADIUS)).any())
