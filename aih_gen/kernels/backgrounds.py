"""Views of photographs, and shading of what is drawn."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from aih_gen.kernels.compiled import compiled

Array = NDArray[np.float64]
Float32 = NDArray[np.float32]
Int64 = NDArray[np.int64]
UInt8 = NDArray[np.uint8]


@compiled
def view(photo: UInt8, affine: Array, result: UInt8) -> None:
    """``result`` (H,W,3) by bilinear sampling; ``affine`` (2,3) leads from its pixels to those of the photo, at whose
    borders the view ends."""
    height, width = photo.shape[:2]
    pixels, rows = photo.reshape(photo.size), result.reshape(len(result), result.shape[1] * 3)
    across, down = int(np.rint(affine[0, 0] * 65536)), int(np.rint(affine[1, 0] * 65536))
    last_column, last_row = ((width - 1) << 16) - 1, ((height - 1) << 16) - 1
    after, below = np.uint64(3), np.uint64(3 * width)  # places without a sign need no check for negative ones
    for row in range(len(result)):
        x = int(np.rint((affine[0, 1] * row + affine[0, 2]) * 65536))
        y = int(np.rint((affine[1, 1] * row + affine[1, 2]) * 65536))
        line = rows[row]
        for column in range(result.shape[1]):
            at_x, at_y = min(max(x + across * column, 0), last_column), min(max(y + down * column, 0), last_row)
            right_share, lower_share = (at_x >> 8) & 255, (at_y >> 8) & 255
            left_share, upper_share = 256 - right_share, 256 - lower_share
            first = np.uint64(3 * ((at_y >> 16) * width + (at_x >> 16)))
            for channel in range(3):
                place = first + np.uint64(channel)
                upper = pixels[place] * left_share + pixels[place + after] * right_share
                lower = pixels[place + below] * left_share + pixels[place + below + after] * right_share
                line[3 * column + channel] = (upper * upper_share + lower * lower_share + 32768) >> 16


@compiled
def double(image: UInt8, result: UInt8) -> None:
    """``result`` (2H,2W,C) by bilinear interpolation of ``image`` (H,W,C)."""
    height, width, channels = image.shape
    rows, made = image.reshape(height, width * channels), result.reshape(2 * height, 2 * width * channels)
    wide = np.empty((width + 2) * channels, np.float32)
    inside = wide[channels : (width + 1) * channels]
    for row in range(2 * height):
        near = row // 2
        far = min(max(near + (1 if row % 2 else -1), 0), height - 1)
        near_line, far_line, line = rows[near], rows[far], made[row]
        for j in range(width * channels):
            inside[j] = np.float32(0.75) * np.float32(near_line[j]) + np.float32(0.25) * np.float32(far_line[j])
        for channel in range(channels):
            wide[channel] = wide[channels + channel]
            wide[(width + 1) * channels + channel] = wide[width * channels + channel]
        for column in range(width):
            for channel in range(channels):
                j = column * channels + channel
                middle = np.float32(0.75) * inside[j] + np.float32(0.5)
                line[j + column * channels] = np.uint8(middle + np.float32(0.25) * wide[j])
                line[j + (column + 1) * channels] = np.uint8(middle + np.float32(0.25) * wide[j + 2 * channels])


@compiled
def stretch(
    coarse: Float32, rows: Int64, row_weights: Float32, columns: Int64, column_weights: Float32, result: Float32
) -> None:
    """Add to ``result`` (H,W) weighted sums of ``coarse`` values (R,C).

    Row k is of the ``coarse`` ones from ``rows[k]`` (H,) on, with ``row_weights[k]`` (H,K); columns alike.
    """
    height, width = result.shape
    wide = np.empty((len(coarse), width), np.float32)
    for row in range(len(coarse)):
        line = coarse[row]
        for column in range(width):
            total = np.float32(0)
            for k in range(column_weights.shape[1]):
                total += column_weights[column, k] * line[columns[column] + k]
            wide[row, column] = total
    for row in range(height):
        line = result[row]
        for k in range(row_weights.shape[1]):
            weight, source = row_weights[row, k], wide[rows[row] + k]
            for column in range(width):
                line[column] += weight * source[column]


@compiled
def blend_corners(corners: Float32, weights: Float32, result: UInt8) -> None:
    """``result`` (S,S,3) from the colours (2,2,3) of its corners, with ``weights`` (S,2) along both axes."""
    size = len(result)
    rows = result.reshape(size, size * 3)
    for row in range(size):
        line, upper, lower = rows[row], weights[row, 0], weights[row, 1]
        for channel in range(3):
            left = upper * corners[0, 0, channel] + lower * corners[1, 0, channel] + np.float32(0.5)
            right = upper * corners[0, 1, channel] + lower * corners[1, 1, channel] + np.float32(0.5)
            for j in range(size):
                level = weights[j, 0] * left + weights[j, 1] * right
                line[3 * j + channel] = np.uint8(min(max(level, np.float32(0)), np.float32(255)))


@compiled
def shade(image: UInt8, shading: Float32) -> None:
    """Multiply ``image`` (H,W,3) by 1 + ``shading`` (H,W), at most 2."""
    height, width = shading.shape
    rows = image.reshape(height, width * 3)
    for row in range(height):
        line, gains = rows[row], shading[row]
        for j in range(width):
            gain = min(max(np.float32(1) + gains[j], np.float32(0)), np.float32(2))
            line[3 * j] = _lit(line[3 * j], gain)
            line[3 * j + 1] = _lit(line[3 * j + 1], gain)
            line[3 * j + 2] = _lit(line[3 * j + 2], gain)


@compiled
def _lit(level: np.uint8, gain: np.float32) -> np.uint8:
    return np.uint8(min(np.float32(level) * gain + np.float32(0.5), np.float32(255)))
