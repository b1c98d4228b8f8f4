"""Samples drawn while training, straight from the configuration of a data set: no disk."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Sequence
from typing import Any

from torch.utils.data import Dataset

from aih_gen.compose.sample import Sample
from aih_gen.config import RenderConfig, SynConfig, canonical_json, check_config, config_document
from aih_gen.sources import Source, open_source
from hdr_model.data.batch import Batch, stack
from hdr_model.data.order import MixedOrder, SampleOrder

SAMPLES = 1 << 40
"""Number of samples: more than any training takes."""


class SourceDataset(Dataset[Batch]):
    """The samples of a configuration, each made when it is needed.

    Args:
        config: of a generator, such as ``RenderConfig()``: its samples never end.
        fields: as ``data.batch.stack`` takes them.
        min_hands: a sample of fewer hands gives way to another.

    Raises:
        AIHError: a value out of range, or a source that cannot serve.
    """

    def __init__(
        self, config: RenderConfig | SynConfig, fields: Sequence[str] = ("rgb", "masks"), min_hands: int = 0
    ) -> None:
        check_config(config)
        self.config, self.fields, self.min_hands = config, tuple(fields), min_hands
        self._source: Source | None = open_source(config)

    def __len__(self) -> int:
        return SAMPLES

    def __getitem__(self, indices: Sequence[int]) -> Batch:
        """A batch of the samples in a list."""
        return stack([self._sample(index) for index in indices], self.fields)

    def compose(self, batch: Batch) -> Batch:
        """The batch unchanged: nothing is composed on the device."""
        return batch

    def digest(self) -> str:
        """SHA-256 of the configuration and of its files' content."""
        document = config_document(self.config, self._open().describe())
        return hashlib.sha256(canonical_json(document).encode()).hexdigest()

    def order(self, batch_size: int, seed: int, start: int, steps: int, rank: int, world: int) -> MixedOrder:
        """New samples in every step."""
        return MixedOrder(SampleOrder(0, 0, seed, start, steps, rank, world), 0, batch_size)

    def _sample(self, index: int) -> Sample:
        for number in itertools.count(index, SAMPLES):
            (sample,) = self._open().samples([number])
            if sample.present.sum() >= self.min_hands:
                return sample
        raise AssertionError

    def _open(self) -> Source:
        if self._source is None:
            self._source = open_source(self.config)
        return self._source

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_source": None}  # each process that reads has a renderer of its own
