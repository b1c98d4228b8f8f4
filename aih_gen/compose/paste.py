"""The pixels of AIH_Syn: two hands and their arrangement -> images and masks, for a whole batch, on any device.

Everything is integer arithmetic (positions in 1/65536 pixel, bilinear weights in 1/256), so the pixels do not depend on
the device, the batch or the number of threads: a sample that was stored and the same sample composed while training are
equal to the bit. A crop's pixel is one int32: red, green and blue in its lower bytes, then the bits ``HAND`` and
``SKIN``. A mask that selects bits, here, is an int32 that is -1 (all bits) or 0.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from aih_gen.compose.crops import HandCrop
from aih_gen.compose.recipe import Arrangement, inverse
from aih_gen.compose.sample import MASK_BITS
from aih_gen.config import SIDES

ONE = 1 << 16
"""1.0 in fixed point."""
HALF = ONE // 2
HAND, SKIN = 1 << 30, -1 << 31
"""The hand; the hand or its arm."""
COLOURS = 0xFFFFFF
RIM = 2
"""Pixels along either axis over which colours are averaged for a hand's rim."""


def paste_inputs(crops: tuple[HandCrop, HandCrop], arrangement: Arrangement) -> dict[str, Tensor]:
    """The arguments of ``paste`` for one sample; ``crops`` are the right and the left hand.

    ``crops`` (2,S,S) int32: the pixels of the covered hand, then of the pasted one; ``affines`` (2,2,3) and ``colours``
    (3,2) int32 in fixed point; ``front`` () int64, the pasted hand's side.
    """
    hands = crops[1 - arrangement.front], crops[arrangement.front]
    affines = np.stack([inverse(arrangement.under), inverse(arrangement.over)])
    colours = np.stack([arrangement.gain, arrangement.shift], -1)
    return {
        "crops": torch.stack([_pixels(hand) for hand in hands]),
        "affines": torch.from_numpy(np.rint(affines * ONE).astype(np.int32)),
        "colours": torch.from_numpy(np.rint(colours * ONE).astype(np.int32)),
        "front": torch.tensor(arrangement.front),
    }


def paste(crops: Tensor, affines: Tensor, colours: Tensor, front: Tensor) -> tuple[Tensor, Tensor]:
    """Compose a batch of ``paste_inputs``, each with a first axis more.

    Returns ``rgb`` (B,3,S,S,3) uint8, the image and both targets, and ``masks`` (B,S,S) uint8, as shards hold them. The
    covered hand's target is its own crop, the pasted hand's is the image.
    """
    covered, pasted = (_warp(crops[:, 0], affines[:, 0]), _warp(_without_rim(crops[:, 1]), affines[:, 1]))
    over = pasted.skin >= HALF
    # Blended by coverage, but only within the mask: outside it, image and target must stay equal.
    alpha = torch.where(over, pasted.skin >> 8, 0)[:, None]
    blended = (pasted.colours * alpha + covered.colours * (256 - alpha) + 128) >> 8
    base, image = (_coloured(grey_levels, colours) for grey_levels in (covered.colours, blended))
    right_covered = (front == 1)[:, None, None, None]
    rgb = torch.stack([image, torch.where(right_covered, base, image), torch.where(right_covered, image, base)], -1)
    rgb = rgb.permute(0, 4, 2, 3, 1).contiguous()
    return rgb, _mask_bits(covered.hand >= HALF, covered.skin >= HALF, pasted.hand >= HALF, over, front)


def _mask_bits(covered_hand: Tensor, covered_skin: Tensor, pasted_hand: Tensor, over: Tensor, front: Tensor) -> Tensor:
    shown = {
        "amodal": (covered_hand, pasted_hand),
        "visible": (covered_hand & ~over, pasted_hand),
        "arm": (covered_skin & ~covered_hand & ~over, over & ~pasted_hand),
    }
    bits = torch.zeros_like(over, dtype=torch.uint8)
    for kind, masks in shown.items():
        of_side = torch.tensor([MASK_BITS[f"{kind}_{side}"] for side in SIDES], dtype=torch.uint8, device=front.device)
        for mask, side in zip(masks, (1 - front, front), strict=True):
            bits |= mask * of_side[side][:, None, None]
    return bits


def _coloured(grey_levels: Tensor, colours: Tensor) -> Tensor:
    """Grey levels (B,3,S,S) int32 -> uint8, with each channel's gain and shift (B,3,2)."""
    gain, shift = colours[..., None, None].unbind(2)
    return ((grey_levels * gain + (shift + HALF)) >> 16).clamp(0, 255).to(torch.uint8)


def _pixels(crop: HandCrop) -> Tensor:
    """(S,S) int32."""
    red, green, blue = (crop.image[..., channel].astype(np.int32) for channel in range(3))
    hand = crop.hand.copy()
    hand[[0, -1]] = hand[:, [0, -1]] = False  # the border goes on beyond the crop, but the hand must not
    bits = np.where(hand, np.int32(HAND), np.int32(0)) | np.where(crop.hand | crop.skin, np.int32(SKIN), np.int32(0))
    return torch.from_numpy(red | green << 8 | blue << 16 | bits)


class _Warped(NamedTuple):
    """A crop under the pixels of its sample; all int32."""

    colours: Tensor  # (B,3,S,S) grey levels
    hand: Tensor  # (B,S,S) how far a pixel is hand, 0 to ONE
    skin: Tensor  # (B,S,S)


def _warp(pixels: Tensor, affine: Tensor) -> _Warped:
    """Bilinear; ``affine`` (B,2,3) leads from samples to crops (B,S,S).

    Beyond the border of the crop the background is mirrored, and hand or arm go on straight: mirroring the arm too
    would give the hand a second one.
    """
    count, size = pixels.shape[:2]
    steps = torch.arange(size, dtype=torch.int32, device=pixels.device)
    a, b, c = affine[..., None, None].unbind(2)
    at = a * steps + b * steps[:, None] + c  # (B,2,S,S)
    (left, top), (right_part, lower_part) = (at >> 16).unbind(1), ((at >> 8) & 255).unbind(1)
    columns = [(_reach(left + x, size), part) for x, part in enumerate((256 - right_part, right_part))]
    rows = [(_reach(top + y, size), part) for y, part in enumerate((256 - lower_part, lower_part))]
    first = (torch.arange(count, dtype=torch.int32, device=pixels.device) * size * size)[:, None, None]
    colours = torch.full((count, 3, size, size), HALF, dtype=torch.int32, device=pixels.device)
    hand, skin = torch.zeros_like(pixels), torch.zeros_like(pixels)
    for row, row_part in rows:
        straight_row, mirrored_row = (step * size + first for step in row)
        for column, column_part in columns:
            weight = row_part * column_part
            straight, mirrored = _take(pixels, straight_row + column[0]), _take(pixels, mirrored_row + column[1])
            pixel = _choose((straight | mirrored) >> 31, straight, mirrored)
            for channel in range(3):
                colours[:, channel] += ((pixel >> (8 * channel)) & 255) * weight
            hand += ((pixel << 1) >> 31) & weight
            skin += (pixel >> 31) & weight
    return _Warped(colours >> 16, hand, skin)


def _reach(step: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """Source positions along an axis of a position that may lie beyond the crop: clamped, and mirrored."""
    once = step ^ (step >> 31)  # -1 - step where step is negative
    twice = torch.minimum(once, 2 * size - 1 - once)
    return step.clamp(0, size - 1), (twice ^ (twice >> 31)).clamp(max=size - 1)


def _take(values: Tensor, places: Tensor) -> Tensor:
    return values.flatten().index_select(0, places.flatten()).view(places.shape)


def _choose(mask: Tensor, chosen: Tensor, otherwise: Tensor) -> Tensor:
    return otherwise ^ ((chosen ^ otherwise) & mask)


def _without_rim(pixels: Tensor) -> Tensor:
    """Crops (B,S,S) whose skin's rim is coloured like the skin next to it: the old background shines through there."""
    skin = pixels >> 31
    inside = skin.clone()
    for axis in (1, 2):
        length = skin.shape[axis] - 1
        inside.narrow(axis, 1, length).bitwise_and_(skin.narrow(axis, 0, length))
        inside.narrow(axis, 0, length).bitwise_and_(skin.narrow(axis, 1, length))
    # Two sums in one number: red and blue, green and the count of pixels.
    red_blue = _box_sum(pixels & inside & 0xFF00FF)
    green_count = _box_sum((((pixels >> 8) & 255) | 1 << 16) & inside)
    count = green_count >> 16
    shares = torch.tensor([0, *(round(ONE / k) for k in range(1, (2 * RIM + 1) ** 2 + 1))], dtype=torch.int32)
    share = _take(shares.to(pixels.device), count)
    mean = torch.zeros_like(pixels)
    for place, total in ((0, red_blue & 0xFFFF), (8, green_count & 0xFFFF), (16, red_blue >> 16)):
        mean |= ((total * share + HALF) >> 16).clamp(max=255) << place
    return _choose(~inside & (-count >> 31) & COLOURS, mean, pixels)


def _box_sum(values: Tensor) -> Tensor:
    """Sums over squares of 2 ``RIM`` + 1 pixels a side."""
    for axis in (1, 2):
        size, sums = values.shape[axis], values.clone()
        for shift in range(1, RIM + 1):
            sums.narrow(axis, shift, size - shift).add_(values.narrow(axis, 0, size - shift))
            sums.narrow(axis, 0, size - shift).add_(values.narrow(axis, shift, size - shift))
        values = sums
    return values
