"""The sensor: blur, noise and compression of a sample's images, which stay equal wherever nothing was removed."""

from __future__ import annotations

import io
from collections.abc import Sequence
from functools import cache

import numpy as np
from PIL import Image, ImageFilter

from aih_gen.compose.packed_rgb import OPAQUE, PackedRGB, channels, from_pil, to_pil
from aih_gen.scenes.scene import Sensor
from aih_gen.scenes.sensor import PERFECT
from aih_gen.typing import Float32, Mask

KERNEL = 3
"""Side of one step of motion blur, in pixels; longer motions take several."""
BLOCK = 16
"""Side of JPEG's blocks; twice as far as the longest blur reaches."""
SEEN = 2
"""A shadow or blurred edge that changes no channel by more grey levels is not seen."""
RINGING = 12
"""Grey levels by which a target may differ from the image along the outline of what was removed and still repeat it.

JPEG and its coarse chroma change pixels there, in whole blocks a tenth of the image. A hole filled in a photo has this
very rim around it, as the photo is kept outside the hole.
"""
LUMA = np.array([19595, 38470, 7471, 0], np.uint32)
"""Weights of red, green and blue in grey (ITU-R BT.601), in 65536ths."""
GREY_PIXEL = np.array([1, 1, 1, 0], np.uint8).view(np.uint32)[0]


def apply_sensor(
    image: PackedRGB, targets: Sequence[PackedRGB], removed: Sequence[Mask], sensor: Sensor
) -> tuple[PackedRGB, list[PackedRGB]]:
    """Image and targets (H,W) as the sensor stores them.

    A target has its own pixels where something was ``removed`` (H,W), and where its shadow or blurred edge is seen;
    elsewhere it repeats the image to the bit, though noise and compression know no such borders.
    """
    if sensor == PERFECT:
        return image, list(targets)
    grain = _grain(sensor, image.shape)
    exposed = _exposed(image, sensor)
    stored = _stored(_noisy(exposed, grain, sensor), sensor)
    stored_targets = []
    for target, hole in zip(targets, removed, strict=True):
        changed = hole | (target != image)
        if not changed.any():
            stored_targets.append(stored.copy())
            continue
        where = _surroundings(changed)
        wider, back = _widened(where)
        own = _exposed(target[wider], sensor)[back]  # or blur at the cut would reach, through JPEG, a block inwards
        seen = _differ(own, exposed[where], SEEN)
        own = _stored(_noisy(own, None if grain is None else grain[where], sensor), sensor)
        if sensor.jpeg is not None:
            seen |= _differ(own, stored[where], RINGING)
        seen &= _inside(where, image.shape)
        result = stored.copy()
        np.copyto(result[where], own, where=seen | hole[where])
        stored_targets.append(result)
    return stored, stored_targets


def _differ(first: PackedRGB, second: PackedRGB, tolerance: int) -> Mask:
    """(...) True where some channel of two images differs by more than that."""
    a, b = (channels(np.ascontiguousarray(pixels)) for pixels in (first, second))
    beyond = np.maximum(a, b) - np.minimum(a, b) > tolerance
    return beyond.view(np.uint32)[..., 0] != 0


def _surroundings(mask: Mask) -> tuple[slice, slice]:
    """Rows and columns around everything in a mask, in whole blocks of JPEG and beyond the reach of any blur."""
    places = []
    for axis in (1, 0):
        found = np.flatnonzero(mask.any(axis))
        low, high = int(found[0]), int(found[-1]) + 1
        places.append(slice(max(low // BLOCK - 1, 0) * BLOCK, (high // BLOCK + 2) * BLOCK))
    return places[0], places[1]


def _widened(where: tuple[slice, slice]) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
    """Rows and columns as far beyond a cut-out as blur reaches, and where the cut-out lies in them."""
    starts = [max(place.start - BLOCK // 2, 0) for place in where]
    wider = tuple(slice(start, place.stop + BLOCK // 2) for start, place in zip(starts, where, strict=True))
    back = tuple(slice(place.start - start, place.stop - start) for start, place in zip(starts, where, strict=True))
    return (wider[0], wider[1]), (back[0], back[1])


def _inside(where: tuple[slice, slice], shape: tuple[int, ...]) -> Mask:
    """The part of a cut-out that a blur at its borders does not reach; the image's own borders are no cut."""
    axes = []
    for place, length in zip(where, shape, strict=True):
        index = np.arange(place.start, min(place.stop, length))
        near_start = (index < place.start + BLOCK // 2) & (place.start > 0)
        near_end = (index >= place.stop - BLOCK // 2) & (place.stop < length)
        axes.append(~(near_start | near_end))
    return axes[0][:, None] & axes[1]


def _exposed(image: PackedRGB, sensor: Sensor) -> PackedRGB:
    """Motion blur, defocus, exposure and white balance, tone curve."""
    shown = to_pil(image)
    length = float(np.hypot(*sensor.motion))
    steps = int(np.ceil(length / (KERNEL - 1)))
    for _ in range(steps):
        shown = shown.filter(_motion_kernel(sensor.motion[0] / steps, sensor.motion[1] / steps))
    if sensor.defocus:
        # An unfocused lens makes discs, of which a box of the same deviation is no worse a model than a Gaussian.
        shown = shown.filter(ImageFilter.BoxBlur((float(np.sqrt(12 * sensor.defocus**2 + 1)) - 1) / 2))
    if sensor.gain != (1.0, 1.0, 1.0) or sensor.gamma != 1.0 or sensor.contrast:
        values = np.clip(np.arange(256) / 255 * np.array([*sensor.gain, 1.0])[:, None], 0, 1) ** sensor.gamma
        values += sensor.contrast * (values * values * (3 - 2 * values) - values)
        shown = shown.point(np.rint(255 * values).astype(np.uint8).tobytes())
    return from_pil(shown)


def _motion_kernel(right: float, down: float) -> ImageFilter.Kernel:
    """Equal weight along a straight line through the middle."""
    weights = np.zeros((KERNEL, KERNEL))
    for share in np.linspace(-0.5, 0.5, 17):
        x, y = (KERNEL // 2 + share * d for d in (right, down))
        column, row = int(x), int(y)
        fx, fy = x - column, y - row
        for dy, dx in ((0, 0), (0, 1), (1, 0), (1, 1)):
            weight = (fy if dy else 1 - fy) * (fx if dx else 1 - fx)
            if weight > 0:
                weights[row + dy, column + dx] += weight
    return ImageFilter.Kernel((KERNEL, KERNEL), (weights / weights.sum()).ravel().tolist(), scale=1)


def _grain(sensor: Sensor, shape: tuple[int, ...]) -> Float32 | None:
    """The same noise (H,W,4) for every image of a sample: a window of one large table."""
    if not (sensor.read_noise or sensor.shot_noise):
        return None
    side = max(2 * max(shape), 768)
    rng = np.random.Generator(np.random.SFC64(sensor.seed))
    row, column = (int(rng.integers(side - length)) for length in shape)
    return _noise_table(side)[row : row + shape[0], column : column + shape[1]]


@cache
def _noise_table(side: int) -> Float32:
    """(side,side,4); the last channel is 0."""
    noise = np.random.Generator(np.random.SFC64(1)).standard_normal((side, side, 3), np.float32)
    return np.pad(noise, ((0, 0), (0, 0), (0, 1)))


def _noisy(image: PackedRGB, grain: Float32 | None, sensor: Sensor) -> PackedRGB:
    """Pixels (...) with noise from ``grain`` (...,4)."""
    if grain is None:
        return image
    levels = channels(image).astype(np.float32)
    noise = levels * np.float32(sensor.shot_noise)
    noise += np.float32(sensor.read_noise**2)
    np.sqrt(noise, out=noise)
    noise *= grain
    noise += levels
    noise += np.float32(0.5)  # so that the conversion below rounds
    return np.clip(noise, 0, 255, out=noise).astype(np.uint8).view(np.uint32)[..., 0]


def _stored(image: PackedRGB, sensor: Sensor) -> PackedRGB:
    if sensor.grey:
        levels = channels(np.ascontiguousarray(image)).astype(np.uint32) @ LUMA
        image = (levels >> 16) * GREY_PIXEL | OPAQUE
    if sensor.jpeg is None:
        return image
    buffer = io.BytesIO()
    to_pil(image).save(buffer, "JPEG", quality=sensor.jpeg)
    return from_pil(Image.open(buffer, formats=["JPEG"]))
