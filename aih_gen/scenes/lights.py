"""Lights: soft light from around and one to three lamps."""

from __future__ import annotations

import numpy as np

from aih_gen.scenes.scene import Lights


def sample_lights(rng: np.random.Generator) -> Lights:
    """Ambient light that is brighter from above, and lamps on the camera's side of the hands."""
    warmth = rng.uniform(-1, 1)
    tint = np.array([1 + 0.12 * warmth, 1.0, 1 - 0.12 * warmth])
    level = rng.uniform(0.3, 0.75)
    ambient = np.zeros((4, 3))
    ambient[0] = level * tint
    ambient[2] = -level * rng.uniform(0.1, 0.5) * tint
    ambient[1] = level * rng.uniform(-0.3, 0.3) * tint
    ambient[3] = -level * rng.uniform(0, 0.3) * tint
    count = rng.integers(1, 4)
    directions = rng.normal(size=(count, 3)) + np.array([0, -0.9, -0.9])
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    strength = rng.uniform(0.5, 1.3, count) / np.sqrt(count)
    lamp_tint = tint * (1 + 0.08 * rng.normal(size=(count, 3)))
    return Lights(
        ambient=ambient.astype(np.float32),
        directions=directions.astype(np.float32),
        colours=(strength[:, None] * lamp_tint).astype(np.float32),
    )
