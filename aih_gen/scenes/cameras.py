"""Cameras: where they stand, and what they see of two hands. Many views of a pair are judged at once."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from aih_gen.scenes.body import HEAD
from aih_gen.scenes.scene import Camera
from aih_gen.scenes.vectors import cross, unit

Array = NDArray[np.float64]

FOCAL_LENGTHS_MM = (30.0, 85.0)
"""35 mm equivalents."""
FILM_WIDTH_MM = 36.0
FILL = (0.45, 0.85)
"""Share of the image's side that the longer side of the hands' box takes."""
NEAREST = 0.12
"""No vertex of a hand comes nearer to the camera than this, in metres."""
RASTER = 28
"""Cells a side of the box around the hands in which overlap is counted."""
DOWN = np.array([0.0, 0.9, -0.44])
FRONT, OWN_EYES, ANYWHERE = range(3)
VIEW_SHARES = (0.38, 0.37, 0.25)
"""How often the hands are seen by somebody opposite, by the person's own eyes, or from anywhere."""
ARM_LENGTH, ARM_RADIUS = 0.56, 0.05
"""What of the arm is drawn, in metres."""
ALONG = np.linspace(0.05, ARM_LENGTH, 16)
MOST_ARM = 0.4
"""Share of the image that a forearm may take, as a band as wide as it is thick."""


@dataclass(frozen=True, eq=False)
class Views:
    """N cameras, and where the hands lie before each of them."""

    turns: Array  # (N,3,3) from the pair's axes to the camera's
    focal: Array  # (N,) in image sides
    fill: Array  # (N,)
    aside: Array  # (N,2) in shares of the room that is left: off-centre right and down

    def __getitem__(self, chosen: int) -> Views:
        one = slice(chosen, chosen + 1)
        return Views(self.turns[one], self.focal[one], self.fill[one], self.aside[one])


def sample_views(rng: np.random.Generator, count: int, target: Array) -> Views:
    """Cameras that look at ``target`` (3,) in the body's frame (``scenes.body``).

    Somebody opposite, the person's own eyes (or a headset's cameras), or anybody around.
    """
    kind = rng.choice(len(VIEW_SHARES), count, p=VIEW_SHARES)
    yaw = np.radians(np.where(kind == ANYWHERE, rng.uniform(0, 360, count), rng.normal(0, 28, count)))
    pitch = np.radians(np.minimum(np.maximum(rng.normal(8, 22, count), -75), 75))
    front = np.stack([np.cos(pitch) * np.sin(yaw), np.sin(pitch), np.cos(pitch) * np.cos(yaw)], 1)
    eyes = target - HEAD + rng.normal(0, 0.07, (count, 3))
    along = unit(np.where((kind == OWN_EYES)[:, None], eyes, front))
    right = unit(cross(np.array([0.0, 1.0, 0.0]), along))
    down = cross(along, right)
    roll = np.radians(rng.normal(0, 12, (count, 1)))
    c, s = np.cos(roll), np.sin(roll)
    return _with_lenses(rng, np.stack([c * right - s * down, s * right + c * down, along], 1))


def sample_any_views(rng: np.random.Generator, count: int) -> Views:
    """Cameras that look from anywhere, any side up."""
    return _with_lenses(rng, Rotation.random(count, rng=rng).as_matrix())


def straight_view(rng: np.random.Generator, along: Array = DOWN) -> Views:
    """One camera that looks along ``along`` (3,), down on the hands over the body's shoulder if absent."""
    along = unit(along)
    across = cross(np.array([0.0, 1.0, 0.0]) if abs(along[1]) < 0.9 else np.array([0.0, 0.0, 1.0]), along)
    right = unit(across)
    return _with_lenses(rng, np.stack([right, cross(along, right), along])[None])


def _with_lenses(rng: np.random.Generator, turns: Array) -> Views:
    count = len(turns)
    focal = rng.uniform(*FOCAL_LENGTHS_MM, count) / FILM_WIDTH_MM
    return Views(turns, focal, rng.uniform(*FILL, count), rng.uniform(-0.3, 0.3, (count, 2)))


@dataclass(frozen=True, eq=False)
class Seen:
    """A pair of hands before N cameras."""

    shift: Array  # (N,3) m, from the turned pair to camera space
    hidden: Array  # (N,2) about how much of each hand's outline the other hand or its arm hides
    blocked: NDArray[np.bool_]  # (N,) a forearm hides the hands, takes too much of the picture, or ends in it


def look(views: Views, hands: tuple[Array, Array], arms: tuple[Array, Array], wrists: Array, elbows: Array) -> Seen:
    """What ``views`` see of ``hands`` and ``arms``, points (P,3) of their surfaces, with ``wrists`` (2,3) m and unit
    directions to the ``elbows`` (2,3).
    """  # fmt: skip
    count = len(views.turns)
    parts = [hands[0], hands[1], arms[0], arms[1], wrists, elbows]
    split = np.cumsum([len(part) for part in parts])
    turned = (views.turns.reshape(-1, 3) @ np.concatenate(parts).T).reshape(count, 3, -1)
    both = turned[..., : split[1]]
    low, high = both.min(2), both.max(2)
    shift = _shift(views, low, high)
    turned[..., : split[4]] += shift[..., None]
    box = low + shift, high + shift
    right, left, right_arm, left_arm, its_wrists, its_elbows = np.split(turned, split[:-1], 2)
    hidden = hidden_shares((right, left), (right_arm, left_arm), box)
    blocked = np.zeros(count, bool)
    if len(arms[0]):
        blocked = arms_in_the_way(its_wrists.transpose(0, 2, 1), its_elbows.transpose(0, 2, 1), views.focal, box)
    return Seen(shift, hidden, blocked)


def _shift(views: Views, low: Array, high: Array) -> Array:
    """(N,3) m that brings boxes (N,3) before the cameras: the longer side fills as much of the image as wanted."""
    centre = (low + high) / 2
    extent = (high - low)[:, :2].max(1)
    distance = np.maximum(views.focal * extent / views.fill, NEAREST + centre[:, 2] - low[:, 2])
    off_centre = views.aside * ((1 - views.fill) * distance / views.focal)[:, None]
    return np.concatenate([off_centre, distance[:, None]], 1) - centre


def camera(views: Views, size: int) -> Camera:
    """The first of ``views`` for images of ``size`` pixels a side."""
    focal = size * views.focal[0]
    matrix = np.array([[focal, 0, (size - 1) / 2], [0, focal, (size - 1) / 2], [0, 0, 1]])
    return Camera(matrix.astype(np.float32), size)


def hidden_shares(hands: tuple[Array, Array], arms: tuple[Array, Array], box: tuple[Array, Array]) -> Array:
    """(N,2) about how much of each hand's outline the other hand or its arm hides, in N views.

    ``hands`` and ``arms`` are points (N,3,P) of their surfaces in camera space, and ``box`` the corners (N,3) of both
    hands' boxes; depths are compared in square cells of the picture.
    """
    low, high = box
    middle = (low[:, 2] + high[:, 2]) / 2
    cells = RASTER / (1.1 * (high - low)[:, :2].max(1))
    count = len(middle)
    start = (np.arange(count) * RASTER * RASTER)[:, None]
    nearest = np.full((4, count * RASTER * RASTER), np.inf)
    for part, points in enumerate((hands[0], arms[0], hands[1], arms[1])):
        depth = points[:, 2]
        scale = (middle * cells)[:, None] / np.maximum(depth, 1e-3)
        column = points[:, 0] * scale - ((low + high)[:, 0] / 2 * cells)[:, None] + RASTER / 2
        row = points[:, 1] * scale - ((low + high)[:, 1] / 2 * cells)[:, None] + RASTER / 2
        column, row = (np.minimum(np.maximum(axis, 0), RASTER - 1).astype(np.int64) for axis in (column, row))
        np.minimum.at(nearest[part], (start + row * RASTER + column).ravel(), depth.ravel())
    in_view = nearest.reshape(4, count, -1)
    shares = []
    for hand in (0, 2):
        seen = in_view[hand] < np.inf
        covered = seen & (np.minimum(in_view[2 - hand], in_view[3 - hand]) < in_view[hand])
        shares.append(covered.sum(1) / seen.sum(1))
    return np.stack(shares, 1)


def arms_in_the_way(wrists: Array, elbows: Array, focal: Array, box: tuple[Array, Array]) -> NDArray[np.bool_]:
    """(N,) whether a forearm from ``wrists`` (N,2,3) towards ``elbows`` (N,2,3) passes through the picture close before
    the camera, fills much of it, or ends in it without a hand before that end. ``focal`` (N,) in image sides.
    """  # fmt: skip
    along = wrists[:, :, None] + ALONG[:, None] * elbows[:, :, None]
    away = along[..., 2]
    depth = np.maximum(away, 0.02)
    place = focal[:, None, None, None] * along[..., :2] / depth[..., None]
    # The arm is thick: what lies a little outside the picture still fills part of it.
    thick = ARM_RADIUS * focal[:, None, None] / depth
    in_picture = (np.abs(place) < 0.5 + thick[..., None]).all(-1) & (away > -ARM_RADIUS)
    close = (in_picture & (away < 0.6 * wrists[:, :, None, 2])).any((1, 2))
    step = np.sqrt(((place[:, :, 1:] - place[:, :, :-1]) ** 2).sum(-1))
    band = (step * 2 * np.minimum(thick[:, :, 1:], 0.5) * (in_picture[:, :, 1:] & in_picture[:, :, :-1])).sum((1, 2))
    low, high = ((focal / corner[:, 2])[:, None] * corner[:, :2] for corner in box)
    end = place[:, :, -1]
    before = (np.abs(end - (low + high)[:, None] / 2) < (high - low)[:, None] / 4).all(-1)
    ends = (in_picture[:, :, -1] & ~before).any(1)
    return close | (band > MOST_ARM) | ends
