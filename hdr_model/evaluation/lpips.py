"""LPIPS (Zhang et al. 2018), with the user's weights: the distance of two images in features of VGG16."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from hdr_model.nets.external_weights import read_external
from hdr_model.nets.pretrained import load_checked
from hdr_model.nets.vgg import WIDTHS, VGG16Features

_SHIFT, _SCALE = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)
"""Of colours in [-1, 1], as the authors normalise them."""


class LPIPS(nn.Module):
    """Images (B,3,H,W) in [0, 1], and others -> their distances (B,): 0 for equal ones."""

    def __init__(self, vgg: VGG16Features) -> None:
        super().__init__()
        self.vgg = vgg
        self.linear = nn.ParameterList(nn.Parameter(torch.zeros(1, c, 1, 1)) for c in WIDTHS)

    @classmethod
    def from_files(cls, vgg: Path, linear: Path) -> LPIPS:
        """Frozen, from VGG16's weights as torchvision stores them, and the authors' ``vgg.pth`` of linear layers.

        Raises:
            AssetError: one of them is another file.
        """
        network = cls(VGG16Features.from_file(vgg, len(WIDTHS)))
        found = read_external(linear)
        names = {f"lin{k}.model.1.weight": str(k) for k in range(len(WIDTHS))}
        state = {ours: found[theirs] for theirs, ours in names.items() if theirs in found}
        load_checked(network.linear, state, str(linear))
        return network.eval().requires_grad_(False)

    def forward(self, image: Tensor, other: Tensor) -> Tensor:
        pairs = zip(self._maps(image), self._maps(other), self.linear, strict=True)
        return sum((weight * (a - b) ** 2).sum(1).mean((1, 2)) for a, b, weight in pairs)

    def _maps(self, image: Tensor) -> list[Tensor]:
        """VGG16's maps, each pixel's vector of length 1."""
        shift, scale = (image.new_tensor(values).view(3, 1, 1) for values in (_SHIFT, _SCALE))
        maps = self.vgg.before_pools((2 * image - 1 - shift) / scale)
        return [features / (features.square().sum(1, keepdim=True).sqrt() + 1e-10) for features in maps]
