"""Pictures as one number a pixel."""

from __future__ import annotations

import numpy as np
from PIL import Image

from aih_gen.compose.pixels import OPAQUE, channels, from_image, from_picture, to_image, to_picture

PICTURE = np.random.default_rng(0).integers(0, 256, (5, 7, 3), np.uint8)


def test_a_picture_comes_back_from_its_pixels() -> None:
    pixels = from_picture(PICTURE)
    assert pixels.shape == (5, 7)
    assert np.array_equal(to_picture(pixels), PICTURE)
    assert np.array_equal(to_picture(pixels[1:4, 2:6]), PICTURE[1:4, 2:6])
    assert np.array_equal(channels(pixels)[..., :3], PICTURE)


def test_equal_colours_are_equal_numbers_whatever_the_fourth_byte_was() -> None:
    colours = Image.frombytes("RGBX", (2, 1), bytes([9, 8, 7, 0, 9, 8, 7, 200]))
    first, second = from_image(colours)[0]
    assert first == second
    assert first & OPAQUE == OPAQUE
    assert np.array_equal(from_image(to_image(from_picture(PICTURE))), from_picture(PICTURE))
