"""The camera behind the lens: exposure, blur, noise and compression, as numbers."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from aih_gen.scenes.scene import Sensor
from aih_gen.typing import Look

PERFECT = Sensor((0.0, 0.0), 0.0, (1.0, 1.0, 1.0), 1.0, 0.0, 0.0, None, 0)
"""Leaves every pixel as it is drawn."""
GREY = 0.05
"""Share of grey images."""


def sample_grey(rng: np.random.Generator, sensor: Sensor) -> Sensor:
    """The same camera, or in a share of scenes one that takes grey images, some of them hard black and white."""
    if rng.random() >= GREY:
        return sensor
    hard = rng.uniform(0.3, 1.0) if rng.random() < 0.4 else 0.0
    return replace(sensor, gain=(sensor.gain[1],) * 3, grey=True, contrast=float(hard))


def sample_sensor(rng: np.random.Generator, size: int, look: Look) -> Sensor:
    """An ordinary camera, often in a moving hand and a little out of focus; perfect in the plain look."""
    direction, length = rng.uniform(0, 2 * np.pi), rng.uniform(0, 3) * (rng.random() < 0.15)
    moved = size / 256 * length * np.array([np.cos(direction), np.sin(direction)])
    defocus = size / 256 * rng.uniform(0.3, 0.9) * (rng.random() < 0.3)
    exposure, balance = np.exp(rng.normal(0, 0.12)), np.exp(rng.normal(0, 0.04, 3))
    red, green, blue = (float(g) for g in exposure * balance / balance[1])
    sensor = Sensor(
        motion=(float(moved[0]), float(moved[1])),
        defocus=float(defocus),
        gain=(red, green, blue),
        gamma=float(np.exp(rng.normal(0, 0.08))),
        shot_noise=float(rng.uniform(0, 0.12)),
        read_noise=float(rng.uniform(0, 2.5)),
        jpeg=int(rng.integers(45, 96)) if rng.random() < 0.5 else None,
        seed=int(rng.integers(2**31)),
    )
    return sensor if look == "full" else PERFECT
