"""The mask vocabulary, defined once: who owns a pixel, what is hidden, what has to be painted.

Masks are NumPy arrays or torch tensors; areas are counted in NumPy's.
"""

from __future__ import annotations

from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

Mask = TypeVar("Mask", bound=Any)


def hidden(amodal: Mask, visible: Mask) -> Mask:
    """The region to de-occlude, D: this hand's pixels that something else covers."""
    return amodal & ~visible


def removal(amodal: Mask, other_visible: Mask, other_arm: Mask) -> Mask:
    """The region to remove, R: the other hand's and arm's pixels outside this hand."""
    return ~amodal & (other_visible | other_arm)


def hole(amodal: Mask, visible: Mask, other_visible: Mask, other_arm: Mask) -> Mask:
    """Everything HDRM paints for this hand: D | R."""
    return hidden(amodal, visible) | removal(amodal, other_visible, other_arm)


def visible_background(visible: Mask, other_visible: Mask, other_arm: Mask) -> Mask:
    """M_bv, one definition everywhere: pixels that neither hand nor the other arm covers in the image."""
    return ~visible & ~(other_visible | other_arm)


def occlusion(amodal: NDArray[np.bool_], visible: NDArray[np.bool_]) -> float:
    """Hidden area / amodal area of one hand; NaN where the hand has no pixel."""
    area = np.count_nonzero(amodal)
    return np.count_nonzero(hidden(amodal, visible)) / area if area else float("nan")
