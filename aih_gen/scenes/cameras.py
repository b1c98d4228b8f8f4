"""Cameras: where they stand, and what they do to a picture."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from aih_gen.scenes.body import HEAD
from aih_gen.scenes.scene import Camera

Array = NDArray[np.float64]

FOCAL_LENGTHS_MM = (30.0, 85.0)
"""35 mm equivalents."""
FILM_WIDTH_MM = 36.0
NEAREST = 0.12
"""No vertex of a hand comes nearer to the camera than this, in metres."""
CELL, RASTER = 0.010, 64
"""Side (m) of the cells in which overlap is counted, and how many of them a side of the grid has."""
DISTANCE = 0.5
"""Metres from which overlap is judged."""
FRONT, OWN_EYES, ANYWHERE = range(3)
VIEW_SHARES = (0.38, 0.37, 0.25)
"""How often the hands are seen by somebody opposite, by the person's own eyes, or from anywhere."""
ARM_LENGTH, ARM_RADIUS = 0.7, 0.05
"""What of the arm may be drawn, in metres."""


def sample_views(rng: np.random.Generator, count: int, target: Array) -> Array:
    """(count,3,3) rotations from the body's frame (``scenes.body``) to cameras that look at ``target`` (3,).

    Somebody opposite, the person's own eyes (or a headset's cameras), or anybody around.
    """
    kind = rng.choice(len(VIEW_SHARES), count, p=VIEW_SHARES)
    yaw = np.where(kind == ANYWHERE, rng.uniform(0, 360, count), rng.normal(0, 28, count))
    pitch = np.clip(rng.normal(8, 22, count), -75, 75)
    front = Rotation.from_euler("xy", np.stack([-pitch, yaw], 1), degrees=True).apply([0.0, 0.0, 1.0])
    eyes = target - HEAD + rng.normal(0, 0.07, (count, 3))
    along = np.where((kind == OWN_EYES)[:, None], eyes, front)
    along /= np.linalg.norm(along, axis=1, keepdims=True)
    right = np.cross([0.0, 1.0, 0.0], along)
    right /= np.maximum(np.linalg.norm(right, axis=1, keepdims=True), 1e-6)
    upright = np.stack([right, np.cross(along, right), along], 1)
    return np.asarray(Rotation.from_euler("z", rng.normal(0, 12, (count, 1)), degrees=True).as_matrix() @ upright)


def frame(points: Array, size: int, rng: np.random.Generator) -> tuple[Camera, Array]:
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


def hidden_shares(hands: tuple[Array, Array], arms: tuple[Array, Array], views: Array) -> Array:
    """(N,2) about how much of each hand's outline the other hand or its arm hides in each of the ``views`` (N,3,3).

    ``hands`` and ``arms`` are points (P,3) of their surfaces; depths are compared in square cells, as
    seen from a usual distance.
    """
    count = len(views)
    points = np.concatenate([hands[0], arms[0], hands[1], arms[1]])
    x, y, depth = np.einsum("nij,pj->inp", views, points - points.mean(0))
    shrink = 1 + depth / DISTANCE
    x, y = x / shrink, y / shrink
    corner = -RASTER * CELL / 2
    column, row = (np.clip((axis - corner) // CELL, 0, RASTER - 1).astype(np.int64) for axis in (x, y))
    cell = (np.arange(count)[:, None] * RASTER + row) * RASTER + column
    split = np.cumsum([len(hands[0]), len(arms[0]), len(hands[1])])
    cells, depths = np.split(cell, split, 1), np.split(depth, split, 1)
    nearest = np.full((4, count * RASTER * RASTER), np.inf)
    for part in range(4):
        np.minimum.at(nearest[part], cells[part].ravel(), depths[part].ravel())
    in_view = nearest.reshape(4, count, -1)
    shares = []
    for hand in (0, 2):
        seen = np.isfinite(in_view[hand])
        covered = seen & (np.minimum(in_view[2 - hand], in_view[3 - hand]) < in_view[hand])
        shares.append(covered.sum(1) / seen.sum(1))
    return np.stack(shares, 1)


def arm_in_the_way(wrist: Array, elbow_direction: Array, camera: Camera) -> bool:
    """Whether a forearm from ``wrist`` (3,) passes through the picture close before the camera."""
    along = wrist + np.linspace(0.05, ARM_LENGTH, 24)[:, None] * elbow_direction
    close = along[:, 2] < 0.6 * wrist[2]
    depth = np.maximum(along[:, 2:], 0.02)
    pixel = (along @ camera.matrix.T.astype(np.float64))[:, :2] / depth
    # The arm is thick: what lies a little outside the picture still fills part of it.
    margin = ARM_RADIUS * camera.matrix[0, 0] / depth
    seen = ((pixel > -margin) & (pixel < camera.size + margin)).all(1)
    return bool((close & seen & (along[:, 2] > -ARM_RADIUS)).any())
