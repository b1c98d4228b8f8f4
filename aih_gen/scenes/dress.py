"""Gloves, rings, bracelets, watches, painted nails; each in a small share of all scenes."""

from __future__ import annotations

import numpy as np

from aih_gen.scenes.scene import Band, Dress, Glove, Ring, Skin, Watch
from aih_gen.typing import Float32

GLOVES, RINGS, WATCH, BRACELETS, POLISH = 0.04, 0.12, 0.10, 0.06, 0.08
"""Share of scenes with each; gloves cover rings and nails."""
CLEAR_OF_SLEEVE = 0.075
"""Metres of bare forearm that a watch or a bracelet needs."""
MAX_RINGS, MAX_BANDS = 4, 3
"""On both hands together."""
_METALS = np.array([[0.95, 0.72, 0.32], [0.93, 0.91, 0.86], [0.90, 0.62, 0.48], [0.62, 0.62, 0.64]])
"""Gold, silver, rose gold and steel."""
_GEMS = np.array([[0.85, 0.88, 0.92], [0.5, 0.01, 0.03], [0.02, 0.06, 0.45], [0.02, 0.3, 0.1], [0.02, 0.02, 0.03]])
_RUBBER = np.array(
    [[0.08, 0.22, 0.55], [0.75, 0.72, 0.66], [0.02, 0.02, 0.02], [0.8, 0.6, 0.05], [0.7, 0.25, 0.35], [0.1, 0.4, 0.3]]
)
"""Nitrile, latex, and household gloves."""
_WOOL = np.array(
    [[0.02, 0.02, 0.022], [0.08, 0.08, 0.085], [0.3, 0.3, 0.3], [0.6, 0.56, 0.48], [0.02, 0.03, 0.09],
     [0.35, 0.03, 0.04], [0.14, 0.08, 0.04], [0.05, 0.11, 0.06], [0.45, 0.2, 0.22], [0.3, 0.2, 0.4]]
)  # fmt: skip
_POLISH = np.array(
    [[0.45, 0.01, 0.02], [0.7, 0.05, 0.15], [0.8, 0.45, 0.45], [0.12, 0.0, 0.03], [0.01, 0.01, 0.015],
     [0.85, 0.83, 0.8], [0.02, 0.1, 0.35], [0.25, 0.45, 0.4]]
)  # fmt: skip
_BEADS = np.array(
    [[0.02, 0.02, 0.02], [0.18, 0.08, 0.03], [0.7, 0.68, 0.62], [0.03, 0.25, 0.3], [0.35, 0.02, 0.02],
     [0.02, 0.04, 0.2], [0.5, 0.3, 0.03], [0.3, 0.1, 0.2]]
)  # fmt: skip
_STRAPS = np.array([[0.015, 0.015, 0.015], [0.09, 0.04, 0.02], [0.25, 0.13, 0.06], [0.02, 0.03, 0.08], [0.6, 0.6, 0.6]])


def sample_dress(rng: np.random.Generator, skin: Skin) -> Dress:
    """The dress of a person with this ``skin``; most wear nothing."""
    gloves, rings, watch, bracelets, polish = rng.random(5) < (GLOVES, RINGS, WATCH, BRACELETS, POLISH)
    if gloves:
        return Dress(glove=_glove(rng))
    bare = skin.sleeve is None or skin.sleeve.start > CLEAR_OF_SLEEVE
    side = int(rng.random() < 0.7)  # most wear their watch on the left
    metal = _metal(rng)
    worn = _watch(rng, side, metal) if watch and bare else None
    bands: tuple[Band, ...] = (_strap(rng, worn),) if worn else ()
    if bracelets and bare:
        bands += _bracelets(rng, 1 - side if worn else int(rng.integers(2)), metal)
    return Dress(
        polish=_shade(rng, _POLISH) if polish else None,
        rings=_rings(rng, metal) if rings else (),
        bands=bands,
        watch=worn,
    )


def _glove(rng: np.random.Generator) -> Glove:
    knitted = bool(rng.random() < 0.5)
    if not knitted:
        return Glove(_shade(rng, _RUBBER), knitted, float(rng.uniform(0.03, 0.10)))
    return Glove(_shade(rng, _WOOL), knitted, float(rng.uniform(0.025, 0.07)))


def _rings(rng: np.random.Generator, metal: Float32) -> tuple[Ring, ...]:
    """Up to ``MAX_RINGS`` on different fingers, most often one on a ring finger."""
    count = int(rng.choice([1, 2, 3, MAX_RINGS], p=[0.55, 0.25, 0.12, 0.08]))
    shares = np.outer([0.5, 0.5], [0.06, 0.16, 0.18, 0.46, 0.14]).ravel()
    chosen = rng.choice(len(shares), size=count, replace=False, p=shares)
    return tuple(
        Ring(
            side=int(place) // 5,
            finger=int(place) % 5,
            place=float(rng.uniform(0.58, 0.68)),
            width=float(rng.uniform(0.002, 0.005)),
            colour=metal if rng.random() < 0.8 else _metal(rng),
            gem=_shade(rng, _GEMS) if rng.random() < 0.3 else None,
        )
        for place in chosen
    )


def _watch(rng: np.random.Generator, side: int, metal: Float32) -> Watch:
    dark = rng.random() < 0.55
    grey = rng.uniform(0.005, 0.03) if dark else rng.uniform(0.5, 0.85)
    return Watch(
        side=side,
        start=float(rng.uniform(0.024, 0.034)),
        radius=float(rng.uniform(0.013, 0.019)),
        metal=metal if rng.random() < 0.7 else np.full(3, 0.03, np.float32),
        dial=(grey * rng.uniform(0.85, 1.15, 3)).astype(np.float32),
        square=bool(rng.random() < 0.3),
    )


def _strap(rng: np.random.Generator, watch: Watch) -> Band:
    metal = bool(rng.random() < 0.35)
    colour = watch.metal if metal else _shade(rng, _STRAPS)
    return Band(watch.side, watch.start, float(watch.radius * rng.uniform(0.95, 1.3)), colour, metal, 0)


def _bracelets(rng: np.random.Generator, side: int, metal: Float32) -> tuple[Band, ...]:
    """One or two narrow bands beside each other."""
    bands = []
    start = rng.uniform(0.012, 0.03)
    for _ in range(1 + int(rng.random() < 0.35)):
        kind = rng.random()
        width = float(rng.uniform(0.003, 0.006) if kind < 0.5 else rng.uniform(0.005, 0.012))
        colour = metal if kind < 0.5 else _shade(rng, _BEADS)
        bands.append(Band(side, float(start), width, colour, kind < 0.5, int(rng.integers(18, 30)) * (kind > 0.75)))
        start += 0.005 + width
    return tuple(bands)


def _metal(rng: np.random.Generator) -> Float32:
    return _METALS[int(rng.integers(len(_METALS)))].astype(np.float32)


def _shade(rng: np.random.Generator, palette: Float32) -> Float32:
    """(3,) one of the colours (N,3) of a palette, a little lighter or darker."""
    colour = palette[int(rng.integers(len(palette)))] * np.exp(rng.normal(0, 0.12, 3) * 0.5 + rng.normal(0, 0.15))
    return np.clip(colour, 0.003, 0.9).astype(np.float32)
