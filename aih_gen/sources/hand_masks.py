"""A mask of one hand out of an image file: bright on dark, however it is stored."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from aih_gen.errors import AIHError
from aih_gen.io.images import read_image
from aih_gen.typing import Mask, UInt8

THRESHOLD = 128
"""Grey level from which a mask's pixel is hand. Of levels beyond 8 bit, half of the highest is."""
CERTAIN, DOUBTFUL = 0.9, 0.75
"""Shares of the image's border that are bright: above the first a mask is inverted, above the second it may be."""
MIN_HAND = 0.01
"""Share of the image that is dark in an inverted mask: a few dark pixels are no hand."""


class EmptyMask(AIHError):
    """A mask without a hand."""


def read_hand_mask(path: Path) -> Mask:
    """(H,W) the hand: bright pixels, or the opaque ones of an image of one colour; the dark ones of an inverted mask.

    Raises:
        EmptyMask: no level reaches `THRESHOLD`.
        AIHError: it cannot be read, colour and alpha contradict each other, or it may be inverted.
    """
    levels = _levels(path)
    hand = levels >= THRESHOLD
    if not hand.any():
        raise EmptyMask(f"{path}: expected a hand ({THRESHOLD} to 255), found no level above {levels.max()}")
    border = np.concatenate([hand[0], hand[-1], hand[1:-1, 0], hand[1:-1, -1]]).mean()
    if border <= DOUBTFUL or (~hand).mean() < MIN_HAND:
        return hand
    if border <= CERTAIN:
        raise AIHError(f"{path}: expected a bright hand on a dark ground, found {border:.0%} of the border bright")
    return ~hand


def _levels(path: Path) -> UInt8:
    """(H,W) from 0, dark, to 255."""
    image = read_image(path)
    if image.mode.startswith("I") or image.mode == "F":
        levels = np.nan_to_num(np.asarray(image, np.float64), posinf=0, neginf=0).clip(0)
        highest = float(levels.max(initial=0))
        return np.asarray(
            levels * (255 / (1.0 if image.mode == "F" and highest <= 1 else max(255.0, highest))), np.uint8
        )
    if not (image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info):
        return np.asarray(image.convert("L"))
    coloured = image.convert("RGBA")
    grey, alpha = np.asarray(coloured.convert("L")), np.asarray(coloured.getchannel("A"))
    shape = alpha >= THRESHOLD
    if shape.all():
        return grey
    bright = grey[shape] >= THRESHOLD
    if bright.all() or not bright.any():
        return alpha
    raise AIHError(f"{path}: expected the hand in its colours or in its transparency, found another shape in each")
