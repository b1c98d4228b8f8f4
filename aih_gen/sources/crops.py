"""Square crops of photos, with the camera that goes with each."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image

from aih_gen.typing import Array, Floating, Mask, UInt8


@dataclass(frozen=True)
class SquareCrop:
    """A square of a photo, brought to ``size`` pixels a side."""

    centre: tuple[float, float]
    """In pixels of the photo (x, y), (0, 0) being the middle of its first pixel."""
    side: float
    """In pixels of the photo."""
    size: int

    @property
    def scale(self) -> float:
        """Pixels of the crop in a pixel of the photo."""
        return self.size / self.side

    def matrix(self) -> Array:
        """(3,3) from pixels of the photo to pixels of the crop."""
        middle = (self.size - 1) / 2
        shift = [middle - self.scale * axis for axis in self.centre]
        return np.array([[self.scale, 0, shift[0]], [0, self.scale, shift[1]], [0, 0, 1.0]])

    def cut(self, photo: Image.Image) -> UInt8:
        """(size,size,3) the crop; black beyond the photo."""
        left, top = (axis + 0.5 - self.side / 2 for axis in self.centre)
        corner = int(np.floor(left)), int(np.floor(top))
        stop = int(np.ceil(left + self.side)), int(np.ceil(top + self.side))
        x, y = left - corner[0], top - corner[1]
        whole = photo.crop((*corner, *stop))  # Pillow pads with black
        box = (x, y, min(x + self.side, whole.width), min(y + self.side, whole.height))
        return np.asarray(whole.resize((self.size, self.size), Image.Resampling.BILINEAR, box))

    def inside(self, width: int, height: int) -> Mask:
        """(size,size) True where the crop shows the photo, of that width and height."""
        middle = (self.size - 1) / 2
        steps = (np.arange(self.size) - middle) / self.scale
        columns, rows = (
            (at >= -0.5) & (at < length - 0.5)
            for at, length in ((steps + self.centre[0], width), (steps + self.centre[1], height))
        )
        return rows[:, None] & columns


def crop_around(points: Floating, margin: float, size: int) -> SquareCrop:
    """The square around points (P,2), whose longer side is multiplied by ``margin``."""
    low, high = points.min(0), points.max(0)
    middle = (low + high) / 2
    side = max(float((high - low).max()), 1.0) * margin
    return SquareCrop((float(middle[0]), float(middle[1])), side, size)
