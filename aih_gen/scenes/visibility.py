"""Visibility: how much of each hand a camera sees, and whether a forearm is in its way; many views at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from aih_gen.scenes.body import FOREARM
from aih_gen.scenes.cameras import MIN_DEPTH, Views
from aih_gen.scenes.scene import Camera
from aih_gen.scenes.vectors import length
from aih_gen.typing import Array, Float32, Mask

MIN_INSIDE = 0.76
"""Least share of either hand in every image, by points of its surface; of its silhouette, 0.6 nearly always."""
CELLS = 20
"""Cells a side of the square around the hands in which overlap is counted: each is wider than the points of a hand lie
apart (``scenes.pair.outline``), else much would be seen through a hand close to the camera."""
MARGIN = 2
"""Empty cells around that square."""
DRAWN_LENGTH, DRAWN_RADIUS = 0.56, 0.05
"""Length and radius (m) of the drawn arm: a sleeve, farther than to the elbow."""
THIN, THICK = 0.029, 0.046
"""Half the thickness (m) of the sleeved arm, a little wide of the mark, at the wrist and from the elbow on."""
ALONG = np.linspace(0.05, DRAWN_LENGTH, 16)
MAX_ARM = 0.4
"""Share of the image that a forearm may take, as a band as wide as it is thick."""
MIN_LENGTH = 0.35
"""Share of its length that a forearm must show: seen along itself it is a disk or a lump beside the hand."""


@dataclass(frozen=True, eq=False)
class Visibility:
    """H hands, two or one, before N cameras."""

    shift: Array  # (N,3) m, from the rotated hands to camera space
    hidden: (
        Array  # (N,H) estimated share of each hand in the image that the other hand or its arm hides; 1 where blocked
    )
    blocked: Mask  # (N,) a forearm is in the way (``arms_in_the_way``), or too much of a hand is outside

    def __getitem__(self, chosen: int) -> Visibility:
        row = slice(chosen, chosen + 1)
        return Visibility(self.shift[row], self.hidden[row], self.blocked[row])

    @classmethod
    def of(cls, views: Views, hands: Sequence[Array], wrists: Array, elbows: Array, armed: bool) -> Visibility:
        """Visibility in ``views`` of H ``hands``, two or one: points (P,3) of their surfaces.

        Where ``armed``, arms lead from the ``wrists`` (H,3) m in the unit directions ``elbows`` (H,3).
        """
        rotated = views.rotations.astype(np.float32).reshape(-1, 3) @ np.concatenate(hands, dtype=np.float32).T
        points = rotated.reshape(len(views.rotations), 3, -1)
        shift = views.shifts(points.min(2), points.max(2))
        camera_wrists = wrists @ views.rotations.transpose(0, 2, 1) + shift[:, None]
        camera_elbows = elbows @ views.rotations.transpose(0, 2, 1)
        blocked = np.zeros(len(shift), bool)
        if armed:
            blocked = arms_in_the_way(camera_wrists, camera_elbows, views.focal)
        clear = np.flatnonzero(~blocked)
        hidden = np.ones((len(shift), len(hands)))
        if len(hands) == 1:
            hidden[clear] = 0
        elif len(clear):
            points = points[clear]
            points += shift[clear, :, None].astype(np.float32)
            right = len(hands[0])
            inside = [share_inside(own, views.focal[clear]) for own in (points[..., :right], points[..., right:])]
            outside = np.minimum(*inside) < MIN_INSIDE
            blocked[clear] = outside
            arms = (camera_wrists[clear], camera_elbows[clear]) if armed else None
            shares = hidden_shares(points, len(hands[0]), arms, views.focal[clear])
            hidden[clear] = np.where(outside[:, None], 1, shares)
        return cls(shift, hidden, blocked)


def shown_shares(views: Views, points: Array, shift: Array) -> Array:
    """(N,) shares of ``points`` (P,3), rotated and moved by ``shift`` (N,3), that each image holds."""
    return share_inside((points @ views.rotations.transpose(0, 2, 1) + shift[:, None]).transpose(0, 2, 1), views.focal)


def share_inside(points: Float32 | Array, focal: Array) -> Array:
    """(N,) estimated share in each image of the visible area of points (N,3,P) in camera space."""
    seen = 1 / np.square(points[:, 2])  # what is near is large
    inside = seen * (np.abs(points[:, :2]).max(1) < points[:, 2] * (0.5 / focal)[:, None])
    return np.asarray(inside.sum(1) / seen.sum(1))


def hidden_shares(points: Float32, right: int, arms: tuple[Array, Array] | None, focal: Array) -> Array:
    """(N,2) estimated share of each hand in N images that the other hand or its arm hides; 1 if an image holds none.

    ``points`` (N,3,P) of both surfaces are in camera space, the ``right`` hand's come first; ``arms`` are their wrists
    and the unit directions (N,2,3) to the elbows, ``focal`` (N,) in image sides.
    """  # fmt: skip
    raster, slopes = Raster.around(points, focal)
    nearest = raster.nearest(slopes, points[:, 2], right)
    before = nearest if arms is None else np.minimum(nearest, raster.arms(*arms))
    seen = nearest < np.inf
    uncovered = np.count_nonzero(seen & (nearest <= before[:, ::-1]), 2)
    return np.asarray(1 - uncovered / np.maximum(np.count_nonzero(seen, 2), 1))


@dataclass(frozen=True, eq=False)
class Raster:
    """C square cells, ``CELLS`` a side and row by row, around both hands in N images."""

    scale: Float32  # (N,) cells by which a slope of one moves a point
    start: Float32  # (N,2) where the ray straight ahead lies: columns and rows from the corner

    @classmethod
    def around(cls, points: Float32, focal: Array) -> tuple[Raster, Float32]:
        """The raster, and the slopes (N,2,P) of the rays through ``points`` (N,3,P)."""
        slopes: Float32 = np.divide(points[:, :2], np.maximum(points[:, 2:], 1e-3), dtype=np.float32)
        border = (0.5 / focal)[:, None].astype(np.float32)
        low, high = np.maximum(slopes.min(2), -border), np.minimum(slopes.max(2), border)
        scale = np.float32(CELLS) / np.maximum((high - low).max(1), np.float32(1e-3))
        return cls(scale, np.float32(CELLS / 2) - scale[:, None] * (low + high) / 2), slopes

    def nearest(self, slopes: Float32, depths: Float32, right: int) -> Float32:
        """(N,2,C) least of each hand's ``depths`` (N,P) in each cell; infinite where no point is."""
        count, wide = len(slopes), CELLS + 2 * MARGIN
        places = slopes * self.scale[:, None, None]
        places += self.start[..., None] + MARGIN
        # The outermost cells take what is outside.
        np.minimum(np.maximum(places, 0, out=places), wide - 1, out=places)
        where = places.astype(np.int32)
        cell = where[:, 1] * wide
        cell += where[:, 0]
        cell += 2 * wide * wide * np.arange(count, dtype=np.int32)[:, None]
        cell[:, right:] += wide * wide
        found = np.full(2 * count * wide * wide, np.inf, np.float32)
        np.minimum.at(found, cell.ravel(), depths.ravel())
        squares = found.reshape(count, 2, wide, wide)
        for edge in (slice(None, MARGIN), slice(-MARGIN, None)):
            squares[..., edge, :] = squares[..., edge] = np.inf
        filled = _without_holes(found, wide).reshape(squares.shape)
        return filled[..., MARGIN:-MARGIN, MARGIN:-MARGIN].reshape(count, 2, -1)

    def arms(self, wrists: Array, elbows: Array) -> Float32:
        """(N,2,C) depth of each arm's surface, a cone from ``wrists`` (N,2,3) towards ``elbows`` (N,2,3)."""
        # An arm that passes the camera is seen up to there.
        length = np.where(elbows[..., 2] < 0, (MIN_DEPTH / 3 - wrists[..., 2]) / np.minimum(elbows[..., 2], -1e-6), 1)
        length = np.minimum(np.maximum(length, 0.01), DRAWN_LENGTH)
        ends = wrists + length[..., None] * elbows
        start, end = (self._place(points[..., :2] / points[..., 2:]) for points in (wrists, ends))
        along = end - start  # (N,2,2) cells
        squares = np.einsum("nsi,nsi->ns", along, along) + 1e-6
        # How far along the arm (0 wrist, 1 end) and how far across it (cells) a place is, is linear in column and row.
        forward = along / squares[..., None]
        sideways = along[..., ::-1] * [-1, 1] / np.sqrt(squares)[..., None]
        linear = np.array([forward, sideways])
        constant = -np.einsum("knsi,nsi->kns", linear, start)
        linear = np.concatenate([linear, constant[..., None]], -1).astype(np.float32)
        reach, aside = linear @ _MIDDLES
        on_arm = np.minimum(np.maximum(reach, 0), 1)
        reach -= on_arm
        reach *= reach
        aside *= aside
        aside += reach * squares[..., None].astype(np.float32)
        # Not depths but their inverses grow evenly along a line in the image.
        near, far, scale = (
            part[..., None].astype(np.float32) for part in (1 / wrists[..., 2], 1 / ends[..., 2], self.scale[:, None])
        )
        nearness = near + on_arm * (far - near)
        thick = on_arm * (length[..., None].astype(np.float32) * far / FOREARM)
        thick = THIN + (THICK - THIN) * np.minimum(thick / nearness, 1)
        covered = aside < (thick * nearness * scale) ** 2
        return np.where(covered, 1 / nearness - thick / 2, np.float32(np.inf))

    def _place(self, slopes: Array) -> Array:
        """Columns and rows (N,...,2) of rays (N,...,2)."""
        return slopes * self.scale[:, None, None] + self.start[:, None]


_MIDDLES = np.concatenate([np.indices((CELLS, CELLS))[::-1] + 0.5, np.ones((1, CELLS, CELLS))], dtype=np.float32)
_MIDDLES = _MIDDLES.reshape(3, -1)
"""Column and row of the middles of all cells, and 1."""


def _without_holes(depths: Float32, wide: int) -> Float32:
    """Depths of squares with ``wide`` cells a side, one after the other, whose margins are empty, with one or two empty
    cells between others filled: the points of a palm miss some cells.
    """  # fmt: skip
    filled = depths.copy()
    inner = filled[2 * wide : -2 * wide]
    for step in (1, wide):
        # The nearer of two neighbours that follow each other, then the farther of those before and behind.
        nearer = np.minimum(depths[:-step], depths[step:])
        first = 2 * wide - 2 * step
        before = nearer[first : first + len(inner)]
        behind = nearer[first + 3 * step : first + 3 * step + len(inner)]
        np.minimum(inner, np.maximum(before, behind), out=inner)
    return filled


def arms_in_the_way(wrists: Array, elbows: Array, focal: Array) -> Mask:
    """(N,) True where a forearm from ``wrists`` (N,H,3) towards ``elbows`` (N,H,3) passes through the image close
    before the camera, fills much of it, ends in it, or is seen along itself. ``focal`` (N,) in image sides.
    """  # fmt: skip
    wrists_first, elbows_first = wrists.transpose(2, 0, 1)[..., None], elbows.transpose(2, 0, 1)[..., None]
    across, down, away = wrists_first + ALONG * elbows_first  # (N,H,16) each
    # The arm is thick: parts a little outside the image still fill part of it.
    scale = focal[:, None, None] / np.maximum(away, 0.02)
    across, down, thick = across * scale, down * scale, DRAWN_RADIUS * scale
    in_image = (np.maximum(np.abs(across), np.abs(down)) < 0.5 + thick) & (away > -DRAWN_RADIUS)
    close = (in_image & (away < 0.6 * wrists_first[2])).any((1, 2))
    right, below = across[..., 1:] - across[..., :-1], down[..., 1:] - down[..., :-1]
    band = np.sqrt(right * right + below * below) * np.minimum(thick[..., 1:], 0.5)
    band *= in_image[..., 1:] & in_image[..., :-1]
    unseen = in_image[..., -1] | (shown_lengths(wrists, elbows) < MIN_LENGTH)
    return np.asarray(close | (2 * band.sum((1, 2)) > MAX_ARM) | unseen.any(1))


def arms_before(camera: Camera, wrists: Array, elbows: Array) -> bool:
    """True if a forearm from ``wrists`` (H,3) m towards ``elbows`` (H,3) is in the way of a camera in whose space they
    are.
    """  # fmt: skip
    focal = float(camera.matrix[0, 0])
    middle = (camera.size - 1) / 2
    # A camera whose axis is off the image's middle sees what one in the middle sees of a sheared space.
    centred = np.array([[focal, 0, middle], [0, focal, middle], [0, 0, 1]])
    shear = np.linalg.solve(centred, camera.matrix.astype(np.float64)).T
    wrists, elbows = ((points @ shear)[None] for points in (wrists, elbows))
    return bool(arms_in_the_way(wrists, elbows, np.array([focal / camera.size]))[0])


def shown_lengths(wrists: Array, elbows: Array) -> Array:
    """(N,H) share of a forearm's length that is seen, from ``wrists`` (N,H,3) m towards ``elbows`` (N,H,3): 1 square to
    the line of sight and not farther away than the wrist, 0 along that line.
    """  # fmt: skip
    cosine = np.einsum("nsi,nsi->ns", wrists, elbows) / length(wrists)
    sine = np.sqrt(np.maximum(1 - cosine * cosine, 0))
    return np.asarray(sine / np.maximum(1, 1 + FOREARM * elbows[..., 2] / wrists[..., 2]))
