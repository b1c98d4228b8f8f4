"""JPEG as cameras and websites use it, without a file: the loss alone."""

from __future__ import annotations

from functools import cache

import numpy as np

from aih_gen.kernels.jpeg import SIDE, compress
from aih_gen.typing import Float32, Int64, UInt8

BLOCK = SIDE
"""Side, in pixels, of the squares within which an image changes if one of their pixels does."""

LUMA = np.array(
    [
        [16, 11, 10, 16, 24, 40, 51, 61],
        [12, 12, 14, 19, 26, 58, 60, 55],
        [14, 13, 16, 24, 40, 57, 69, 56],
        [14, 17, 22, 29, 51, 87, 80, 62],
        [18, 22, 37, 56, 68, 109, 103, 77],
        [24, 35, 55, 64, 81, 104, 113, 92],
        [49, 64, 78, 87, 103, 121, 120, 101],
        [72, 92, 95, 98, 112, 100, 103, 99],
    ]
)
"""Quantisation table of luma at quality 50 (ITU-T T.81, table K.1)."""
CHROMA = np.full((8, 8), 99)
"""That of chroma (table K.2)."""
CHROMA[:4, :4] = [[17, 18, 24, 47], [18, 21, 26, 66], [24, 26, 56, 99], [47, 66, 99, 99]]


def compressed(quality: int, image: UInt8, box: Int64, result: UInt8) -> None:
    """The pixels in ``box`` of ``result`` (H,W,3) become those of ``image`` stored with this quality, 1 to 100."""
    compress(image, *_cosines(), _steps(quality), box, result)


@cache
def _cosines() -> tuple[Float32, Float32]:
    """(8,8) the orthonormal cosine transform, frequencies first, and its inverse."""
    frequency, place = np.indices((8, 8))
    cosines = np.cos((2 * place + 1) * frequency * np.pi / 16) / 2
    cosines[0] /= np.sqrt(2)
    return cosines.astype(np.float32), np.ascontiguousarray(cosines.T, np.float32)


@cache
def _steps(quality: int) -> Float32:
    """(2,8,8) as libjpeg scales them."""
    percent = 5000 // quality if quality < 50 else 200 - 2 * quality
    return np.clip((np.stack([LUMA, CHROMA]) * percent + 50) // 100, 1, 255).astype(np.float32)
