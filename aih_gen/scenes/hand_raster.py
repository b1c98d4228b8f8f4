"""Hands and forearms before a camera as a coarse depth raster: room for people beside and behind them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from aih_gen.scenes.body import FOREARM
from aih_gen.scenes.pair import PairPose
from aih_gen.scenes.scene import Camera
from aih_gen.typing import Array, Floating, Int64, Mask

CELLS = 24
"""Cells a side."""
OCCLUSION_TOLERANCE = 0.04
"""Metres by which a person may be before the hands: the raster is coarse."""
MIN_DEPTH = 0.18
"""Metres from the camera within which nothing of a person is drawn."""
MIN_SHOWN = 0.01
"""Share of the image that a person must cover to be worth drawing."""


@dataclass(frozen=True, eq=False)
class Placed:
    """The hands' person before the camera, in the frame of ``scenes.body``. First axes: right, left."""

    rotation: Array  # (3,3) from the body's axes to the camera's
    shift: Array  # (3,) m
    wrists: Array  # (2,3) m
    elbows: Array  # (2,3) m
    points: Array  # (N,3) m of the hands and most of the forearms
    known: bool  # this is a body's frame, and forearms that lead to its elbows are drawn
    sides: tuple[int, ...] = (0, 1)  # the hands that are there

    @classmethod
    def of(cls, pair: PairPose, rotation: Array, shift: Array, known: bool) -> Placed:
        """The person of a pair in a view that rotates and moves it so; ``known`` is true if the pair's frame is a
        body's.
        """  # fmt: skip
        elbows = pair.wrists + FOREARM * pair.elbows
        along = np.linspace(0, 0.7, 6)[:, None, None]
        arms = (pair.wrists + along * FOREARM * pair.elbows)[:, list(pair.sides)].reshape(-1, 3)
        points = np.concatenate([*pair.points(), *([arms] if pair.armed else [])])
        return cls(rotation, shift, pair.wrists, elbows, points, known and pair.armed, pair.sides)


@dataclass(frozen=True, eq=False)
class HandRaster:
    """Depths of the hands and forearms before a camera, in cells of the image."""

    depth: Array  # (CELLS,CELLS) m of the nearest, infinite where there is nothing
    farthest: float  # m
    matrix: Array  # (3,3) px
    size: int

    @classmethod
    def of(cls, placed: Placed | None, camera: Camera) -> HandRaster:
        depth = np.full((CELLS, CELLS), np.inf)
        matrix = camera.matrix.astype(np.float64)
        if placed is None:
            return cls(depth, 0.45, matrix, camera.size)
        points = placed.points @ placed.rotation.T + placed.shift
        raster = cls(depth, float(points[:, 2].max()), matrix, camera.size)
        row, column, inside = raster.cells(points)
        np.minimum.at(depth, (row[inside], column[inside]), points[inside, 2])
        padded = np.pad(depth, 1, constant_values=np.inf)
        near = [padded[i : i + CELLS, j : j + CELLS] for i in range(3) for j in range(3)]
        depth[:] = np.min(near, 0)
        return raster

    def cells(self, points: Array) -> tuple[Int64, Int64, Mask]:
        """Rows and columns (N,) of points (N,3), and True (N,) for those in the image."""
        depth = np.maximum(points[:, 2:], 1e-3)
        pixel = points[:, :2] / depth * self.matrix[[0, 1], [0, 1]] + self.matrix[:2, 2]
        place = np.floor(pixel / self.size * CELLS).astype(np.int64)
        inside = ((place >= 0) & (place < CELLS)).all(1) & (points[:, 2] > 1e-3)
        column, row = np.clip(place, 0, CELLS - 1).T
        return row, column, inside

    def behind(self, points: Floating) -> bool:
        """True if the image shows enough of ``points`` (N,3), none close to the camera and hardly any before the
        hands.
        """  # fmt: skip
        row, column, inside = self.cells(points.astype(np.float64))
        depth = points[inside, 2]
        if not len(depth) or depth.min() < MIN_DEPTH:
            return False
        cells = np.unique(row[inside] * CELLS + column[inside])
        before = depth < self.depth[row[inside], column[inside]] - OCCLUSION_TOLERANCE
        over = before & np.isfinite(self.depth[row[inside], column[inside]])
        return bool(len(cells) >= MIN_SHOWN * CELLS**2 and np.count_nonzero(over) <= 0.01 * len(depth))

    def shows(self, points: Array) -> Mask:
        """(N,) True for points (N,3) in the image and behind no hand."""
        row, column, inside = self.cells(points)
        return inside & (points[:, 2] < self.depth[row, column])

    def project(self, point: Array, extent: float) -> tuple[Array, float]:
        """Position (2,) of a point (3,) from the image's middle, and length of ``extent`` m there, in image sides."""
        scale = self.matrix[[0, 1], [0, 1]] / point[2]
        return (point[:2] * scale + self.matrix[:2, 2]) / self.size - 0.5, float(scale[0] * extent / self.size)

    def share_free(self, place: Array, reach: float) -> float:
        """Share without hands of the square around ``place`` (2,), from the image's middle, in image sides."""
        low, high = (np.clip(np.floor((place + 0.5 + way * reach) * CELLS), 0, CELLS).astype(int) for way in (-1, 1))
        part = self.depth[low[1] : high[1] + 1, low[0] : high[0] + 1]
        return float(np.isinf(part).mean()) if part.size else 0.0
