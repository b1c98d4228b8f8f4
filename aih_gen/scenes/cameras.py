"""Cameras: where they stand, and what they see of two hands. Many views of a pair are judged at once."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from aih_gen.scenes.body import FOREARM, HEAD
from aih_gen.scenes.scene import Camera
from aih_gen.scenes.vectors import cross, length, unit

Array = NDArray[np.float64]
Floats = NDArray[np.float32]

FOCAL_LENGTHS_MM = (30.0, 85.0)
"""35 mm equivalents."""
FILM_WIDTH_MM = 36.0
FILL = (0.45, 0.85)
"""Share of the image's side that the longer side of the hands' box takes."""
NEAREST = 0.12
"""No vertex of a hand comes nearer to the camera than this, in metres."""
RASTER, FINE_RASTER = 24, 32
"""Cells a side of the square around the hands in which overlap is counted, at a glance and with care."""
MARGIN = 2
"""Empty cells around that square."""
DOWN = np.array([0.0, 0.9, -0.44])
FRONT, OWN_EYES, ANYWHERE = range(3)
VIEW_SHARES = (0.38, 0.37, 0.25)
"""How often the hands are seen by somebody opposite, by the person's own eyes, or from anywhere."""
ARM_LENGTH, ARM_RADIUS = 0.56, 0.05
"""What of the arm is drawn, in metres."""
THIN, THICK = 0.029, 0.046
"""Half the thickness (m) of the sleeved arm, a little wide of the mark, at the wrist and from the elbow on."""
ALONG = np.linspace(0.05, ARM_LENGTH, 16)
MOST_ARM = 0.4
"""Share of the image that a forearm may take, as a band as wide as it is thick."""
LEAST_LENGTH = 0.35
"""Share of its length that a forearm must show: seen along itself it is a disk or a lump beside the hand."""


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
    hidden: Array  # (N,2) about how much of each hand in the picture the other hand or its arm hides; 1 where blocked
    blocked: NDArray[np.bool_]  # (N,) a forearm is in the way (``arms_in_the_way``)

    def __getitem__(self, chosen: int) -> Seen:
        one = slice(chosen, chosen + 1)
        return Seen(self.shift[one], self.hidden[one], self.blocked[one])


def look(
    views: Views, hands: tuple[Array, Array], wrists: Array, elbows: Array, armed: bool, cells: int = RASTER
) -> Seen:
    """What ``views`` see of ``hands``, points (P,3) of their surfaces, compared in ``cells`` a side.

    Where ``armed``, arms lead from the ``wrists`` (2,3) m in the unit directions ``elbows`` (2,3).
    """
    count = len(views.turns)
    split = np.cumsum([len(hands[0]), len(hands[1]), 2])
    points = np.concatenate([*hands, wrists, elbows]).astype(np.float32)
    turned = (views.turns.astype(np.float32).reshape(-1, 3) @ points.T).reshape(count, 3, -1)
    both = turned[..., : split[1]]
    low, high = both.min(2), both.max(2)
    shift = _shift(views, low, high)
    turned[..., : split[2]] += shift[..., None].astype(np.float32)
    blocked = np.zeros(count, bool)
    if armed:
        its_wrists, its_elbows = (ends.astype(np.float64) for ends in _arms(turned, split))
        blocked = arms_in_the_way(its_wrists, its_elbows, views.focal)
    clear = np.flatnonzero(~blocked)
    turned = turned[clear]
    hidden = np.ones((count, 2))
    if len(clear):
        both_hands = turned[..., : split[0]], turned[..., split[0] : split[1]]
        arms = _arms(turned, split) if armed else None
        hidden[clear] = hidden_shares(both_hands, arms, views.focal[clear], cells)
    return Seen(shift, hidden, blocked)


def _arms(turned: Floats, split: NDArray[np.int64]) -> tuple[Floats, Floats]:
    """Wrists and directions to the elbows (N,2,3), which are columns of ``turned`` (N,3,P)."""
    wrists, elbows = turned[..., split[1] : split[2]], turned[..., split[2] :]
    return wrists.transpose(0, 2, 1), elbows.transpose(0, 2, 1)


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


def hidden_shares(
    hands: tuple[Floats, Floats], arms: tuple[Floats, Floats] | None, focal: Array, cells: int = RASTER
) -> Array:
    """(N,2) about how much of what N pictures hold of each hand the other hand or its arm hides; 1 if they hold none.

    ``hands`` are points (N,3,P) of their surfaces in camera space, ``arms`` their wrists and the directions (N,2,3) to
    the elbows, ``focal`` (N,) in image sides; depths are compared in ``cells`` a side of a square around both hands.
    """
    raster, slopes = Raster.around(hands, focal, cells)
    nearest = raster.nearest(slopes, [points[:, 2] for points in hands])
    before = nearest if arms is None else np.minimum(nearest, raster.arms(*arms))
    seen = nearest < np.inf
    uncovered = np.count_nonzero(seen & (nearest <= before[:, ::-1]), (2, 3))
    return np.asarray(1 - uncovered / np.maximum(np.count_nonzero(seen, (2, 3)), 1))


@dataclass(frozen=True, eq=False)
class Raster:
    """Square cells, R a side, around what N pictures hold of both hands."""

    cells: int
    scale: Floats  # (N,) cells by which a slope of one moves a point
    centre: Floats  # (N,2) slopes of the ray through the middle

    @classmethod
    def around(cls, hands: tuple[Floats, Floats], focal: Array, cells: int) -> tuple[Raster, list[Floats]]:
        """The raster, and the slopes (N,2,P) of the rays through the ``hands``' points."""
        slopes = [np.asarray(points[:, :2] / np.maximum(points[:, 2:], 1e-3), np.float32) for points in hands]
        border = (0.5 / focal)[:, None].astype(np.float32)
        low = np.maximum(np.minimum(slopes[0].min(2), slopes[1].min(2)), -border)
        high = np.minimum(np.maximum(slopes[0].max(2), slopes[1].max(2)), border)
        extent = np.maximum((high - low).max(1), np.float32(1e-3))
        return cls(cells, np.float32(cells) / extent, (low + high) / 2), slopes

    def nearest(self, slopes: list[Floats], depths: list[Floats]) -> Floats:
        """(N,2,R,R) least of each hand's ``depths`` (N,P) in each cell, row by row; infinite where no point is."""
        count, wide = len(slopes[0]), self.cells + 2 * MARGIN
        found = np.full(2 * count * wide * wide, np.inf, np.float32)
        first = wide * wide * 2 * np.arange(count, dtype=np.int32)[:, None]
        for side in (0, 1):
            # The outermost cells take what is outside.
            place = np.minimum(np.maximum(self._place(slopes[side]) + MARGIN, 0), wide - 1).astype(np.int32)
            cell = place[:, 1] * wide + place[:, 0] + (first + side * wide * wide)
            np.minimum.at(found, cell.ravel(), depths[side].ravel())
        cells = found.reshape(count, 2, wide, wide)
        for edge in (slice(None, MARGIN), slice(-MARGIN, None)):
            cells[..., edge, :] = cells[..., edge] = np.inf
        return _without_holes(cells)

    def arms(self, wrists: Floats, elbows: Floats) -> Floats:
        """(N,2,R,R) depth of each arm's surface, a cone from ``wrists`` (N,2,3) towards ``elbows`` (N,2,3)."""
        # An arm that passes the camera is seen up to there.
        length = np.where(elbows[..., 2] < 0, (NEAREST / 3 - wrists[..., 2]) / np.minimum(elbows[..., 2], -1e-6), 1)
        length = np.minimum(np.maximum(length, 0.01), ARM_LENGTH).astype(np.float32)
        ends = np.stack([wrists, wrists + length[..., None] * elbows])
        places = [self._place((end[..., :2] / end[..., 2:]).transpose(0, 2, 1)) for end in ends]
        start, along = places[0], places[1] - places[0]  # (N,2 axes,2 arms)
        span = np.sqrt((along**2).sum(1) + 1e-6)
        forth = along / span[:, None]
        # Both coordinates of a cell's middle, along the arm and across it, are sums of what its column and row give.
        middles = np.arange(self.cells, dtype=np.float32) + 0.5
        columns, rows = (middles - start[:, axis, :, None] for axis in (0, 1))
        right, down = forth[:, 0, :, None], forth[:, 1, :, None]
        way = (rows * down)[..., None] + (columns * right)[..., None, :]
        across = (rows * right)[..., None] - (columns * down)[..., None, :]
        span = span[..., None, None]
        on_arm = np.minimum(np.maximum(way, 0), span)
        way -= on_arm
        aside = way * way + across * across
        reach = on_arm / span
        # Not depths but their inverses grow evenly along a line in the picture.
        near, far = (1 / end[..., 2, None, None] for end in ends)
        nearness = near + reach * (far - near)
        depth = 1 / nearness
        thick = THIN + (THICK - THIN) * np.minimum(length[..., None, None] / FOREARM * far * reach * depth, 1)
        covered = aside < (thick * self.scale[:, None, None, None] * nearness) ** 2
        return np.where(covered, depth - thick / 2, np.float32(np.inf))

    def _place(self, slopes: Floats) -> Floats:
        """Columns and rows (N,2,P) of rays (N,2,P)."""
        return (slopes - self.centre[..., None]) * self.scale[:, None, None] + np.float32(self.cells / 2)


def _without_holes(depths: Floats) -> Floats:
    """(...,R,R) of depths (...,R+4,R+4), whose margin is empty, with one or two empty cells between others filled: the
    points of a palm miss some cells.
    """  # fmt: skip
    rows, columns = depths[..., MARGIN:-MARGIN], depths[..., MARGIN:-MARGIN, :]
    above, left = np.minimum(rows[..., :-1, :], rows[..., 1:, :]), np.minimum(columns[..., :-1], columns[..., 1:])
    filled = np.maximum(above[..., :-3, :], above[..., 3:, :])
    np.minimum(filled, np.maximum(left[..., :-3], left[..., 3:]), out=filled)
    return np.minimum(filled, rows[..., MARGIN:-MARGIN, :], out=filled)


def arms_in_the_way(wrists: Array, elbows: Array, focal: Array) -> NDArray[np.bool_]:
    """(N,) whether a forearm from ``wrists`` (N,2,3) towards ``elbows`` (N,2,3) passes through the picture close before
    the camera, fills much of it, ends in it, or is seen along itself. ``focal`` (N,) in image sides.
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
    ends = in_picture[:, :, -1].any(1)
    return close | (band > MOST_ARM) | ends | (shown_lengths(wrists, elbows) < LEAST_LENGTH).any(1)


def shown_lengths(wrists: Array, elbows: Array) -> Array:
    """(N,2) share of a forearm's length that is seen, from ``wrists`` (N,2,3) m towards ``elbows`` (N,2,3): 1 square to
    the line of sight and not farther away than the wrist, 0 along that line.
    """  # fmt: skip
    sine = length(cross(unit(wrists), elbows))
    return sine / np.maximum(1, 1 + FOREARM * elbows[..., 2] / wrists[..., 2])
