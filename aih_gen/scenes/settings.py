"""Settings that have a place and a light of their own: the dark studio, and strong daylight."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from aih_gen.scenes.backgrounds import Background, Backgrounds
from aih_gen.scenes.lights import HARMONICS, exposed
from aih_gen.scenes.scene import Lights
from aih_gen.scenes.vectors import unit
from aih_gen.typing import Array, Setting

DARK_STUDIO, DAYLIGHT = 0.05, 0.06
"""Share of each; else the setting is ordinary."""
MIN_SOFT_STUDIO, MIN_SOFT_DAYLIGHT = 0.03, 0.07
"""Soft light from the darkest side / light on what faces the camera: these settings have nearly black shadows."""
MAX_WHITE_DAYLIGHT = 1.6
"""Linear brightness that nothing which faces the camera exceeds: the sun overexposes the palest skin."""


def sample_setting(rng: np.random.Generator) -> Setting:
    """The setting of a scene."""
    share = rng.random()
    return "dark studio" if share < DARK_STUDIO else "daylight" if share < DARK_STUDIO + DAYLIGHT else "ordinary"


def dark_studio(rng: np.random.Generator, reflectance: float, shadows: bool) -> tuple[Background, Lights]:
    """A black or dark plain background and one strong lamp from the side, sometimes with a camera's cast of colour."""
    dark = float(rng.uniform(0.03, 0.25))
    background = Background(
        kind="black" if rng.random() < 0.6 else "plain", seed=int(rng.integers(2**32)), gain=(dark, dark, dark)
    )
    if background.kind == "black":
        background = replace(background, gain=(1.0, 1.0, 1.0))
    cast = np.ones(3) if rng.random() < 0.6 else unit(np.exp(rng.normal([0.0, 0.12, -0.25], 0.12))) * np.sqrt(3)
    harmonics = np.zeros((HARMONICS, 3))
    harmonics[0] = rng.uniform(0.03, 0.2)
    harmonics[2] = -0.5 * harmonics[0]
    side = rng.choice([-1.0, 1.0])
    direction = np.array([side * rng.uniform(0.5, 1.0), rng.uniform(-0.8, 0.1), rng.uniform(-0.8, 0.05)])
    lights = _one_lamp(harmonics * cast, direction, cast, shadows)
    wanted = float(np.exp(np.clip(rng.normal(-0.75, 0.2), -1.2, -0.3)))
    return background, exposed(lights, wanted, reflectance, MIN_SOFT_STUDIO)


def daylight(
    rng: np.random.Generator, backgrounds: Backgrounds, reflectance: float, shadows: bool
) -> tuple[Background, Lights]:
    """The hard light of a high sun, five to twelve times as strong as the sky's, before a bright place."""
    background = backgrounds.sample(rng, None)
    if background.kind in ("photo", "black") and backgrounds.outdoors:
        name = backgrounds.outdoors[int(rng.integers(len(backgrounds.outdoors)))]
        background = replace(background, kind="photo", photo=name)
    bright = float(rng.uniform(1.1, 1.4))
    red, green, blue = (bright * channel for channel in background.gain)
    sky = np.array([0.75, 0.95, 1.25]) * rng.uniform(0.08, 0.2)
    harmonics = np.zeros((HARMONICS, 3))
    harmonics[0], harmonics[2] = sky, -0.45 * sky
    direction = rng.normal(size=3) * [1, 0, 1] * 0.5 + np.array([0, -0.9, -0.35])
    # From behind the hands the sun would light nothing that the camera sees.
    direction[2] = min(direction[2], 0.15)
    lights = _one_lamp(harmonics, direction, np.array([1.04, 1.0, 0.9]), shadows)
    wanted = float(np.exp(np.clip(rng.normal(-0.2, 0.2), -0.6, 0.2)))
    lit = exposed(lights, wanted, reflectance, MIN_SOFT_DAYLIGHT, MAX_WHITE_DAYLIGHT)
    return replace(background, gain=(red, green, blue)), lit


def _one_lamp(harmonics: Array, direction: Array, colour: Array, shadows: bool) -> Lights:
    return Lights(
        harmonics=harmonics.astype(np.float32),
        directions=unit(direction)[None].astype(np.float32),
        colours=colour[None].astype(np.float32),
        shadows=shadows,
    )
