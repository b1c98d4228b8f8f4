"""Cameras: positions, and size and place of the hands in the image. Many views are sampled at once."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy.spatial.transform import Rotation

from aih_gen.scenes.body import DEGREE, HEAD
from aih_gen.scenes.scene import Camera
from aih_gen.scenes.vectors import cross, unit
from aih_gen.typing import Array

FOCAL_LENGTHS_MM = (30.0, 85.0)
"""35 mm equivalents."""
FILM_WIDTH_MM = 36.0
FILL = (0.45, 0.85)
"""Share of the image's side that the longer side of the hands' box takes."""
LONE_FILL = (0.3, 0.85)
"""The same for a hand that is alone, uniform in its logarithm."""
CUT_OFF = 0.3
"""Share of hands alone that are brought to the image border."""
CUT = (0.1, 0.5)
"""Share of such a hand that is outside, about."""
WRIST_FIRST = 0.8
"""Share of those at the border from which the arm comes; else fingers are outside."""
ROUNDNESS = 0.75
"""A hand's shorter side in the image / its longer side, on average."""
CLOSE = 0.08
"""Share of scenes with the hands close to the camera, cut by the image border."""
CLOSE_FILL, CLOSE_ASIDE = (0.8, 1.6), 0.4
"""The same as ``FILL`` there, and the farthest off-centre, in image sides."""
MIN_DEPTH = 0.12
"""No vertex of a hand comes nearer to the camera than this, in metres."""
DOWN = np.array([0.0, 0.9, -0.44])
OWN_EYES, ANYWHERE = 0.37, 0.25
"""Shares of views by the person's own eyes, and from anywhere; else from opposite."""


@dataclass(frozen=True, eq=False)
class Views:
    """N cameras, and the place of the hands before each of them."""

    rotations: Array  # (N,3,3) from the pair's axes to the camera's
    focal: Array  # (N,) in image sides
    fill: Array  # (N,)
    aside: Array  # (N,2) in shares of the room that is left: off-centre right and down

    def __getitem__(self, chosen: int) -> Views:
        row = slice(chosen, chosen + 1)
        return Views(self.rotations[row], self.focal[row], self.fill[row], self.aside[row])

    def shifts(self, low: Array, high: Array) -> Array:
        """(N,3) m that brings boxes (N,3) before the cameras: the longer side takes ``fill`` of the image."""
        centre = (low + high) / 2
        extent = (high - low)[:, :2].max(1)
        distance = np.maximum(self.focal * extent / self.fill, MIN_DEPTH + centre[:, 2] - low[:, 2])
        off_centre = self.aside * ((1 - self.fill) * distance / self.focal)[:, None]
        return np.concatenate([off_centre, distance[:, None]], 1) - centre


def sample_views(rng: np.random.Generator, count: int, target: Array) -> Views:
    """Cameras that look at ``target`` (3,) in the body's frame (``scenes.body``).

    From opposite, from the person's own eyes (or a headset's cameras), or from any side.
    """
    kind = rng.random(count)
    own_eyes, anywhere = kind < OWN_EYES, kind > 1 - ANYWHERE
    yaw = np.where(anywhere, 360 * rng.random(count), 28 * rng.standard_normal(count)) * DEGREE
    pitch = np.minimum(np.maximum(8 + 22 * rng.standard_normal(count), -75), 75) * DEGREE
    level = np.cos(pitch)
    front = np.array([level * np.sin(yaw), np.sin(pitch), level * np.cos(yaw)]).T
    eyes = target - HEAD + 0.07 * rng.standard_normal((count, 3))
    along = unit(np.where(own_eyes[:, None], eyes, front))
    right = unit(cross(np.array([0.0, 1.0, 0.0]), along))
    down = cross(along, right)
    roll = 12 * DEGREE * rng.standard_normal((count, 1))
    c, s = np.cos(roll), np.sin(roll)
    return _with_lenses(rng, np.array([c * right - s * down, s * right + c * down, along]).transpose(1, 0, 2))


def sample_any_views(rng: np.random.Generator, count: int) -> Views:
    """Cameras from anywhere, any side up."""
    return _with_lenses(rng, Rotation.random(count, rng=rng).as_matrix())


def lone_views(rng: np.random.Generator, views: Views, elbow: Array) -> Views:
    """The same cameras before one hand, whose forearm leads along ``elbow`` (3,): nearer or farther away, the hand
    often at the image border, rather where the arm comes from.
    """  # fmt: skip
    count = len(views.rotations)
    fill = LONE_FILL[0] * (LONE_FILL[1] / LONE_FILL[0]) ** rng.random(count)
    aside = 0.9 * rng.random((count, 2)) - 0.45
    direction = (views.rotations @ elbow)[:, :2]
    direction[rng.random(count) > WRIST_FIRST] *= -1
    cut = np.flatnonzero(rng.random(count) < CUT_OFF)
    axis = np.abs(direction[cut]).argmax(1)
    off = 0.5 + ROUNDNESS * fill[cut] * (rng.uniform(*CUT, len(cut)) - 0.5)  # image sides from the middle to the hand's
    aside[cut, axis] = np.sign(direction[cut, axis]) * off / (1 - fill[cut])
    return replace(views, fill=fill, aside=aside)


def straight_view(rng: np.random.Generator, along: Array = DOWN) -> Views:
    """One camera that looks along ``along`` (3,), down on the hands over the body's shoulder if absent."""
    along = unit(along)
    across = cross(np.array([0.0, 1.0, 0.0]) if abs(along[1]) < 0.9 else np.array([0.0, 0.0, 1.0]), along)
    right = unit(across)
    return _with_lenses(rng, np.stack([right, cross(along, right), along])[None])


def _with_lenses(rng: np.random.Generator, rotations: Array) -> Views:
    count = len(rotations)
    focal = rng.uniform(*FOCAL_LENGTHS_MM, count) / FILM_WIDTH_MM
    return Views(np.ascontiguousarray(rotations), focal, rng.uniform(*FILL, count), 0.6 * rng.random((count, 2)) - 0.3)


def sample_close(rng: np.random.Generator) -> bool:
    """True in the share ``CLOSE`` of scenes."""
    return bool(rng.random() < CLOSE)


def closer(rng: np.random.Generator, views: Views) -> Views:
    """The same views, so near and so far off-centre that the image border cuts the hands."""
    count = len(views.rotations)
    fill = rng.uniform(*CLOSE_FILL, count)
    aside = CLOSE_ASIDE * (2 * rng.random((count, 2)) - 1)
    remaining = np.where(np.abs(1 - fill) < 0.02, 0.02, 1 - fill)
    return replace(views, fill=fill, aside=aside / remaining[:, None])


def camera(views: Views, size: int) -> Camera:
    """The first of ``views`` for images of ``size`` pixels a side."""
    focal = size * views.focal[0]
    matrix = np.array([[focal, 0, (size - 1) / 2], [0, focal, (size - 1) / 2], [0, 0, 1]])
    return Camera(matrix.astype(np.float32), size)
