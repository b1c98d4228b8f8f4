"""Images as one number a pixel."""

from __future__ import annotations

import numpy as np
from PIL import Image

from aih_gen.compose.packed_rgb import OPAQUE, channels, from_pil, pack, to_pil, unpack

IMAGE = np.random.default_rng(0).integers(0, 256, (5, 7, 3), np.uint8)


def test_packing_an_image_loses_nothing() -> None:
    pixels = pack(IMAGE)
    assert pixels.shape == (5, 7)
    assert np.array_equal(unpack(pixels), IMAGE)
    assert np.array_equal(unpack(pixels[1:4, 2:6]), IMAGE[1:4, 2:6])
    assert np.array_equal(channels(pixels)[..., :3], IMAGE)


def test_equal_colours_are_equal_numbers_whatever_the_fourth_byte_was() -> None:
    colours = Image.frombytes("RGBX", (2, 1), bytes([9, 8, 7, 0, 9, 8, 7, 200]))
    first, second = from_pil(colours)[0]
    assert first == second
    assert first & OPAQUE == OPAQUE
    assert np.array_equal(from_pil(to_pil(pack(IMAGE))), pack(IMAGE))
