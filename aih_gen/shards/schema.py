"""Schema 1 of a shard: the one description that the writer follows and the reader demands.

The second axis of the dataset ``rgb`` holds ``IMAGES``, and the dataset ``masks`` the bits ``MASK_BITS``
(``aih_gen.compose.sample``).
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields
from types import MappingProxyType
from typing import get_type_hints

import numpy as np
from numpy.typing import NDArray

from aih_gen.compose.sample import IMAGES, Sample, Stored

FORMAT = "AIH"
SCHEMA_VERSION = 1


PROVENANCE, OFFSETS = "provenance", "provenance_offsets"
"""JSON of all samples as bytes (uint8), and where each begins and the last ends (N+1, int64)."""

PROVENANCE_CHUNK = 1 << 16
"""Most bytes, or offsets, in one chunk of those two."""

COMPRESSED = frozenset({"rgb", "masks", "depth", PROVENANCE})
"""Datasets that the codec is used on; the others are small numbers."""

MAX_SIDE = 4096
"""Images with a longer side are taken for a damaged or hostile file."""
MAX_SHARD = 10_000_000
MAX_PROVENANCE = 1 << 20


@dataclass(frozen=True)
class Column:
    """A dataset whose first axis is the sample; one sample is one chunk."""

    dtype: np.dtype[np.generic]
    shape: tuple[int, ...]
    """Of one sample."""
    unknown: NDArray[np.generic] | None = None
    """The value in shards that were written before the field was added; None where every shard has it."""


@functools.cache
def columns(height: int, width: int, depth: bool) -> Mapping[str, Column]:
    """The datasets of a shard with images of that size: packed images and masks, and the fields that are `Stored`."""
    uint8, sides = np.dtype("u1"), {"H": height, "W": width}
    made = {"rgb": Column(uint8, (len(IMAGES), height, width, 3)), "masks": Column(uint8, (height, width))}
    hints = get_type_hints(Sample, include_extras=True)
    for field in fields(Sample):
        for stored in getattr(hints[field.name], "__metadata__", ()):
            if isinstance(stored, Stored) and (depth or field.name != "depth"):
                unknown = None if field.default_factory is MISSING else field.default_factory()
                shape = tuple(sides[length] if isinstance(length, str) else length for length in stored.shape)
                made[field.name] = Column(np.dtype(stored.dtype), shape, unknown)
    return MappingProxyType(made)


@dataclass(frozen=True)
class Header:
    """The file attributes: which data set a shard is part of."""

    subset: str
    config: str
    """Canonical JSON of everything the samples depend on."""
    config_sha256: str
    seed: int
    hand_model: str
    generator_version: str
