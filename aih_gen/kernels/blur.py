"""Blur of images whose colours are bytes. Beyond their borders images go on as their outermost pixels."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from aih_gen.kernels.compiled import compiled

Float32 = NDArray[np.float32]
Int64 = NDArray[np.int64]
UInt8 = NDArray[np.uint8]


def blurred(image: UInt8, radius: float, gain: tuple[float, ...] | None = None) -> UInt8:
    """The whole of an image (H,W,C) after ``box_blur``; a ``gain`` for each of C channels, or 1."""
    result = np.empty_like(image)
    gains = np.ones(image.shape[2], np.float32) if gain is None else np.array(gain, np.float32)
    box_blur(image, float(radius), gains, np.array([0, image.shape[0], 0, image.shape[1]]), result)
    return result


@compiled
def box_blur(image: UInt8, radius: float, gain: Float32, box: Int64, result: UInt8) -> None:
    """Means of squares of 2 ``radius`` + 1 pixels a side, parts of pixels included, times a ``gain`` (C,) a channel.

    ``image`` and ``result`` are (H,W,C), other arrays; only the pixels in ``box``, rows then columns as (first, end),
    are made.
    """
    height, width, channels = image.shape
    rows, made = image.reshape(height, width * channels), result.reshape(height, width * channels)
    reach = int(np.ceil(radius))
    whole = np.float32(1 / (2 * radius + 1))
    part = np.float32((radius - (reach - 1)) / (2 * radius + 1)) if reach else whole
    first, count = box[2] * channels, (box[3] - box[2]) * channels
    start, end = max(box[2] - reach, 0) * channels, min(box[3] + reach, width) * channels
    shift = (box[2] - reach) * channels  # of the columns that ``down`` holds
    down = np.empty(count + 2 * reach * channels, np.float32)
    total = np.empty(count, np.float32)
    gains = np.empty(count, np.float32)
    for j in range(count):
        gains[j] = gain[j % channels]
    for row in range(box[0], box[1]):
        inside = down[start - shift : end - shift]
        inside[:] = 0
        for k in range(-reach, reach + 1):
            weight = part if abs(k) == reach else whole
            line = rows[min(max(row + k, 0), height - 1), start:end]
            for j in range(end - start):
                inside[j] += weight * np.float32(line[j])
        for j in range(start - shift - 1, -1, -1):
            down[j] = down[j + channels]
        for j in range(end - shift, len(down)):
            down[j] = down[j - channels]
        total[:] = 0
        for k in range(2 * reach + 1):
            weight = part if abs(k - reach) == reach else whole
            shifted = down[k * channels : k * channels + count]
            for j in range(count):
                total[j] += weight * shifted[j]
        line = made[row, first : first + count]
        for j in range(count):
            line[j] = np.uint8(min(total[j] * gains[j] + np.float32(0.5), np.float32(255)))


@compiled
def convolve(image: UInt8, weights: Float32, box: Int64, result: UInt8) -> None:
    """Weighted sums of each pixel's surroundings, ``weights`` (K,K) with K odd; the rest as ``box_blur`` does."""
    height, width, channels = image.shape
    rows, made = image.reshape(height, width * channels), result.reshape(height, width * channels)
    reach = len(weights) // 2
    first, count = box[2] * channels, (box[3] - box[2]) * channels
    start, end = max(box[2] - reach, 0) * channels, min(box[3] + reach, width) * channels
    shift = (box[2] - reach) * channels
    wide = np.empty(count + 2 * reach * channels, np.float32)
    total = np.empty(count, np.float32)
    for row in range(box[0], box[1]):
        total[:] = 0
        for k in range(-reach, reach + 1):
            line = rows[min(max(row + k, 0), height - 1), start:end]
            inside = wide[start - shift : end - shift]
            for j in range(end - start):
                inside[j] = np.float32(line[j])
            for j in range(start - shift - 1, -1, -1):
                wide[j] = wide[j + channels]
            for j in range(end - shift, len(wide)):
                wide[j] = wide[j - channels]
            for across in range(2 * reach + 1):
                weight = weights[k + reach, across]
                if weight == 0:
                    continue
                shifted = wide[across * channels : across * channels + count]
                for j in range(count):
                    total[j] += weight * shifted[j]
        line = made[row, first : first + count]
        for j in range(count):
            line[j] = np.uint8(min(total[j] + np.float32(0.5), np.float32(255)))
