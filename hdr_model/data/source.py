"""Samples made while training, straight from the configuration of a data set: no disk."""

from __future__ import annotations

import itertools
import os
from collections.abc import Sequence
from typing import Any

from torch.utils.data import Dataset, get_worker_info

from aih_gen.compose.sample import Sample
from aih_gen.config import RenderConfig, SynConfig, check_config, config_document, document_sha256
from aih_gen.errors import AIHError
from aih_gen.factory import drawing_devices
from aih_gen.sources import Source, describe_source, open_source
from hdr_model.data.aih import HANDS
from hdr_model.data.batch import Batch, stack
from hdr_model.data.window import WindowOrder

SAMPLES = 1 << 40
"""Number of samples: more than any training takes."""
BYTES = 10
"""Bytes of a pixel: three images of three channels, and the masks."""
WINDOW = 1024
"""Samples of the window by default."""
NEW_SHARE = 4
"""By default one of so many samples in a batch is new."""


class SourceDataset(Dataset[Batch]):
    """The samples of a configuration, each made once; every step sees new ones and others of the last.

    The process that trains holds the window, ``window`` samples as shards have them: 10 bytes a pixel where ``rgb`` and
    ``masks`` are wanted, so 655 kB each at 256 pixels. Only processes that read draw; where none do, this one.

    Args:
        config: of a generator, such as ``RenderConfig()``: its samples never end.
        fields: as ``data.batch.stack`` takes them.
        min_hands: a sample of fewer hands gives way to another.
        window: samples from which a batch is drawn, at least a batch.
        new_per_step: samples of each batch that are new, the others were seen or passed over before; by default a
            quarter, and with the batch's size none comes twice.
        gl_device: as ``aih_gen.generate`` takes it: of several devices each process that draws takes one, in turn.

    Raises:
        AIHError: a value out of range, or a source that cannot serve.
    """

    def __init__(
        self,
        config: RenderConfig | SynConfig,
        fields: Sequence[str] = ("rgb", "masks"),
        min_hands: int = 0,
        window: int = WINDOW,
        new_per_step: int | None = None,
        gl_device: int | Sequence[int] | None = None,
    ) -> None:
        check_config(config)
        if isinstance(config, RenderConfig) and not sum(config.hands[: len(config.hands) - min_hands]):
            raise AIHError(f"hands: expected a share of scenes{HANDS[min_hands]}, found none")
        self.devices = drawing_devices(config, gl_device)
        self.config, self.fields, self.min_hands = config, tuple(fields), min_hands
        self.window, self.new_per_step = window, new_per_step
        self._digest = document_sha256(config_document(config, describe_source(config)))
        self._source: Source | None = None

    def __len__(self) -> int:
        return SAMPLES

    def __getitem__(self, indices: Sequence[int]) -> Batch:
        """A batch of the samples in a list."""
        if self._source is None:
            self._source = open_source(self.config, self._device())
        samples = [self._with_hands(self._source, sample) for sample in self._source.samples(indices)]
        return stack(samples, self.fields)

    def compose(self, batch: Batch) -> Batch:
        """The batch unchanged: nothing is composed on the device."""
        return batch

    def digest(self) -> str:
        """SHA-256 of the configuration and of its files' content, as shards of it have."""
        return self._digest

    def order(self, batch_size: int, seed: int, start: int, steps: int, rank: int, world: int) -> WindowOrder:
        """The samples of each step.

        Raises:
            AIHError: a batch has no room for the new samples, the window none for a batch, or memory none for it.
        """
        new = max(1, batch_size // NEW_SHARE) if self.new_per_step is None else self.new_per_step
        if not 1 <= new <= batch_size:
            raise AIHError(f"--new-per-step: expected 1 to the {batch_size} samples of a batch, found {new}")
        if self.window < batch_size:
            raise AIHError(f"--window: expected at least the {batch_size} samples of a batch, found {self.window}")
        size, memory = BYTES * self.config.size**2, os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        if self.window * size > memory:
            most = f"at most {memory // size:,} samples of {size:,} bytes, which is all memory"
            raise AIHError(f"--window: expected {most}, found {self.window:,}")
        window = batch_size if new == batch_size else self.window  # none of the others would be seen
        return WindowOrder(window, new, batch_size, seed, start, steps, rank, world)

    def _device(self) -> int | None:
        """The device that draws in this process: all that torchrun has started here, with their workers, take turns."""
        worker, process = get_worker_info(), int(os.environ.get("LOCAL_RANK", 0))
        number = process if worker is None else process * worker.num_workers + worker.id
        return self.devices[number % len(self.devices)]

    def _with_hands(self, source: Source, sample: Sample) -> Sample:
        for number in itertools.count(sample.index + SAMPLES, SAMPLES):
            if sample.present.sum() >= self.min_hands:
                return sample
            (sample,) = source.samples([number])
        raise AssertionError

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_source": None}  # an OpenGL context lives in the process that has opened it
