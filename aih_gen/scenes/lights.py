"""Lights: the soft light of a real place as spherical harmonics, and lamps, the first of which casts shadows."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np

from aih_gen.assets import asset_path
from aih_gen.io.json import read_json
from aih_gen.scenes.backgrounds import Background
from aih_gen.scenes.scene import Lights
from aih_gen.scenes.vectors import unit
from aih_gen.typing import Array, Float32, Floating

STUDIO_SHARE = 0.3
"""Share of scenes in a studio's light, with any background."""
CAMERA_BALANCE = 0.3
"""Cameras take most of a place's tint away: colours of light are raised to this power."""
HARMONICS = 9
MIN_SOFT = 0.15
"""Soft light from the darkest side / light on what faces the camera: no shadow is black, as lit surfaces light it."""
MAX_WHITE = 0.7
"""Linear brightness that nothing which faces the camera exceeds, but for its gloss."""


@cache
def place_lights() -> dict[str, Array]:
    """(11,3) light at the camera of each shipped photograph, as ``scripts/build_backgrounds.py`` measures it."""
    table = read_json(asset_path("backgrounds") / "lights.json")
    return {name: np.array(rows) for name, rows in table.items()}


def sample_lights(rng: np.random.Generator, background: Background, reflectance: float, shadows: bool = True) -> Lights:
    """The light of the place in the background, of another place, or of a studio; brighter or dimmer at random.

    ``reflectance`` is that of the palest skin in its brightest channel, which the camera does not overexpose.
    """
    lights = _studio(rng) if rng.random() < STUDIO_SHARE else _place(rng, background)
    wanted = float(np.exp(min(max(rng.normal(-0.35, 0.22), -0.8), 0.1)))
    return replace(exposed(lights, wanted, reflectance), shadows=shadows)


def exposed(
    lights: Lights, wanted: float, reflectance: float, min_soft: float = MIN_SOFT, max_white: float = MAX_WHITE
) -> Lights:
    """Lights as a camera shows them that exposes for what faces it: ``wanted`` bright on the mean, ``max_white`` where
    skin of this ``reflectance`` is brightest; with softer light, where some side has less than ``min_soft``.
    """  # fmt: skip
    lights = _without_black(lights, min_soft)
    given = facing_light(lights)
    exposure = min(wanted / float(given.mean()), max_white / (reflectance * float(given.max())))
    return replace(
        lights,
        harmonics=(lights.harmonics * exposure).astype(np.float32),
        colours=(lights.colours * exposure).astype(np.float32),
    )


def _without_black(lights: Lights, min_soft: float) -> Lights:
    """Softer light, where the harmonics of a place are dark or negative on some side."""
    darkest = (_BASIS @ lights.harmonics).min(0)
    harmonics = lights.harmonics.copy()
    harmonics[0] += np.maximum(min_soft * facing_light(lights).mean(0) - darkest, 0)
    return replace(lights, harmonics=harmonics)


def facing_light(lights: Lights) -> Array:
    """(P,3) light on white skin at places spread evenly over a ball's side that faces the camera."""
    soft = np.maximum(_FACING_BASIS @ lights.harmonics, 0)
    return np.asarray(soft + np.maximum(_FACING @ lights.directions.T, 0) @ lights.colours)


def _place(rng: np.random.Generator, background: Background) -> Lights:
    """Light measured at a photograph's own camera, or at another one's turned about the vertical."""
    table = place_lights()
    name, yaw = background.photo, 0.0
    if name not in table:
        name, yaw = list(table)[int(rng.integers(len(table)))], rng.uniform(0, 2 * np.pi)
    measured = table[name]
    tint = measured[0] + measured[10] / 4
    balance = (tint / tint.mean()) ** (CAMERA_BALANCE - 1)
    harmonics, direction, colour = measured[:9] * balance, measured[9], measured[10] * balance
    mirrored = np.array([-1.0, 1, 1]) if background.flip else np.ones(3)
    c, s = np.cos(yaw), np.sin(yaw)
    rotation = np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]])
    direction = rotation @ (direction * mirrored)
    # A lamp right behind the hands lights nothing that the camera sees.
    direction = direction - np.array([0, 0, max(direction[2] - 0.2, 0.0)])
    return Lights(
        harmonics=rotate_harmonics(harmonics, rotation, mirrored),
        directions=direction[None].astype(np.float32) / np.float32(np.linalg.norm(direction)),
        colours=colour[None].astype(np.float32),
        shadows=True,
    )


def rotate_harmonics(harmonics: Array, rotation: Array, mirrored: Array) -> Float32:
    """The harmonics (9,3) of light that is ``mirrored`` (3,), then rotated by a matrix ``rotation`` (3,3): fitted on
    many normals, exact as the degree stays.
    """  # fmt: skip
    values = harmonic_basis(_NORMALS @ rotation * mirrored) @ harmonics
    return (_FROM_NORMALS @ values).astype(np.float32)


def harmonic_basis(normals: Floating) -> Floating:
    """(N,3) unit normals -> (N,9): 1, x, y, z, xy, yz, 3z^2-1, xz, x^2-y^2."""
    x, y, z = normals.T
    return np.array([np.ones_like(x), x, y, z, x * y, y * z, 3 * z * z - 1, x * z, x * x - y * y]).T


def _facing() -> Array:
    """(P,3) unit normals that a camera sees evenly spread over a round thing, half of them mirrored in x."""
    x, y = np.stack(np.meshgrid(*[np.linspace(-0.93, 0.93, 8)] * 2)).reshape(2, -1)
    z = -np.sqrt(np.maximum(1 - x * x - y * y, 0))
    return np.stack([x, y, z], 1)[z < -0.3]


_FACING = _facing()
_FACING_BASIS = harmonic_basis(_FACING)
_HALF = unit(np.random.default_rng(0).normal(size=(64, 3)))
_NORMALS = np.concatenate([_HALF, _HALF * np.array([-1, 1, 1])])
_BASIS = harmonic_basis(_NORMALS)
_FROM_NORMALS = np.linalg.pinv(_BASIS)


def _studio(rng: np.random.Generator) -> Lights:
    """Soft light that is brighter from above, and one to three lamps on the camera's side of the hands."""
    warmth = rng.uniform(-1, 1)
    tint = np.array([1 + 0.1 * warmth, 1.0, 1 - 0.1 * warmth])
    level = rng.uniform(0.35, 0.8)
    harmonics = np.zeros((HARMONICS, 3))
    harmonics[:4] = level * np.array([1, rng.uniform(-0.3, 0.3), -rng.uniform(0.1, 0.5), -rng.uniform(0, 0.3)])[:, None]
    count = rng.integers(1, 4)
    directions = rng.normal(size=(count, 3)) + np.array([0, -0.9, -0.9])
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    strength = np.sort(rng.uniform(0.5, 1.3, count) / np.sqrt(count))[::-1]
    lamp_tint = tint * (1 + 0.08 * rng.normal(size=(count, 3)))
    return Lights(
        harmonics=(harmonics * tint).astype(np.float32),
        directions=directions.astype(np.float32),
        colours=(strength[:, None] * lamp_tint).astype(np.float32),
        shadows=True,
    )
