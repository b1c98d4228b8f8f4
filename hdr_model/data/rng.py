"""The random numbers of training: each sample's from a stream of its own."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

_OF_SAMPLE, _OF_STEP, OF_WINDOW = 1, 2, 3


class SampleRng:
    """Random numbers for the samples of one step.

    Samples are numbered over all steps and processes, and a sample's numbers depend on (seed, number) alone: two
    processes that share a batch draw the numbers that one process with the whole batch would.

    Args:
        seed: of the run.
        step: counts from 1; 0 is for previews and validation.
        first: the number of the first sample of this process's batch.
        count: samples in this process's batch.
    """

    def __init__(self, seed: int, step: int, first: int, count: int) -> None:
        self._samples = [stream(seed, first + k, _OF_SAMPLE) for k in range(count)]
        self.step = step
        self._of_step = stream(seed, step, _OF_STEP)

    def __len__(self) -> int:
        return len(self._samples)

    def uniform(self, *shape: int) -> Tensor:
        """(B, *shape) float32 in [0, 1), on the CPU."""
        return torch.from_numpy(np.stack([stream.random(shape, np.float32) for stream in self._samples]))

    def of_step(self) -> float:
        """One number in [0, 1) for all samples of the step."""
        return float(self._of_step.random())


def stream(seed: int, number: int, kind: int) -> np.random.Generator:
    """The random numbers of one sample or step, for one kind of use."""
    return np.random.Generator(np.random.Philox(key=[seed, number], counter=[0, 0, 0, kind]))
