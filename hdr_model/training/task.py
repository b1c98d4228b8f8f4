"""The contract of the training loop with each network."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor, nn
from torch.optim import Optimizer

from hdr_model.data.batch import Batch
from hdr_model.data.rng import SampleRng
from hdr_model.losses import Terms


@dataclass(frozen=True, eq=False)
class Loss:
    """A loss and its terms."""

    total: Tensor  # (), the weighted sum
    terms: Terms
    discriminator: Callable[[], Loss] | None = None
    """Of a network that learns against a discriminator: that one's loss, to be taken after the network's step."""


class Task(Protocol):
    """The part of a training that differs between networks."""

    @property
    def networks(self) -> nn.ModuleDict:
        """Every network that is trained; the one named like the task is saved as weights."""

    @property
    def optimisers(self) -> Sequence[Optimizer]:
        """The network's, then the discriminator's where there is one."""

    @property
    def fields(self) -> tuple[str, ...]:
        """The arrays to read of each sample."""

    @property
    def min_hands(self) -> int:
        """Samples of fewer hands are left out."""

    def loss(self, batch: Batch, rng: SampleRng) -> Loss:
        """The network's loss on augmented samples."""

    def validation(self, network: nn.Module, batch: Batch, rng: SampleRng) -> Tensor:
        """The loss of ``network``, (), on samples as they are; ``rng`` chooses among their hands."""

    def preview(self, network: nn.Module, batch: Batch, rng: SampleRng) -> Tensor:
        """Predictions of ``network`` beside the truth, (3,H,W) uint8."""
