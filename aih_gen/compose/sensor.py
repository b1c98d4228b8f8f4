"""The sensor: blur, noise and compression of a sample's images, which stay equal wherever nothing was removed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np

from aih_gen.compose.compression import BLOCK, compressed
from aih_gen.kernels.blur import box_blur, convolve
from aih_gen.kernels.sensor import add_noise, changed_box, make_grey, mark_different, repeat_image, tone
from aih_gen.scenes.scene import Sensor
from aih_gen.scenes.sensor import PERFECT
from aih_gen.typing import Array, Float32, Int64, Mask, UInt8

STEP = 2
"""Longest step of motion blur, in pixels; longer motions take several."""
SEEN = 2
"""A shadow or blurred edge that changes no channel by more grey levels is not seen."""
RINGING = 12
"""Grey levels by which a target may differ from the image along the outline of what was removed and still repeat it.

JPEG and its coarse chroma change pixels there, in whole blocks a tenth of the image. A hole filled in a photo has this
very rim around it, as the photo is kept outside the hole.
"""

Work = Callable[[UInt8, Int64, UInt8], None]
"""Makes the pixels in a box of an image from those of another."""


def apply_sensor(images: UInt8, removed: Mask, sensor: Sensor) -> UInt8:
    """The image and both targets (3,H,W,3) as the sensor stores them; ``images`` may be overwritten.

    A target has its own pixels where something was ``removed`` (2,H,W), and where its shadow or blurred edge is seen;
    elsewhere it repeats the image to the bit, though noise and compression know no such borders.
    """
    if sensor == PERFECT:
        return images
    motion, radius = _motion_weights(sensor.motion), _defocus_radius(sensor.defocus)
    boxes = [_box(images, removed, side, len(motion) // 2 + int(np.ceil(radius))) for side in (0, 1)]
    gains = np.ones(3, np.float32)
    if len(motion) > 1:
        images = _each(images, boxes, lambda image, box, result: convolve(image, motion, box, result))
    if radius:
        images = _each(images, boxes, lambda image, box, result: box_blur(image, radius, gains, box, result))
    if sensor.gain != (1.0, 1.0, 1.0) or sensor.gamma != 1.0 or sensor.contrast:
        curves = _curves(sensor)
        images = _each(images, boxes, lambda image, box, result: tone(image, curves, box, result))
    kept = removed.copy()
    _mark(images, boxes, SEEN, kept)
    if sensor.shot_noise or sensor.read_noise:
        variance = sensor.shot_noise, sensor.read_noise**2
        images = _each(images, boxes, lambda image, box, result: add_noise(image, *variance, sensor.seed, box, result))
    if sensor.grey:
        make_grey(images)
    if sensor.jpeg is not None:
        images = _each(images, boxes, partial(compressed, sensor.jpeg))
        _mark(images, boxes, RINGING, kept)
    for side, box in enumerate(boxes):
        repeat_image(images[0], kept[side], box, images[1 + side])
    return images


def _each(images: UInt8, boxes: Sequence[Int64], work: Work) -> UInt8:
    """Do the same to the image, and to the targets in their boxes: outside them, they become the image."""
    result = np.empty_like(images)
    work(images[0], np.array([0, images.shape[1], 0, images.shape[2]]), result[0])
    for side, box in enumerate(boxes, 1):
        result[side] = result[0]
        if box[1]:
            work(images[side], box, result[side])
    return result


def _box(images: UInt8, removed: Mask, side: int, reach: int) -> Int64:
    """Rows and columns, as (first, end), of all in which a target may come to differ from the image.

    ``reach`` is blur's; JPEG changes whole blocks, and smooths their colours a pixel beyond.
    """
    box = np.empty(4, np.int64)
    changed_box(images[0], images[1 + side], removed[side], box)
    if box[0] >= box[1]:
        return np.zeros(4, np.int64)
    box[::2] = np.maximum((box[::2] - reach) // BLOCK * BLOCK - 1, 0)
    box[1::2] = np.minimum(-(-(box[1::2] + reach) // BLOCK) * BLOCK + 1, images.shape[1:3])
    return box


def _mark(images: UInt8, boxes: Sequence[Int64], tolerance: int, marks: Mask) -> None:
    for side, box in enumerate(boxes):
        mark_different(images[0], images[1 + side], tolerance, box, marks[side])


def _defocus_radius(deviation: float) -> float:
    """An unfocused lens makes discs, of which a box of the same deviation is no worse a model than a Gaussian."""
    return (float(np.sqrt(12 * deviation**2 + 1)) - 1) / 2


def _curves(sensor: Sensor) -> UInt8:
    """(3,256) exposure, white balance and tone curve."""
    values = np.clip(np.arange(256) / 255 * np.array(sensor.gain)[:, None], 0, 1) ** sensor.gamma
    values += sensor.contrast * (values * values * (3 - 2 * values) - values)
    return np.rint(255 * values).astype(np.uint8)


def _motion_weights(motion: tuple[float, float]) -> Float32:
    """(K,K) of a motion in px, right and down: a straight line's as often as there are steps, one after the other."""
    weights = np.ones((1, 1))
    steps = int(np.ceil(np.hypot(*motion) / STEP))
    for _ in range(steps):
        weights = _after(weights, _line(motion[0] / steps, motion[1] / steps))
    return weights.astype(np.float32)


def _line(right: float, down: float) -> Array:
    """(3,3) equal weight along a straight line through the middle."""
    weights = np.zeros((3, 3))
    for share in np.linspace(-0.5, 0.5, 17):
        x, y = 1 + share * right, 1 + share * down
        column, row = int(x), int(y)
        fx, fy = x - column, y - row
        for dy, dx in ((0, 0), (0, 1), (1, 0), (1, 1)):
            weight = (fy if dy else 1 - fy) * (fx if dx else 1 - fx)
            if weight > 0:
                weights[row + dy, column + dx] += weight
    return weights / weights.sum()


def _after(first: Array, second: Array) -> Array:
    """The weights of two convolutions, of which the ``second`` is (3,3), at once."""
    weights = np.zeros((len(first) + 2, len(first) + 2))
    for row, column in np.ndindex(3, 3):
        weights[row : row + len(first), column : column + len(first)] += second[row, column] * first
    return weights
