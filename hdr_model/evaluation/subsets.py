"""Parts of a data set: evenly spread samples, in batches."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

BATCH = 16
"""Samples that are predicted together."""


def spread(length: int, limit: int | None) -> list[int]:
    """At most ``limit`` of ``length`` numbers, evenly."""
    return np.linspace(0, length - 1, min(length, limit or length)).round().astype(int).tolist()


def portions(indices: Sequence[int], size: int) -> Iterator[list[int]]:
    """``indices`` in lists of ``size``."""
    for start in range(0, len(indices), size):
        yield list(indices[start : start + size])
