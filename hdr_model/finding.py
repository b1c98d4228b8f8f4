"""Where in a photo of any size the hands are: HASM on a pyramid of windows, and the look that agrees with itself.

HASM has only seen pictures in which hands are large, and finds hands in any window that is shown to it. A hand that is
there stays where it is when the window moves; one that is not moves along. So the most promising windows are looked at
again from around what was found in them, and the window whose two looks agree best is believed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import torch
from torch import Tensor

from aih_gen.config import SIDES
from aih_gen.errors import AIHError
from hdr_model.data.crops import mask_boxes

if TYPE_CHECKING:
    from hdr_model.pipeline import HDR

Box = tuple[float, float, float, float]
"""Left, top, right, bottom in pixels."""

ZOOM_MARGIN = 1.4
"""Side of the second look / side of the square around both hands."""
ZOOM_BELOW = 0.7
"""Look again where that is less than this share of the window."""
LEVELS = 3
"""The windows of each level are half as wide as those before, beginning with the whole photo."""
BATCH = 16
CANDIDATES = 4
"""Windows that are looked at again, besides the whole photo."""


@dataclass(frozen=True)
class Window:
    """A square of pixels, which may reach outside the image."""

    left: int
    top: int
    side: int

    @classmethod
    def around(cls, x: float, y: float, side: int) -> Self:
        return cls(round(x - (side - 1) / 2), round(y - (side - 1) / 2), side)


@dataclass(frozen=True, eq=False)
class Look:
    """What HASM saw in a window: whole (amodal) hands as margins (h,w) and boxes in pixels of the photo."""

    window: Window
    margin: Tensor  # (h,w) the greater of both hands'
    promise: float

    @property
    def found(self) -> bool:
        return self.promise > 0

    def closer(self) -> Window:
        """The square around the hands found, with a margin."""
        cell = self.window.side / self.margin.shape[-1]
        centre, side = mask_boxes(self.margin[None] > 0)
        x, y = (float(c) for c in (centre[0] + 0.5) * cell - 0.5)
        wanted = max(1, round(float(side[0]) * cell * ZOOM_MARGIN))
        return Window.around(x + self.window.left, y + self.window.top, wanted)


def window_of(box: Box) -> Window:
    """The square around a box that a user gave.

    Raises:
        AIHError: the box is empty.
    """
    left, top, right, bottom = box
    if not (right > left and bottom > top):
        raise AIHError(f"box: expected left < right and top < bottom, found {left:g} {top:g} {right:g} {bottom:g}")
    side = max(1, round(max(right - left, bottom - top) * ZOOM_MARGIN))
    return Window.around((left + right) / 2, (top + bottom) / 2, side)


def pyramid(height: int, width: int, smallest: int) -> list[Window]:
    """The whole photo, then overlapping windows of half the side, a quarter, ...; none below ``smallest`` pixels."""
    whole = max(height, width)
    windows = [Window.around((width - 1) / 2, (height - 1) / 2, whole)]
    for level in range(1, LEVELS):
        side = round(whole / 2**level)
        if side < smallest:
            break
        places = [
            [round(k * (length - side) / max(1, steps)) for k in range(steps + 1)]
            for length in (width, height)
            for steps in [max(0, -(-2 * (length - side) // side))]
        ]
        windows += [Window(left, top, side) for top in places[1] for left in places[0]]
    return windows


def find_hands(hdr: HDR, photo: Tensor) -> dict[str, Tensor]:
    """Masks (1,H,W) bool of a photo (1,3,H,W) in [0, 1], as ``HDR.segment`` gives them."""
    height, width = photo.shape[-2:]
    windows = pyramid(height, width, hdr.segmentation_size // 2)
    looks = [look for k in range(0, len(windows), BATCH) for look in look_at(hdr, photo, windows[k : k + BATCH])]
    promising = sorted((look for look in looks[1:] if look.found), key=lambda look: -look.promise)
    chosen = [look for look in (looks[0], *promising[:CANDIDATES]) if look.found]
    if not chosen:
        return hdr.segment(photo)
    again = look_at(hdr, photo, [look.closer() for look in chosen])
    pairs = list(zip(chosen, again, strict=True))
    first, second = max(pairs, key=lambda pair: agreement(*pair) * pair[1].promise)
    if (second.found and second.window.side < ZOOM_BELOW * first.window.side) or first.window is not windows[0]:
        return hdr.segment(photo, second.window if second.found else first.window)
    return hdr.segment(photo)


def look_at(hdr: HDR, photo: Tensor, windows: list[Window]) -> list[Look]:
    """What HASM sees in windows of one photo (1,3,H,W)."""
    margins = hdr.margins(photo, windows)
    both = torch.stack([margins[f"{side}_amodal"] for side in SIDES]).amax(0)
    return [Look(window, both[k], promise(margins, k)) for k, window in enumerate(windows)]


def promise(margins: Mapping[str, Tensor], k: int) -> float:
    """How sure HASM is of the hands in window ``k``, from 0 (none) to 1, less where they are cut by its border."""
    both = torch.stack([margins[f"{side}_amodal"][k] for side in SIDES]).amax(0)
    inside = both > 0
    area = int(inside.sum())
    if not area:
        return 0.0
    border = int(inside[[0, -1]].sum() + inside[:, [0, -1]].sum())
    return float(torch.sigmoid(both[inside]).mean()) * max(0.0, 1 - border / area**0.5)


def agreement(first: Look, second: Look) -> float:
    """Intersection over union of the hands of two looks, where both look, on the second one's cells."""
    cells = second.margin.shape[-1]
    step = second.window.side / cells
    places = (torch.arange(cells, device=second.margin.device) + 0.5) * step - 0.5
    across, down = places + second.window.left, places + second.window.top
    scale = first.margin.shape[-1] / first.window.side
    columns, rows = (((p - start + 0.5) * scale - 0.5).round().long() for p, start in
                     ((across, first.window.left), (down, first.window.top)))  # fmt: skip
    seen = [(k >= 0) & (k < first.margin.shape[-1]) for k in (rows, columns)]
    before = first.margin[rows.clamp(0, first.margin.shape[-2] - 1)][:, columns.clamp(0, first.margin.shape[-1] - 1)]
    before = (before > 0) & seen[0][:, None] & seen[1]
    now = second.margin > 0
    union = int((before | now).sum())
    return int((before & now).sum()) / union if union else 0.0
