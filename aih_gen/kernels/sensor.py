"""The sensor's pixel by pixel work. A box is the rows, then the columns of an image as (first, end)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from aih_gen.kernels.compiled import compiled

Int64 = NDArray[np.int64]
Mask = NDArray[np.bool_]
UInt8 = NDArray[np.uint8]

SPREAD = np.float32(1 / np.sqrt(4 * (256**2 - 1) / 12))
"""Inverse of the standard deviation of the sum of four random bytes."""
NORMAL = (np.float32(0.96775), np.float32(0.0040019), np.float32(0.0019047))
"""Factors of such a sum, its third and its fifth power that add up to a normal distribution: of deviation 1, and with
quantiles within 0.02 of the normal ones up to 3 deviations. Fitted to all values of the sum by least squares."""
BYTES = np.uint32(0xFF00FF)
"""Every second byte."""


@compiled
def _mixed(bits: np.uint32, factor: np.uint32) -> np.uint32:
    """A round of an integer hash. Types are NumPy's throughout, or Numba would compute with 64 bits."""
    return np.uint32(np.uint32(bits ^ np.uint32(bits >> np.uint32(16))) * factor)


@compiled
def changed_box(image: UInt8, target: UInt8, removed: Mask, box: Int64) -> None:
    """``box`` becomes the smallest around all pixels that are ``removed`` (H,W) or differ between images (H,W,3).

    Where there are none, it ends where it begins.
    """
    height, width = removed.shape
    ones, others = image.reshape(height, width * 3), target.reshape(height, width * 3)
    differing, holes = np.zeros(width * 3, np.uint8), np.zeros(width, np.bool_)
    box[:] = 0
    for row in range(height):
        one, other, hole = ones[row], others[row], removed[row]
        changed = False
        for j in range(width * 3):
            changed |= one[j] != other[j]
        for j in range(width):
            changed |= hole[j]
        if not changed:
            continue
        box[0] = box[0] if box[1] else row
        box[1] = row + 1
        for j in range(width * 3):
            differing[j] |= one[j] ^ other[j]
        for j in range(width):
            holes[j] |= hole[j]
    for j in range(width * 3):
        if differing[j] != 0 or holes[j // 3]:
            box[2] = box[2] if box[3] else j // 3
            box[3] = j // 3 + 1


@compiled
def tone(image: UInt8, curves: UInt8, box: Int64, result: UInt8) -> None:
    """``result`` (H,W,3) takes each channel's value on its curve (3,256)."""
    for row in range(box[0], box[1]):
        for column in range(box[2], box[3]):
            for channel in range(3):
                result[row, column, channel] = curves[channel, image[row, column, channel]]


@compiled
def add_noise(image: UInt8, shot: float, read: float, seed: int, box: Int64, result: UInt8) -> None:
    """``result`` is ``image`` (H,W,3) with normal noise of variance ``shot`` times the grey level plus ``read``.

    The noise of a place and channel is a hash of these and ``seed``, whatever the box and the image.
    """
    height, width = image.shape[:2]
    rows, made = image.reshape(height, width * 3), result.reshape(height, width * 3)
    per_level, least, key = np.float32(shot), np.float32(read), np.uint32(seed)
    first, count = 3 * box[2], 3 * (box[3] - box[2])
    for row in range(box[0], box[1]):
        start = row * width * 3 + first
        levels, line = rows[row, first : first + count], made[row, first : first + count]
        for j in range(count):
            bits = _mixed(np.uint32(start + j), np.uint32(0x7FEB352D))
            bits = _mixed(np.uint32(bits ^ key), np.uint32(0x846CA68B))
            bits = _mixed(bits, np.uint32(0x9E3779B1))
            bits = np.uint32(bits ^ np.uint32(bits >> np.uint32(16)))
            even, odd = np.uint32(bits & BYTES), np.uint32(np.uint32(bits >> np.uint32(8)) & BYTES)
            pairs = np.uint32(even + odd)
            total = np.int32(np.uint32(pairs & np.uint32(0xFFFF)) + np.uint32(pairs >> np.uint32(16)))
            scaled = np.float32(total - np.int32(510)) * SPREAD
            square = scaled * scaled
            normal = scaled * (NORMAL[0] + square * (NORMAL[1] + square * NORMAL[2]))
            level = np.float32(levels[j])
            value = level + np.sqrt(level * per_level + least) * normal + np.float32(0.5)
            line[j] = np.uint8(min(max(value, np.float32(0)), np.float32(255)))


@compiled
def make_grey(images: UInt8) -> None:
    """Images (N,H,W,3) lose their colour (ITU-R BT.601)."""
    pixels = images.reshape(images.size // 3, 3)
    for k in range(len(pixels)):
        grey = (int(pixels[k, 0]) * 19595 + int(pixels[k, 1]) * 38470 + int(pixels[k, 2]) * 7471) >> 16
        pixels[k, 0] = pixels[k, 1] = pixels[k, 2] = grey


@compiled
def mark_different(image: UInt8, target: UInt8, tolerance: int, box: Int64, marks: Mask) -> None:
    """Set ``marks`` (H,W) where some channel of two images differs by more grey levels."""
    height, width = marks.shape
    ones, others = image.reshape(height, width * 3), target.reshape(height, width * 3)
    first, count = 3 * box[2], box[3] - box[2]
    far, limit = np.empty(3 * count, np.uint8), np.uint8(tolerance)
    for row in range(box[0], box[1]):
        one, other = ones[row, first : first + 3 * count], others[row, first : first + 3 * count]
        for j in range(3 * count):
            far[j] = np.uint8(max(one[j], other[j]) - min(one[j], other[j])) > limit
        line = marks[row, box[2] : box[3]]
        for j in range(count):
            line[j] |= (far[3 * j] | far[3 * j + 1] | far[3 * j + 2]) != 0


@compiled
def repeat_image(image: UInt8, kept: Mask, box: Int64, target: UInt8) -> None:
    """A target becomes the image wherever its own pixels are not ``kept`` (H,W)."""
    height, width = kept.shape
    images, targets = image.reshape(height, width * 3), target.reshape(height, width * 3)
    first, count = box[2], box[3] - box[2]
    mine = np.empty(3 * count, np.uint8)
    for row in range(box[0], box[1]):
        seen, line = images[row, 3 * first : 3 * box[3]], targets[row, 3 * first : 3 * box[3]]
        own = kept[row, first : box[3]]
        for column in range(count):
            mine[3 * column] = mine[3 * column + 1] = mine[3 * column + 2] = 255 * own[column]
        for j in range(3 * count):
            line[j] = seen[j] ^ ((seen[j] ^ line[j]) & mine[j])
