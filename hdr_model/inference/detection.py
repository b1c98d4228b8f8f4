"""Detection of the hands in a photo of any size: HASM looks at all of it, then closely at what it found.

The looks at the whole photo have more pixels than the others, so that small hands are as large in them as the smallest
that HASM has learned. Each further look is at the square around the hands that the last one found, until that square
stays where it is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, Self

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor

from aih_gen.config import SIDES
from aih_gen.errors import AIHError
from hdr_model.inference.result import Box

MARGIN = 1.4
"""Side of a closer look / side of the square around both hands."""
RESOLUTIONS = (2, 4)
"""Of the looks at the whole photo / of the others; the second is taken where the first finds nothing."""
MAX_LOOKS = 3
MAX_BOX = 2
"""Side of a box / longer side of its photo: memory grows with it."""
SETTLED = 0.6
"""Intersection over union of two windows that are taken for the same."""


@dataclass(frozen=True)
class Window:
    """A square of pixels, which may reach outside the image."""

    left: int
    top: int
    side: int

    @classmethod
    def around(cls, x: float, y: float, side: int) -> Self:
        return cls(round(x - (side - 1) / 2), round(y - (side - 1) / 2), side)

    @classmethod
    def whole(cls, height: int, width: int) -> Self:
        """The smallest that holds all of an image."""
        return cls.around((width - 1) / 2, (height - 1) / 2, max(height, width))

    def overlap(self, other: Window) -> float:
        """Intersection over union."""
        sides = [
            min(getattr(self, start) + self.side, getattr(other, start) + other.side)
            - max(getattr(self, start), getattr(other, start))
            for start in ("left", "top")
        ]
        common = max(sides[0], 0) * max(sides[1], 0)
        return common / (self.side**2 + other.side**2 - common)


def check_box(box: Box, height: int, width: int) -> None:
    """Raise AIHError for a box that is empty, lies beside a photo, or is much larger than that."""
    try:
        left, top, right, bottom = map(float, box)
    except (TypeError, ValueError, OverflowError):
        given = " ".join(str(box).split())
        raise AIHError(f"box: expected four numbers (left, top, right, bottom), found {given:.60}") from None
    found = f"{left:g} {top:g} {right:g} {bottom:g}"
    if not np.isfinite([left, top, right, bottom]).all():
        raise AIHError(f"box: expected finite numbers, found {found}")
    if not (right > left and bottom > top):
        raise AIHError(f"box: expected left < right and top < bottom, found {found}")
    if right <= 0 or bottom <= 0 or left >= width or top >= height:
        raise AIHError(f"box: expected a part of the photo, which is {width}x{height}, found {found}")
    if max(right - left, bottom - top) > MAX_BOX * max(height, width):
        raise AIHError(f"box: expected at most {MAX_BOX} times the photo, which is {width}x{height}, found {found}")


def window_of(box: Box) -> Window:
    """The square around a box."""
    left, top, right, bottom = map(float, box)
    side = max(1, round(max(right - left, bottom - top) * MARGIN))
    return Window.around((left + right) / 2, (top + bottom) / 2, side)


class Segmenter(Protocol):
    """A network that finds hands in windows of a photo, as ``HDR`` does."""

    segmentation_size: int

    def margins(self, images: Tensor, windows: Sequence[Window], size: int | None = None) -> dict[str, Tensor]:
        """As ``HDR.margins``."""


def find_hands(hdr: Segmenter, photo: Tensor) -> Window:
    """The square of a photo (1,3,H,W) in [0, 1] in which its hands are best seen; the whole photo where none is."""
    whole = Window.whole(*photo.shape[-2:])
    for times in RESOLUTIONS:
        window = _look(hdr, photo, whole, times * hdr.segmentation_size)
        if window is not None:
            break
    else:
        return whole
    for _ in range(MAX_LOOKS):
        if window.side >= whole.side:
            return whole
        found = _look(hdr, photo, window, hdr.segmentation_size)
        if found is None:
            return whole
        if found.overlap(window) >= SETTLED:
            return window
        window = found
    return window


def _look(hdr: Segmenter, photo: Tensor, window: Window, size: int) -> Window | None:
    """The square around the hands that HASM finds in a window, at ``size`` pixels a side."""
    margins = hdr.margins(photo, [window], size)
    return around_hands({name: margin[0] for name, margin in margins.items()}, window)


def around_hands(margins: Mapping[str, Tensor], window: Window) -> Window | None:
    """The square around the likeliest right and left hand among masks (h,w) of a window; None where there is none."""
    parts = [part for side in SIDES if (part := likeliest(margins[f"{side}_amodal"].cpu().numpy())) is not None]
    if not parts:
        return None
    rows, columns = np.nonzero(np.any(parts, 0))
    cell = window.side / parts[0].shape[-1]
    (top, bottom), (left, right) = ((line.min() * cell, (line.max() + 1) * cell) for line in (rows, columns))
    box = left + window.left - 0.5, top + window.top - 0.5, right + window.left - 0.5, bottom + window.top - 0.5
    return window_of(box)


def likeliest(margin: NDArray[np.float32]) -> NDArray[np.bool_] | None:
    """The part of a mask, given as margins (h,w), that has the greatest sum of probabilities; None of an empty one."""
    parts, count = ndimage.label(margin > 0, np.ones((3, 3)))
    if not count:
        return None
    sure = ndimage.sum_labels(1 / (1 + np.exp(-margin)), parts, np.arange(1, count + 1))
    best: NDArray[np.bool_] = parts == 1 + int(np.argmax(sure))
    return best
