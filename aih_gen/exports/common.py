"""Iteration over the samples of an export."""

from __future__ import annotations

from collections.abc import Iterator

from tqdm import tqdm

from aih_gen.compose.sample import Sample
from aih_gen.shards.reader import AIHShards


def each_sample(shards: AIHShards) -> Iterator[tuple[int, Sample]]:
    """Every sample with its position, under a progress bar."""
    yield from enumerate(tqdm((shards[k] for k in range(len(shards))), "export", len(shards), unit="sample"))
