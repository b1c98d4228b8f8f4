"""Textures of things behind the hands."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from aih_gen.kernels.compiled import compiled

Float32 = NDArray[np.float32]
UInt8 = NDArray[np.uint8]


@compiled
def sqrt_encoded(linear: Float32) -> UInt8:
    """(H,W,3) square roots of ``linear`` reflectances (H,W,3), 0 to 255."""
    stored = np.empty(linear.shape, np.uint8)
    for row in range(linear.shape[0]):
        for column in range(linear.shape[1]):
            for channel in range(3):
                share = min(max(linear[row, column, channel], np.float32(0)), np.float32(1))
                stored[row, column, channel] = np.uint8(np.float32(255) * np.sqrt(share) + np.float32(0.5))
    return stored
