"""Appearance of people: the colours of faces, eyes, hair and clothes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import numpy as np

from aih_gen.kernels.textures import sqrt_encoded
from aih_gen.scenes.bodies import CLOTH_EXTENT, People
from aih_gen.typing import Array, Float32, Floating, UInt8

EYE_SIDE, CLOTH_SIDE = 48, 192
IRIS, PUPIL = 0.43, 0.17
"""Radii as shares of the eyeball's."""
BLACK, BROWN, BLOND, RED, GREY = (
    np.array(colour)
    for colour in (
        (0.010, 0.008, 0.007),
        (0.055, 0.030, 0.017),
        (0.27, 0.17, 0.085),
        (0.19, 0.065, 0.025),
        (0.3, 0.3, 0.3),
    )
)
IRISES = np.array(
    [[0.05, 0.025, 0.012], [0.10, 0.06, 0.025], [0.12, 0.12, 0.06], [0.10, 0.17, 0.24], [0.14, 0.17, 0.17]]
)
_FLUSHED, _FRECKLE = np.array([0.98, 0.78, 0.81], np.float32), np.array([0.25, 0.4, 0.45], np.float32)
_LIPS, _BLOOD = np.array([0.86, 0.64, 0.65], np.float32), np.array([0.012, 0.0, 0.003], np.float32)


@dataclass(frozen=True, eq=False)
class Face:
    """Parameters of a face's texture. Strengths are 0 to 1."""

    lips: float  # of make-up
    lip_colour: Array  # (3,) linear reflectance
    brow: float  # thickness
    stubble: float
    shadow: float  # of shaved hair
    scalp: float  # density of hair, 0 bald
    receding: float  # m
    flush: float
    freckles: float
    lash: float
    seed: int


def hair_colour(rng: np.random.Generator, darkness: float, age: float) -> Array:
    """(3,) linear reflectance; ``darkness`` 0 to 1 of the skin, ``age`` 0.5 to 1."""
    if rng.random() < (age - 0.7) * 2.4:
        return np.asarray(GREY * rng.uniform(0.5, 1.6) * (1 - 0.04 * np.arange(3)))
    kind = rng.random()
    if darkness > 0.6 or kind < 0.30:
        return np.asarray(BLACK * rng.uniform(0.8, 2.2))
    if kind < 0.75:
        return np.asarray(BROWN * np.exp(rng.normal(0, 0.45)))
    return np.asarray((BLOND if kind < 0.94 else RED) * np.exp(rng.normal(0, 0.35)))


def face_texture(people: People, face: Face, tone: Floating, hair: Floating) -> UInt8:
    """(T,T,3) a head's skin as ``Prop.texture`` takes it: square roots of linear reflectances."""
    skin, dark_hair = np.asarray(tone, np.float32), np.asarray(hair, np.float32)
    side = len(people.head_masks["lips"])
    fine, coarse = _noise(face.seed, 1, side), _noise(face.seed + 1, 9, side)
    colour = skin * (1 + 0.04 * fine + 0.03 * coarse)[..., None]

    def paint(part: str, over: Float32, share: Callable[[Float32, Float32, Float32], Float32]) -> None:
        """Lay a colour over the part of the head where a mask is; ``share`` is of the mask and both noises there."""
        box, mask = people.cut_masks[part]
        region = colour[box]
        region += np.clip(share(mask, fine[box], coarse[box]), 0, 1)[..., None] * (over - region)

    brow, line = np.float32(0.25 * (face.brow - 0.5)), np.float32(face.receding / 0.02)
    paint("red", skin * _FLUSHED, lambda mask, _, rough: face.flush * mask * (1 + 0.5 * rough))
    paint("socket", 0.78 * skin, lambda mask, *_: mask)
    if face.freckles:
        spots = np.clip((_noise(face.seed + 2, 2, side) - 1.6) * 2, 0, 1) * face.freckles
        colour *= 1 - spots[..., None] * _FRECKLE
    lips: Float32 = np.asarray((skin * _LIPS + _BLOOD) * (1 - face.lips) + face.lip_colour * face.lips, np.float32)
    paint("lips", lips, lambda mask, *_: mask)
    if face.stubble or face.shadow:
        shaved: Float32 = np.asarray(0.35 * skin + 0.65 * np.minimum(dark_hair, skin), np.float32)
        paint("beard", shaved, lambda mask, *_: face.shadow * _step(mask, 0.45, 0.8))
        paint(
            "beard",
            dark_hair,
            lambda mask, noise, rough: face.stubble * _step(mask + 0.08 * rough, 0.42, 0.75) * (0.8 + 0.3 * noise),
        )
    paint("brow", dark_hair * 1.15, lambda mask, noise, _: 0.85 * _step(mask + 0.05 * noise + brow, 0.44, 0.62))
    paint(
        "scalp",
        dark_hair,
        lambda mask, noise, rough: face.scalp * _step(mask - line + 0.1 * noise + 0.1 * rough, 0.30, 0.85),
    )
    paint("lash", np.full(3, 0.012, np.float32), lambda mask, *_: face.lash * mask)
    return sqrt_encoded(colour)


def eye_texture(rng: np.random.Generator, darkness: float) -> UInt8:
    """(E,E,3) an eyeball from the front, as ``Prop.texture`` takes it."""
    light = rng.random() > 0.3 + 1.2 * darkness
    iris = IRISES[int(rng.integers(2, 5)) if light else int(rng.integers(0, 2))] * np.exp(rng.normal(0, 0.2))
    y, x = (np.mgrid[:EYE_SIDE, :EYE_SIDE] + 0.5) / EYE_SIDE * 2 - 1
    radius = np.hypot(x, y)[..., None].astype(np.float32)
    white = np.array([0.44, 0.39, 0.36]) * (1 - 0.5 * np.clip(-y - 0.1, 0, 1)[..., None])
    colour = np.where(radius < IRIS, iris * (1.3 - 0.9 * (radius / IRIS) ** 4), white)
    colour = np.where(radius < PUPIL, 0.003, colour)
    return sqrt_encoded(colour.astype(np.float32))


def cloth_texture(rng: np.random.Generator, colour: Float32, stripe: Float32, stripe_width: float, kind: str) -> UInt8:
    """(C,C,3) a shirt's front as ``Prop.texture`` takes it: plain or striped cloth, perhaps with a print or a placket.

    ``kind`` is "plain", "print", "buttons", "open", "checks" or "blocks".
    """
    side = CLOTH_SIDE
    at = (np.arange(side) + 0.5) / side * CLOTH_EXTENT
    x, y = at[None] - CLOTH_EXTENT / 2, at[:, None] - CLOTH_EXTENT / 2
    cloth = np.broadcast_to(colour, (side, side, 3)).astype(np.float32, order="C")
    if stripe_width:
        band = (np.floor(y / max(stripe_width, 0.006)) % 2 == 0) & (x == x)
        cloth[band] = stripe
    other = np.asarray(np.clip(rng.uniform(0.02, 0.75) + 0.4 * (rng.random(3) - 0.5), 0.01, 0.9), np.float32)
    if kind == "checks":
        step = rng.uniform(0.015, 0.05)
        for lines in (np.floor(x / step) % 2 == 0, np.floor(y / step) % 2 == 0):
            cloth = cloth * np.where(lines[..., None] & np.ones((side, side, 1), bool), 1, 0.55 + 0.45 * other)
    if kind == "print":
        high, wide, top = rng.uniform(0.03, 0.16), rng.uniform(0.04, 0.13), rng.uniform(0.05, 0.16)
        rows = (y > top) & (y < top + high) & (np.abs(x) < wide)
        marks = _noise(int(rng.integers(2**31)), int(rng.integers(2, 8)), side) > rng.uniform(-0.6, 0.6)
        cloth[rows & marks] = other
    if kind in ("buttons", "open"):
        half = 0.014 if kind == "buttons" else rng.uniform(0.03, 0.08)
        inner = np.abs(x) < half + (0 if kind == "buttons" else 0.05 * np.clip(0.25 - y, 0, 1))
        inner = inner & (y == y)
        if kind == "open":
            cloth[inner] = other
        edge = (np.abs(np.abs(x) - half) < 0.0035) & (y == y)
        cloth[edge & (kind == "buttons")] *= 0.75
        dots = (np.abs(x) < 0.005) & (np.abs((y % 0.085) - 0.04) < 0.005)
        cloth[dots & (kind == "buttons")] = 0.6 * other + 0.1
    if kind == "blocks":
        cloth[(y < rng.uniform(-0.02, 0.2)) & (x == x)] = other
    weave = _noise(int(rng.integers(2**31)), 1, side)
    return sqrt_encoded(cloth * (1 + 0.05 * weave)[..., None])


def _step(values: Float32, low: float, high: float) -> Float32:
    t = np.clip((values - low) / (high - low), 0, 1)
    return np.asarray(t * t * (3 - 2 * t), np.float32)


@cache
def _noise_tile(scale: int) -> Float32:
    """(512,512) smooth noise of unit deviation with bumps ``scale`` pixels wide, which tiles."""
    rng = np.random.Generator(np.random.SFC64(scale))
    values = rng.standard_normal((512, 512), np.float32)
    if scale > 1:
        frequency = np.fft.fftfreq(512)
        falloff = np.exp(-2 * (np.pi * scale / 2.5) ** 2 * (frequency[:, None] ** 2 + frequency[None] ** 2))
        values = np.fft.ifft2(np.fft.fft2(values) * falloff).real.astype(np.float32)
    return np.asarray(values / values.std(), np.float32)


def _noise(seed: int, scale: int, side: int) -> Float32:
    """(side,side) a window of ``_noise_tile``."""
    row, column = seed % 256, seed // 256 % 256
    return _noise_tile(scale)[row : row + side, column : column + side]
