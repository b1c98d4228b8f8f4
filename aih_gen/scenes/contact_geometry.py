"""The way of a surface until it touches another one, both given by points."""

from __future__ import annotations

import numpy as np

from aih_gen.scenes.vectors import cross, unit
from aih_gen.typing import Array

CELL = 0.011
"""Side (m) of the cells in which hands that approach each other are compared."""


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
