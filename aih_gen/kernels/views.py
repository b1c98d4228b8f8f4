"""Views of two hands: how much of each an image holds, and how much the other hand or its arm hides."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from aih_gen.kernels.compiled import compiled

Array = NDArray[np.float64]
Float32 = NDArray[np.float32]

CELLS = 20
"""Cells a side of the square around the hands in which overlap is counted: each is wider than the points of a hand lie
apart (``scenes.pair.outline``), else much would be seen through a hand close to the camera."""
MARGIN = 2
"""Empty cells around that square."""
WIDE = CELLS + 2 * MARGIN
DRAWN_LENGTH = 0.56
"""Length (m) of the drawn arm: a sleeve, farther than to the elbow."""
THIN, THICK = 0.029, 0.046
"""Half the thickness (m) of the sleeved arm, a little wide of the mark, at the wrist and from the elbow on."""


@compiled
def rotated(rotations: Array, points: Array) -> tuple[Float32, Array, Array]:
    """``points`` (P,3) in the axes of N cameras, (N,3,P), and their least and greatest coordinates, (N,3) each."""
    count = len(rotations)
    found, low, high = np.empty((count, 3, len(points)), np.float32), np.empty((count, 3)), np.empty((count, 3))
    for view in range(count):
        for axis in range(3):
            a, b, c = rotations[view, axis, 0], rotations[view, axis, 1], rotations[view, axis, 2]
            least, most = np.inf, -np.inf
            for row in range(len(points)):
                place = a * points[row, 0] + b * points[row, 1] + c * points[row, 2]
                found[view, axis, row] = place
                least, most = min(least, place), max(most, place)
            low[view, axis], high[view, axis] = least, most
    return found, low, high


@compiled
def shares_inside(points: Float32, start: int, stop: int, focal: Array) -> Array:
    """(N,) estimated share in each image of the visible area of some of the points (N,3,P) in camera space; ``focal``
    (N,) in image sides.
    """  # fmt: skip
    shares = np.empty(len(points))
    for view in range(len(points)):
        inside, total = 0.0, 0.0
        for row in range(start, stop):
            depth = points[view, 2, row]
            area = 1 / (depth * depth)  # what is near is large
            total += area
            if max(abs(points[view, 0, row]), abs(points[view, 1, row])) < depth * (0.5 / focal[view]):
                inside += area
        shares[view] = inside / total
    return shares


@compiled
def hidden_shares(
    points: Float32, right: int, wrists: Array, elbows: Array, focal: Array, min_depth: float, forearm: float
) -> Array:
    """(N,2) estimated share of each hand in N images that the other hand or its arm hides; 1 if an image holds none.

    ``points`` (N,3,P) of both surfaces are in camera space, the ``right`` hand's come first. Arms lead from ``wrists``
    (N,2,3) in the unit directions ``elbows`` (N,2,3) to the elbows, a ``forearm`` (m) farther, and are not seen nearer
    than ``min_depth`` (m); both are (0,2,3) where there are none. ``focal`` (N,) in image sides.
    """
    shares, nearest, before = np.empty((len(points), 2)), np.empty((2, WIDE, WIDE)), np.empty((2, WIDE, WIDE))
    for view in range(len(points)):
        scale, across, down = _square(points[view], focal[view])
        _fill(points[view], right, scale, across, down, nearest, before)
        for side in (0, 1):
            if len(wrists):
                _draw_arm(before[side], wrists[view, side], elbows[view, side], scale, across, down, min_depth, forearm)
        for side in (0, 1):
            seen, uncovered = 0, 0
            for row in range(MARGIN, WIDE - MARGIN):
                for column in range(MARGIN, WIDE - MARGIN):
                    depth = nearest[side, row, column]
                    seen += depth < np.inf
                    uncovered += depth < np.inf and depth <= before[1 - side, row, column]
            shares[view, side] = 1 - uncovered / max(seen, 1)
    return shares


@compiled
def _square(points: Float32, focal: float) -> tuple[float, float, float]:
    """Cells by which a slope of one moves a point in the square around ``points`` (3,P) in the image, and the column
    and the row of the ray straight ahead.
    """  # fmt: skip
    border, low, high = 0.5 / focal, np.full(2, np.inf), np.full(2, -np.inf)
    for row in range(points.shape[1]):
        for axis in (0, 1):
            slope = points[axis, row] / max(points[2, row], np.float32(1e-3))
            low[axis], high[axis] = min(low[axis], slope), max(high[axis], slope)
    widest = 1e-3
    for axis in (0, 1):
        low[axis], high[axis] = max(low[axis], -border), min(high[axis], border)
        widest = max(widest, high[axis] - low[axis])
    scale = CELLS / widest
    middle = MARGIN + CELLS / 2
    return scale, middle - scale * (low[0] + high[0]) / 2, middle - scale * (low[1] + high[1]) / 2


@compiled
def _fill(points: Float32, right: int, scale: float, across: float, down: float, nearest: Array, before: Array) -> None:
    """Write the least depths of each hand in each cell to ``nearest`` and ``before`` (2,W,W); infinite where no point
    is. One or two empty cells between others are filled: the points of a palm miss some cells.
    """  # fmt: skip
    for side in (0, 1):
        for row in range(WIDE):
            for column in range(WIDE):
                before[side, row, column] = np.inf
    for k in range(points.shape[1]):
        side, depth = int(k >= right), max(points[2, k], np.float32(1e-3))
        column, row = (
            int(np.floor(points[0, k] / depth * scale + across)),
            int(np.floor(points[1, k] / depth * scale + down)),
        )
        if min(column, row) >= MARGIN and max(column, row) < WIDE - MARGIN:  # else it is outside
            before[side, row, column] = min(before[side, row, column], points[2, k])
    for side in (0, 1):
        depths = before[side]
        for row in range(WIDE):
            for column in range(WIDE):
                depth = depths[row, column]
                if min(column, row) >= MARGIN and max(column, row) < WIDE - MARGIN:
                    # The nearer of two neighbours that follow each other, the farther of those before and behind.
                    left = min(depths[row, column - 2], depths[row, column - 1])
                    beside = max(left, min(depths[row, column + 1], depths[row, column + 2]))
                    above = min(depths[row - 2, column], depths[row - 1, column])
                    upright = max(above, min(depths[row + 1, column], depths[row + 2, column]))
                    depth = min(depth, min(beside, upright))
                nearest[side, row, column] = depth
        for row in range(WIDE):
            for column in range(WIDE):
                depths[row, column] = nearest[side, row, column]


@compiled
def _draw_arm(
    depths: Array, wrist: Array, elbow: Array, scale: float, across: float, down: float, min_depth: float,
    forearm: float,
) -> None:  # fmt: skip
    """Lower the ``depths`` (W,W) of cells to an arm's surface, a cone from ``wrist`` (3,) towards ``elbow`` (3,)."""
    length = 1.0
    if elbow[2] < 0:  # an arm that passes the camera is seen up to there
        length = (min_depth / 3 - wrist[2]) / min(elbow[2], -1e-6)
    length = min(max(length, 0.01), DRAWN_LENGTH)
    end_depth = wrist[2] + length * elbow[2]
    start_x, start_y = scale * wrist[0] / wrist[2] + across, scale * wrist[1] / wrist[2] + down
    along_x = scale * (wrist[0] + length * elbow[0]) / end_depth + across - start_x
    along_y = scale * (wrist[1] + length * elbow[1]) / end_depth + down - start_y
    square = along_x * along_x + along_y * along_y + 1e-6
    near, far = 1 / wrist[2], 1 / end_depth
    for row in range(MARGIN, WIDE - MARGIN):
        for column in range(MARGIN, WIDE - MARGIN):
            x, y = column + 0.5 - start_x, row + 0.5 - start_y
            reach = (x * along_x + y * along_y) / square
            on_arm = min(max(reach, 0.0), 1.0)
            beyond, aside = reach - on_arm, y * along_x - x * along_y
            # Not depths but their inverses grow evenly along a line in the image.
            nearness = near + on_arm * (far - near)
            thick = THIN + (THICK - THIN) * min(on_arm * length * far / forearm / nearness, 1.0)
            width = thick * nearness * scale
            if aside * aside / square + beyond * beyond * square < width * width:
                depths[row, column] = min(depths[row, column], 1 / nearness - thick / 2)
