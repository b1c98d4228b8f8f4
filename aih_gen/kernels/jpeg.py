"""JPEG's loss: no file is written, as coding its numbers would lose nothing more."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from aih_gen.kernels.compiled import compiled

Float32 = NDArray[np.float32]
Int64 = NDArray[np.int64]
UInt8 = NDArray[np.uint8]

SIDE = 16
"""Of the squares that are compressed together: four blocks of brightness, one of each colour difference."""
WHOLE = np.float32(1.5 * 2**23)
"""Added to a smaller number and taken away again, it leaves the nearest whole one."""
LOW, HIGH = np.float32(-128), np.float32(127)


@compiled
def compress(image: UInt8, cosines: Float32, inverse: Float32, steps: Float32, box: Int64, result: UInt8) -> None:
    """The pixels in ``box`` of ``result`` (H,W,3) become those of ``image`` after JPEG; sides are multiples of 16.

    Brightness and colour differences as in JFIF, the latter at half the resolution, means of 2 by 2 pixels; blocks of 8
    by 8 in a cosine transform, by the orthonormal ``cosines`` (8,8), frequencies first, in whole ``steps`` (2,8,8), of
    brightness and of colour differences; these are then interpolated as libjpeg does.
    """
    height, width = image.shape[:2]
    top, bottom = max(box[0] - 2, 0) // SIDE * SIDE, (min(box[1] + 2, height) + SIDE - 1) // SIDE * SIDE
    left, right = max(box[2] - 2, 0) // SIDE * SIDE, (min(box[3] + 2, width) + SIDE - 1) // SIDE * SIDE
    squares = (right - left) // SIDE
    light = np.empty((bottom - top, right - left), np.float32)
    colours = np.empty(((bottom - top) // 2, 2, (right - left) // 2), np.float32)
    blocks, turned = np.empty((64, 6 * squares), np.float32), np.empty((64, 6 * squares), np.float32)
    for row in range(0, bottom - top, SIDE):
        bright, coloured = light[row : row + SIDE], colours[row // 2 : row // 2 + 8]
        _separate(image, top + row, left, bright, coloured)
        _move(bright, coloured, blocks, True)
        _transform(cosines, blocks, turned)
        for place in range(64):
            for k in range(4 * squares):
                blocks[place, k] = _rounded(blocks[place, k], steps[0, place])
            for k in range(4 * squares, 6 * squares):
                blocks[place, k] = _rounded(blocks[place, k], steps[1, place])
        _transform(inverse, blocks, turned)
        _move(bright, coloured, blocks, False)
    _join(light, colours, top, left, box, result)


@compiled
def _separate(image: UInt8, top: int, left: int, light: Float32, colours: Float32) -> None:
    """Brightness (16,W), less 128, and colour differences (8,2,W/2) of a row of squares."""
    rows = image.reshape(image.shape[0], image.shape[1] * 3)
    width = light.shape[1]
    blue, red = np.empty(width, np.float32), np.empty(width, np.float32)
    for row in range(SIDE):
        line, out = rows[top + row, 3 * left : 3 * (left + width)], light[row]
        for j in range(width):
            r, g, b = np.float32(line[3 * j]), np.float32(line[3 * j + 1]), np.float32(line[3 * j + 2])
            out[j] = np.float32(0.299) * r + np.float32(0.587) * g + np.float32(0.114) * b + LOW
            blue[j] = np.float32(-0.168736) * r - np.float32(0.331264) * g + np.float32(0.5) * b
            red[j] = np.float32(0.5) * r - np.float32(0.418688) * g - np.float32(0.081312) * b
        first, second = colours[row // 2, 0], colours[row // 2, 1]
        for j in range(width // 2):
            if row % 2 == 0:
                first[j] = second[j] = 0
            first[j] += np.float32(0.25) * (blue[2 * j] + blue[2 * j + 1])
            second[j] += np.float32(0.25) * (red[2 * j] + red[2 * j + 1])


@compiled
def _move(light: Float32, colours: Float32, blocks: Float32, into: bool) -> None:
    """Pixels into ``blocks`` (64,N), or out of them as far as bytes hold them.

    The blocks' number comes last, as what is done to all of them alike runs along it.
    """
    squares = colours.shape[2] // 8
    for y in range(8):
        for x in range(8):
            line = blocks[8 * y + x]
            for part in range(4):
                pixels = light[y + 8 * part] if part < 2 else colours[y, part - 2]
                first = 2 * squares * part if part < 2 else squares * (part + 2)
                for k in range(2 * squares if part < 2 else squares):
                    if into:
                        line[first + k] = pixels[8 * k + x]
                    else:
                        pixels[8 * k + x] = min(max(line[first + k], LOW), HIGH)


@compiled
def _transform(matrix: Float32, blocks: Float32, between: Float32) -> None:
    """Multiply along both axes of ``blocks`` (64,N)."""
    for x in range(8):
        _multiply(matrix, blocks, x, 8, between)
    for y in range(8):
        _multiply(matrix, between, 8 * y, 1, blocks)


@compiled
def _multiply(matrix: Float32, lines: Float32, first: int, step: int, result: Float32) -> None:
    for u in range(8):
        m, line = matrix[u], result[first + step * u]
        for j in range(lines.shape[1]):
            line[j] = (
                m[0] * lines[first, j]
                + m[1] * lines[first + step, j]
                + m[2] * lines[first + 2 * step, j]
                + m[3] * lines[first + 3 * step, j]
                + m[4] * lines[first + 4 * step, j]
                + m[5] * lines[first + 5 * step, j]
                + m[6] * lines[first + 6 * step, j]
                + m[7] * lines[first + 7 * step, j]
            )


@compiled
def _rounded(value: np.float32, step: np.float32) -> np.float32:
    return ((value / step + WHOLE) - WHOLE) * step


@compiled
def _join(light: Float32, colours: Float32, top: int, left: int, box: Int64, result: UInt8) -> None:
    """Colours of the pixels in ``box`` from the brightness and colour differences of a larger one."""
    half = colours.shape[2]
    made = result.reshape(result.shape[0], result.shape[1] * 3)
    narrow, wide = np.empty((2, half + 2), np.float32), np.empty((2, 2 * half), np.float32)
    near_share, far_share = np.float32(0.75), np.float32(0.25)
    for row in range(box[0], box[1]):
        near = (row - top) // 2
        far = min(max(near + (1 if row % 2 else -1), 0), len(colours) - 1)
        for k in range(2):
            near_line, far_line = colours[near, k], colours[far, k]
            inside, out = narrow[k], wide[k]
            for j in range(half):
                inside[j + 1] = near_share * near_line[j] + far_share * far_line[j]
            inside[0], inside[half + 1] = inside[1], inside[half]
            for j in range(half):
                out[2 * j] = near_share * inside[j + 1] + far_share * inside[j]
                out[2 * j + 1] = near_share * inside[j + 1] + far_share * inside[j + 2]
        first, count = box[2] - left, box[3] - box[2]
        line, pixels = light[row - top, first : first + count], made[row, 3 * box[2] : 3 * box[3]]
        blue, red = wide[0, first : first + count], wide[1, first : first + count]
        for j in range(count):
            level = line[j] + np.float32(128.5)
            pixels[3 * j] = _byte(level + np.float32(1.402) * red[j])
            pixels[3 * j + 1] = _byte(level - np.float32(0.344136) * blue[j] - np.float32(0.714136) * red[j])
            pixels[3 * j + 2] = _byte(level + np.float32(1.772) * blue[j])


@compiled
def _byte(value: np.float32) -> np.uint8:
    return np.uint8(min(max(value, np.float32(0)), np.float32(255)))
