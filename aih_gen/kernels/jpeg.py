"""JPEG's loss, chroma subsampling and quantisation: no file is written, as entropy coding loses nothing."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from aih_gen.kernels.compiled import compiled

Float32 = NDArray[np.float32]
Int64 = NDArray[np.int64]
UInt8 = NDArray[np.uint8]

SIDE = 16
"""Pixels a side of a minimum coded unit: four blocks of luma, one of each chroma."""
ROUNDING = np.float32(1.5 * 2**23)
"""Added to a smaller number and taken away again, it leaves the nearest whole one."""
LOW, HIGH = np.float32(-128), np.float32(127)


@compiled
def compress(image: UInt8, cosines: Float32, inverse: Float32, steps: Float32, box: Int64, result: UInt8) -> None:
    """The pixels in ``box`` of ``result`` (H,W,3) become those of ``image`` after JPEG; sides are multiples of 16.

    YCbCr as in JFIF, 4:2:0: a chroma is the mean of 2 by 2 pixels. Blocks of 8 by 8 in a cosine transform, by the
    orthonormal ``cosines`` (8,8), frequencies first, and their ``inverse``, are quantised in ``steps`` (2,8,8), of luma
    and of chroma, which is then interpolated as libjpeg does.
    """
    height, width = image.shape[:2]
    top, bottom = max(box[0] - 2, 0) // SIDE * SIDE, (min(box[1] + 2, height) + SIDE - 1) // SIDE * SIDE
    left, right = max(box[2] - 2, 0) // SIDE * SIDE, (min(box[3] + 2, width) + SIDE - 1) // SIDE * SIDE
    luma = np.empty((bottom - top, right - left), np.float32)
    chroma = np.empty((2, (bottom - top) // 2, (right - left) // 2), np.float32)
    _to_ycbcr(image, top, left, luma, chroma)
    _quantise(luma, cosines, inverse, steps[0])
    for k in range(2):
        _quantise(chroma[k], cosines, inverse, steps[1])
    _from_ycbcr(luma, chroma, top, left, box, result)


@compiled
def _to_ycbcr(image: UInt8, top: int, left: int, luma: Float32, chroma: Float32) -> None:
    """Luma (H,W), less 128, and chroma (2,H/2,W/2), blue first, of the part of an image from ``top``, ``left`` on."""
    rows = image.reshape(image.shape[0], image.shape[1] * 3)
    height, width = luma.shape
    blue, red = np.empty(width, np.float32), np.empty(width, np.float32)
    for row in range(height):
        line, out = rows[top + row, 3 * left : 3 * (left + width)], luma[row]
        for j in range(width):
            r, g, b = np.float32(line[3 * j]), np.float32(line[3 * j + 1]), np.float32(line[3 * j + 2])
            out[j] = np.float32(0.299) * r + np.float32(0.587) * g + np.float32(0.114) * b + LOW
            blue[j] = np.float32(-0.168736) * r - np.float32(0.331264) * g + np.float32(0.5) * b
            red[j] = np.float32(0.5) * r - np.float32(0.418688) * g - np.float32(0.081312) * b
        first, second = chroma[0, row // 2], chroma[1, row // 2]
        for j in range(width // 2):
            if row % 2 == 0:
                first[j] = second[j] = 0
            first[j] += np.float32(0.25) * (blue[2 * j] + blue[2 * j + 1])
            second[j] += np.float32(0.25) * (red[2 * j] + red[2 * j + 1])


@compiled
def _quantise(plane: Float32, cosines: Float32, inverse: Float32, steps: Float32) -> None:
    """Quantise the blocks of a plane (H,W) in the ``steps`` (8,8) of their frequencies; levels stay in -128 to 127."""
    height, width = plane.shape
    count = width // 8
    strip, turned = np.empty((8, width), np.float32), np.empty((8, width), np.float32)
    for row in range(0, height, 8):
        lines = plane[row : row + 8]
        _multiply(cosines, lines, strip)
        for u in range(8):  # the second axis comes first, so that both are multiplied alike
            for x in range(8):
                for k in range(count):
                    turned[x, u * count + k] = strip[u, 8 * k + x]
        _multiply(cosines, turned, strip)
        for v in range(8):
            for u in range(8):
                step = steps[u, v]
                for j in range(u * count, (u + 1) * count):
                    strip[v, j] = ((strip[v, j] / step + ROUNDING) - ROUNDING) * step
        _multiply(inverse, strip, turned)
        for u in range(8):
            for x in range(8):
                for k in range(count):
                    strip[u, 8 * k + x] = turned[x, u * count + k]
        _multiply(inverse, strip, lines)
        for y in range(8):
            for j in range(width):
                lines[y, j] = min(max(lines[y, j], LOW), HIGH)


@compiled
def _multiply(matrix: Float32, lines: Float32, result: Float32) -> None:
    """The product of a ``matrix`` (8,8) and ``lines`` (8,W)."""
    for u in range(8):
        m, line = matrix[u], result[u]
        for j in range(lines.shape[1]):
            line[j] = (
                m[0] * lines[0, j]
                + m[1] * lines[1, j]
                + m[2] * lines[2, j]
                + m[3] * lines[3, j]
                + m[4] * lines[4, j]
                + m[5] * lines[5, j]
                + m[6] * lines[6, j]
                + m[7] * lines[7, j]
            )


@compiled
def _from_ycbcr(luma: Float32, chroma: Float32, top: int, left: int, box: Int64, result: UInt8) -> None:
    """Colours of the pixels in ``box`` from luma and chroma of a larger part, which begins at ``top``, ``left``."""
    half = chroma.shape[2]
    made = result.reshape(result.shape[0], result.shape[1] * 3)
    narrow, wide = np.empty((2, half + 2), np.float32), np.empty((2, 2 * half), np.float32)
    near_share, far_share = np.float32(0.75), np.float32(0.25)
    for row in range(box[0], box[1]):
        near = (row - top) // 2
        far = min(max(near + (1 if row % 2 else -1), 0), chroma.shape[1] - 1)
        for k in range(2):
            near_line, far_line = chroma[k, near], chroma[k, far]
            inside, out = narrow[k], wide[k]
            for j in range(half):
                inside[j + 1] = near_share * near_line[j] + far_share * far_line[j]
            inside[0], inside[half + 1] = inside[1], inside[half]
            for j in range(half):
                out[2 * j] = near_share * inside[j + 1] + far_share * inside[j]
                out[2 * j + 1] = near_share * inside[j + 1] + far_share * inside[j + 2]
        first, count = box[2] - left, box[3] - box[2]
        line, pixels = luma[row - top, first : first + count], made[row, 3 * box[2] : 3 * box[3]]
        blue, red = wide[0, first : first + count], wide[1, first : first + count]
        for j in range(count):
            level = line[j] + np.float32(128.5)
            pixels[3 * j] = _byte(level + np.float32(1.402) * red[j])
            pixels[3 * j + 1] = _byte(level - np.float32(0.344136) * blue[j] - np.float32(0.714136) * red[j])
            pixels[3 * j + 2] = _byte(level + np.float32(1.772) * blue[j])


@compiled
def _byte(value: np.float32) -> np.uint8:
    return np.uint8(min(max(value, np.float32(0)), np.float32(255)))
