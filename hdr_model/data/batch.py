"""Batches: the arrays of samples as tensors, by the names that shards have for them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from aih_gen.compose.sample import Sample, pack_masks
from aih_gen.typing import UInt8

Batch = dict[str, Tensor]
TARGET_VALID = "target_valid", "alone"
"""Computed from images; the second is its name of earlier versions."""


def stack(samples: Sequence[Sample], fields: Sequence[str] = ("rgb", "masks")) -> Batch:
    """A batch of samples, equal to the bit to that of shards that hold them.

    Args:
        fields: ``rgb`` (B,3,H,W,3), ``masks`` (B,H,W) bit field, ``target_valid`` (B,2), or arrays of ``Sample``.
    """
    batch = {name: torch.from_numpy(np.stack([_array(sample, name) for sample in samples])) for name in stored(fields)}
    return with_target_valid(batch, fields)


def stored(fields: Sequence[str]) -> tuple[str, ...]:
    """The names to read from samples for a batch of ``fields``."""
    read = [name for name in fields if name not in TARGET_VALID]
    return tuple(dict.fromkeys([*read, "rgb", "present"] if len(read) < len(fields) else read))


def with_target_valid(batch: Batch, fields: Sequence[str]) -> Batch:
    """The batch of ``stored(fields)`` as one of ``fields``."""
    computed = [name for name in fields if name in TARGET_VALID]
    found = dict.fromkeys(computed, target_valid(batch["rgb"], batch["present"])) if computed else {}
    return {name: (batch | found)[name] for name in fields}


def target_valid(rgb: Tensor, present: Tensor) -> Tensor:
    """The hands whose target shows them alone, (B,2) bool.

    A source that cannot take the other hand away has the image itself as target (AIH_Syn so for the pasted hand).

    Args:
        rgb: (B,3,H,W,3), the image and both targets.
        present: (B,2) bool.
    """
    differs = (rgb[:, 1:] != rgb[:, :1]).flatten(2).any(2)
    return present & (differs | ~present.flip(1))


_DERIVED: dict[str, Callable[[Sample], UInt8]] = {
    "rgb": lambda sample: np.stack([sample.image, *sample.target]),
    "masks": pack_masks,
}


def _array(sample: Sample, name: str) -> NDArray[np.generic]:
    return _DERIVED[name](sample) if name in _DERIVED else np.asarray(getattr(sample, name))
