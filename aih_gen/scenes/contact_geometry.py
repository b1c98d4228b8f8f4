"""Geometry of two surfaces given by points: depths inside each other, neighbourhoods, distances to touch."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from aih_gen.scenes.vectors import cross, unit
from aih_gen.typing import Array, Int64, Mask

MAX_DEPTH = 0.012
"""A point farther than this (m) from a surface is taken to be outside it: half a hand's thickness."""
CELL = 0.011
"""Side (m) of the cells in which hands that approach each other are compared."""


class Surface(NamedTuple):
    """Points of a closed surface with outward unit normals."""

    points: Array  # (P,3) m
    normals: Array  # (P,3)


def inside(points: Array, other: Surface) -> tuple[Int64, Int64, Array]:
    """Indices (K,) of those of ``points`` (P,3) that lie inside ``other``, of the surface point nearest to each, and
    their depths (K,) in metres.

    The depth is the distance along the nearest surface point's normal, exact for flat and nearly so for round surfaces.
    """  # fmt: skip
    if not len(points) or not len(other.points):
        return np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0)
    nearest = nearest_points(points, other.points)
    offset = points - other.points[nearest]
    depth = -np.einsum("ij,ij->i", offset, other.normals[nearest])
    deep = np.flatnonzero((depth > 0) & (np.einsum("ij,ij->i", offset, offset) < MAX_DEPTH**2))
    return deep, nearest[deep], depth[deep]


def nearest_points(points: Array, others: Array) -> Int64:
    """(P,) index of the one of ``others`` (Q,3) that is nearest to each of ``points`` (P,3).

    All distances in one product: for the few hundred points of two hands that face each other, up to twice as fast as
    search trees, which would have to be built anew at every step; for a thousand no slower.
    """
    middle = others.mean(0)  # what is near zero keeps its last digits in single precision
    candidates = (others - middle).astype(np.float32)
    queries = (points - middle).astype(np.float32)
    # The square of a distance but for what all candidates of a point share.
    factors = np.concatenate([-2 * candidates.T, (candidates * candidates).sum(1)[None]])
    squares = np.concatenate([queries, np.ones((len(queries), 1), np.float32)], 1) @ factors
    return np.asarray(squares.argmin(1))


def near(points: Array, others: Array, distance: float) -> Mask:
    """(P,) True for those of ``points`` (P,3) in a cube of side ``distance`` (m) that holds one of ``others`` (Q,3), or
    in a neighbour of one: at least all that are nearer than ``distance``.
    """  # fmt: skip
    low = others.min(0) - 2 * distance
    cells = ((others - low) / distance).astype(np.int64)
    grid = np.zeros(cells.max(0) + 3, bool)
    grid[tuple(cells.T)] = True
    for axis in range(3):
        grid = grid | np.roll(grid, 1, axis) | np.roll(grid, -1, axis)
    cells = ((points - low) / distance).astype(np.int64)
    found = ((cells >= 0) & (cells < grid.shape)).all(1)
    found[found] = grid[tuple(cells[found].T)]
    return found


def touch_distance(resting: Array, moving: Array, direction: Array) -> float:
    """Distance (m) that ``moving`` (P,3) goes along ``direction`` (3,) until it just touches ``resting`` (Q,3).

    Negative where it is not there yet, zero where they never meet along that line.
    """
    square = np.zeros(3)
    square[np.abs(direction).argmin()] = 1
    square = unit(cross(direction, square))
    points = np.concatenate([resting, moving]) @ np.array([direction, square, cross(direction, square)]).T
    cells = ((points - points.min(0))[:, 1:] / CELL).astype(np.int64)
    wide, tall = cells.max(0) + 1
    column, height = cells[:, 0] * tall + cells[:, 1], points[:, 0]
    top, bottom = np.full(wide * tall, -np.inf), np.full(wide * tall, np.inf)
    np.maximum.at(top, column[: len(resting)], height[: len(resting)])
    np.minimum.at(bottom, column[len(resting) :], height[len(resting) :])
    distance = (top - bottom).max()
    return float(distance) if np.isfinite(distance) else 0.0
