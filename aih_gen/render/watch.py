"""The case of a wristwatch: a thin cylinder on the back of the forearm, part of the arm's mesh in every scene."""

from __future__ import annotations

import numpy as np
from scipy.spatial.transform import Rotation

from aih_gen.scenes.scene import Hand, Watch
from aih_gen.typing import Array, Float32, Int32

CORNERS = 20
CASE_REACH = 2.0
"""``arm_reach`` of the case's vertices: beyond any forearm's."""
HEIGHT, BURIED = 0.005, 0.009
"""Metres by which the case rises over the highest skin under it, and reaches below that."""
ROUND_SQUARE = 1.25
"""Half a square case's diagonal / half its side."""
_ANGLES = 2 * np.pi * np.arange(CORNERS) / CORNERS


def case_shape(square: bool) -> Array:
    """(2C,3) vertices in units of the case's radius, in the forearm's axes: the lower ring, then the upper one."""
    outline = np.stack([np.cos(_ANGLES), np.zeros(CORNERS), np.sin(_ANGLES)], 1)
    if square:
        outline *= np.minimum(1 / np.abs(outline).max(1, keepdims=True), ROUND_SQUARE)
    return np.concatenate([outline, outline + np.array([0, 1, 0])])


def case_faces(first: int) -> Int32:
    """(F,3) of a closed case whose vertices begin at ``first``, counter-clockwise seen from outside on a right arm."""
    low = np.arange(CORNERS)
    after = np.roll(low, -1)
    wall = [np.stack([low, low + CORNERS, after], 1), np.stack([after, low + CORNERS, after + CORNERS], 1)]
    fan = np.stack([np.zeros(CORNERS - 2, np.int64), low[1:-1], low[2:]], 1)
    return (np.concatenate([*wall, fan, fan[:, ::-1] + CORNERS]) + first).astype(np.int32)


def forearm_axes(hand: Hand, side: int) -> Array:
    """(3,3) rows: to the elbow, out of the back, to the thumb's side, in camera space."""
    rotation = Rotation.from_rotvec(hand.pose[:3].astype(np.float64)) * Rotation.from_rotvec(hand.arm_pose)
    axes = rotation.as_matrix().T
    return np.asarray(axes * np.array([[1 - 2 * side], [1], [1]]))


def case_vertices(watch: Watch | None, arm: Float32, wrist: Float32, axes: Array) -> Array:
    """(2C,3) m: the case on a forearm (V,3) in camera space; where none is worn, one point inside the arm."""
    if watch is None:
        return np.tile(wrist + 0.05 * axes[0], (2 * CORNERS, 1))
    places = (arm - wrist) @ axes.T
    under = places[np.abs(places[:, 0] - watch.start) < watch.radius + 0.003]
    top = under[:, 1].max()
    shape = case_shape(watch.square) * [watch.radius, HEIGHT + BURIED, watch.radius]
    middle = np.array([watch.start, top - BURIED, (under[:, 2].min() + under[:, 2].max()) / 2])
    return np.asarray(wrist + (shape + middle) @ axes)
