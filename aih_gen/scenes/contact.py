"""Hands that touch but do not pass through each other."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

Array = NDArray[np.float64]

REACH = 0.025
"""A point farther than this (m) from a surface is taken to be outside it: no finger is thicker."""
STRIDE = 2
"""Every how many points of one hand are looked up in the other: neighbours are 3 mm apart."""


@dataclass(frozen=True, eq=False)
class Surface:
    """Points of a closed surface with outward unit normals, their box, and a search tree over them."""

    points: Array  # (P,3) m
    normals: Array  # (P,3)
    low: Array  # (3,)
    high: Array  # (3,)
    tree: cKDTree


def surface(points: Array, normals: Array) -> Surface:
    """Prepare a surface for depth queries."""
    return Surface(points, normals, points.min(0), points.max(0), cKDTree(points))


def penetration(points: Array, other: Surface) -> tuple[Array, Array]:
    """How deep each point lies inside ``other``: depths (P,) in metres, 0 outside, and the outward normals (P,3) there.

    The depth is the distance along the nearest surface point's normal, exact for flat and nearly so for round surfaces.
    """
    depths, normals = np.zeros(len(points)), np.zeros((len(points), 3))
    close = np.flatnonzero(((points > other.low) & (points < other.high)).all(1))
    distance, nearest = other.tree.query(points[close], distance_upper_bound=REACH)
    near = np.isfinite(distance)
    close, at = close[near], nearest[near]
    depths[close] = np.maximum(-((points[close] - other.points[at]) * other.normals[at]).sum(1), 0)
    normals[close] = other.normals[at]
    return depths, normals


def separate(fixed: Surface, moving: Surface, tolerance: float = 0.001, max_steps: int = 30) -> tuple[Array, float]:
    """The shift (3,) in metres that frees ``moving`` from ``fixed``, and the depth (m) that is left.

    Each step moves along the mean outward normal of the points that are inside, by their greatest depth.
    """
    shift = np.zeros(3)
    worst = 0.0
    heading = np.zeros(3)
    for _ in range(max_steps):
        inside, outward = penetration(moving.points[::STRIDE] + shift, fixed)
        inside_fixed, outward_moving = penetration(fixed.points[::STRIDE] - shift, moving)
        worst = max(inside.max(), inside_fixed.max())
        if worst <= tolerance:
            break
        push = (inside[:, None] * outward).sum(0) - (inside_fixed[:, None] * outward_moving).sum(0)
        length = np.linalg.norm(push)
        # Once a way out is chosen it is kept, or two opposite walls would throw the hand to and fro.
        heading = heading + push / length if length > 1e-9 else heading
        direction = heading / max(float(np.linalg.norm(heading)), 1e-9)
        shift = shift + direction * (0.7 * worst + 0.0005)
    return shift, float(worst)
