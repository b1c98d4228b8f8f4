"""Several processes that train as one: torchrun's group, and sums over it.

Two processes with half a batch each do what one process with the whole batch does: sums inside the losses and batch
normalisation run over all processes, and gradients are averaged. What remains apart is dropout, whose random numbers
are each process's own, and the order of additions.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn


def process_rank() -> tuple[int, int]:
    """This process's number and the number of processes, joining torchrun's group on the first call."""
    if "WORLD_SIZE" not in os.environ:
        return 0, 1
    if not dist.is_initialized():
        dist.init_process_group("cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo")
    return dist.get_rank(), dist.get_world_size()


def sum_over_processes(value: Tensor) -> Tensor:
    """The sum of ``value`` over all processes, through which gradients flow back to each of them."""
    total: Tensor = _Sum.apply(value) if dist.is_initialized() else value  # type: ignore[no-untyped-call]
    return total


def any_process(answer: bool) -> bool:
    """True where it is true in any process. They agree on their CPUs: no GPU is waited for."""
    if not dist.is_initialized():
        return answer
    answers = torch.tensor(int(answer))
    dist.all_reduce(answers)
    return bool(answers)


def average_gradients(parameters: Sequence[nn.Parameter], world: int) -> None:
    """Give every process the mean gradient, in one exchange."""
    if world == 1:
        return
    gradients = [p.grad for p in parameters if p.grad is not None]
    together = torch.cat([gradient.flatten() for gradient in gradients]) / world
    dist.all_reduce(together)
    parts = together.split([gradient.numel() for gradient in gradients])
    torch._foreach_copy_(gradients, [part.view_as(g) for part, g in zip(parts, gradients, strict=True)])


def synchronise_batch_norm(network: nn.Module, device: torch.device) -> None:
    """Let every batch normalisation inside ``network`` take its statistics over all processes."""
    if device.type == "cuda":
        nn.SyncBatchNorm.convert_sync_batchnorm(network)
        return
    for module in network.modules():
        if type(module) is nn.BatchNorm2d:
            module.__class__ = _SummedBatchNorm2d


class _SummedBatchNorm2d(nn.BatchNorm2d):
    """Batch normalisation over all processes where torch's own SyncBatchNorm, which needs a GPU, cannot be used."""

    def forward(self, input: Tensor) -> Tensor:
        if not self.training:
            return super().forward(input)
        assert self.running_mean is not None and self.running_var is not None and self.momentum is not None
        assert self.num_batches_tracked is not None
        values = input.float()
        count = values.numel() / values.shape[1] * dist.get_world_size()
        mean = sum_over_processes(values.sum((0, 2, 3))) / count
        centred = values - mean[:, None, None]
        variance = sum_over_processes(centred.square().sum((0, 2, 3))) / count
        with torch.no_grad():
            self.num_batches_tracked.add_(1)
            self.running_mean.lerp_(mean, self.momentum)
            self.running_var.lerp_(variance * (count / (count - 1)), self.momentum)
        scale = self.weight * torch.rsqrt(variance + self.eps)
        return (centred * scale[:, None, None] + self.bias[:, None, None]).to(input.dtype)


class _Sum(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, value: Tensor) -> Tensor:
        total = value.detach().clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        total = gradient.clone()
        dist.all_reduce(total)
        return total
