"""Schema 1 of a shard: the one description that the writer follows and the reader demands.

The second axis of the dataset ``rgb`` holds ``IMAGES``, and the dataset ``masks`` the bits ``MASK_BITS``
(``aih_gen.compose.sample``).
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from aih_gen.compose.sample import IMAGES

FORMAT = "AIH"
SCHEMA_VERSION = 1


PROVENANCE, OFFSETS = "provenance", "provenance_offsets"
"""JSON of all samples as bytes (uint8), and where each begins and the last ends (N+1, int64)."""

PROVENANCE_CHUNK = 1 << 16
"""Most bytes, or offsets, in one chunk of those two."""

COMPRESSED = frozenset({"rgb", "masks", "depth", PROVENANCE})
"""Datasets that the codec is used on; the others are small numbers."""

LARGEST_SIDE = 4096
"""Images with a longer side are taken for a damaged or hostile file."""
LARGEST_SHARD = 10_000_000
LARGEST_PROVENANCE = 1 << 20


@dataclass(frozen=True)
class Column:
    """A dataset whose first axis is the sample; one sample is one chunk."""

    dtype: np.dtype[np.generic]
    shape: tuple[int, ...]
    """Of one sample."""


@functools.cache
def columns(height: int, width: int, depth: bool) -> Mapping[str, Column]:
    """The datasets of a shard with images of that size."""
    float32, uint8 = np.dtype("<f4"), np.dtype("u1")
    made = {
        "rgb": Column(uint8, (len(IMAGES), height, width, 3)),
        "masks": Column(uint8, (height, width)),
        "joints_3d": Column(float32, (2, 21, 3)),
        "joints_2d": Column(float32, (2, 21, 2)),
        "joint_state": Column(uint8, (2, 21)),
        "pose": Column(float32, (2, 48)),
        "betas": Column(float32, (2, 10)),
        "transl": Column(float32, (2, 3)),
        "camera": Column(float32, (3, 3)),
        "present": Column(np.dtype(np.bool_), (2,)),
        "occlusion": Column(float32, (2,)),
        "index": Column(np.dtype("<i8"), ()),
    }
    if depth:
        made["depth"] = Column(np.dtype("<f2"), (2, height, width))
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
