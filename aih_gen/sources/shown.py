"""Checks that a photo shows the hands that are annotated in it, before anything is cut or drawn."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from aih_gen.typing import Array

MIN_DEPTH = 0.05
"""Metres from the camera to a joint in front of it; a hand's surface is up to 3 cm nearer."""
MAX_BOX = 3.0
"""Sides of the photo; no box of hands is longer."""
MAX_RATIO = 4.0
"""Longer side of the joints' box to the annotated one's, or the other way round."""
MIN_NEAR = 0.5
"""Share of the joints that lie in the annotated box, enlarged by half its size on all sides."""

Box = tuple[float, float, float, float]


class Fault(NamedTuple):
    """The reason why a photo is not used: it contradicts itself, or is left out."""

    broken: bool
    reason: str


def box_fault(box: Box, width: int, height: int) -> Fault | None:
    """The fault of a box of hands: left, top, width, height in pixels of a photo of that size; None for none."""
    left, top, across, down = box
    if max(across, down) > MAX_BOX * max(width, height):
        return Fault(True, f"box over {MAX_BOX:g} times the photo's size")
    if left >= width or top >= height or left + across <= 0 or top + down <= 0:
        return Fault(False, "box outside the photo")
    return None


def hands_fault(joints: Array, matrix: Array, box: Box, width: int, height: int) -> Fault | None:
    """The fault of hands whose joints are known, None where the photo shows them about where its box is.

    Args:
        joints: (N,3) m, camera space.
        matrix: (3,3) px.
        box: left, top, width, height of the hands in the photo, px.
        width: of the photo, px.
        height: of the photo, px.
    """
    if (joints[:, 2] <= 0).all():
        return Fault(False, "hands behind the camera")
    if (joints[:, 2] < MIN_DEPTH).any():
        return Fault(True, "camera inside a hand")
    at = (joints @ matrix.T)[:, :2] / joints[:, 2:]
    if not ((at > -0.5) & (at < np.array([width, height]) - 0.5)).all(1).any():
        return Fault(False, "hands outside the photo")
    corner, sides = np.array(box[:2]), np.array(box[2:])
    if ((at >= corner - sides / 2) & (at <= corner + 1.5 * sides)).all(1).mean() < MIN_NEAR:
        return Fault(False, "hands beside their box")
    ratio = max(float(np.ptp(at, 0).max()), 1.0) / max(box[2:])
    return (
        None
        if len(at) < 2 or 1 / MAX_RATIO < ratio < MAX_RATIO
        else Fault(False, "hands of another size than their box")
    )
