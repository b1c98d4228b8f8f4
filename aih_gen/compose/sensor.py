"""What a camera does to the pictures of a sample, so that they stay equal wherever nothing was taken away."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from aih_gen.scenes.scene import Sensor

Picture = NDArray[np.uint8]
KERNEL = 5
"""Side of one step of motion blur, in pixels; longer motions take several."""
SEEN = 2
"""A shadow or blurred edge that changes no channel by more grey levels is not seen."""


def sense(
    image: Picture, targets: Sequence[Picture], taken: Sequence[NDArray[np.bool_]], sensor: Sensor
) -> tuple[Picture, list[Picture]]:
    """Image and targets (H,W,3) as the sensor stores them.

    A target has its own pixels where something was ``taken`` (H,W) away and where that thing's shadow or blurred edge
    is seen; elsewhere it repeats the image to the bit, though noise and compression know no such borders.
    """
    grain = _grain(sensor, image.shape)
    exposed = [_exposed(picture, sensor) for picture in (image, *targets)]
    stored = [_stored(_noisy(picture, grain, sensor), sensor) for picture in exposed]
    kept = []
    for k, gone in enumerate(taken, 1):
        seen = np.abs(exposed[k].astype(np.int16) - exposed[0]).max(-1) > SEEN
        kept.append(np.where((gone | seen)[..., None], stored[k], stored[0]))
    return stored[0], kept


def _exposed(picture: Picture, sensor: Sensor) -> Picture:
    """Motion blur, defocus, exposure and white balance, tone curve."""
    shown = Image.fromarray(picture)
    length = float(np.hypot(*sensor.motion))
    steps = int(np.ceil(length / (KERNEL - 1)))
    for _ in range(steps):
        shown = shown.filter(_motion_kernel(sensor.motion[0] / steps, sensor.motion[1] / steps))
    if sensor.defocus:
        shown = shown.filter(ImageFilter.GaussianBlur(sensor.defocus))
    if sensor.gain == (1.0, 1.0, 1.0) and sensor.gamma == 1.0:
        return np.asarray(shown)
    values = np.clip(np.arange(256)[:, None] / 255 * np.asarray(sensor.gain), 0, 1) ** sensor.gamma
    return np.asarray(shown.point(np.rint(255 * values).astype(int).T.ravel().tolist()))


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


def _grain(sensor: Sensor, shape: tuple[int, ...]) -> NDArray[np.float32] | None:
    """The same noise for every picture of a sample."""
    if not (sensor.read_noise or sensor.shot_noise):
        return None
    return np.random.Generator(np.random.SFC64(sensor.seed)).standard_normal(shape, np.float32)


def _noisy(picture: Picture, grain: NDArray[np.float32] | None, sensor: Sensor) -> Picture:
    if grain is None:
        return picture
    deviation = np.sqrt(sensor.read_noise**2 + sensor.shot_noise * np.arange(256)).astype(np.float32)
    return np.clip(np.rint(picture + grain * deviation[picture]), 0, 255).astype(np.uint8)


def _stored(picture: Picture, sensor: Sensor) -> Picture:
    if sensor.jpeg is None:
        return picture
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "JPEG", quality=sensor.jpeg)
    return np.asarray(Image.open(buffer))
