"""Small networks with random weights, and inputs for them."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from hdr_model.config import preset
from hdr_model.nets.hasm import (
    HASM,
    HASMOutput,
)  # fmt: skip
from hdr_model.nets.hdrm import HDRM
from hdr_model.nets.pretrained import PretrainedNetwork
from hdr_model.nets.shpe import SHPE

NETWORKS: tuple[type[PretrainedNetwork], ...] = (HASM, HDRM, SHPE)


def make(network: type[PretrainedNetwork], name: str = "nano") -> PretrainedNetwork:
    torch.manual_seed(0)
    return network(preset(network.task, name))


def inputs(
    network: type[PretrainedNetwork], height: int, width: int, batch: int = 2, device: str = "cpu"
) -> list[Tensor]:
    torch.manual_seed(1)
    if network is HDRM:
        x = torch.randn(batch, 8, height, width, device=device)
        return [x, (torch.rand(x.shape, device=device) > 0.3).float()]
    return [torch.randn(batch, 3, height, width, device=device)]


def outputs(network: nn.Module, tensors: list[Tensor]) -> list[Tensor]:
    out = network(*tensors)
    if isinstance(out, HASMOutput):
        return [*out.values(), *([] if out.presence is None else [out.presence])]
    return [out] if isinstance(out, Tensor) else list(out)
