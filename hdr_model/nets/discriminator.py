"""HDRM's discriminator: a PatchGAN with spectral normalisation (Isola et al. 2017; Miyato et al. 2018)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm


class Discriminator(nn.Module):
    """Five 4x4 convolutions that classify each patch of an image as real or painted.

    The paper's last sigmoid is left to the loss, where it can be computed without overflow.
    """

    def __init__(self, width: int = 64) -> None:
        super().__init__()
        widths = (5, width, 2 * width, 4 * width, 8 * width, 1)
        strides = (2, 2, 2, 1, 1)
        self.convs = nn.ModuleList(
            spectral_norm(nn.Conv2d(widths[i], widths[i + 1], 4, strides[i], 1, bias=False)) for i in range(5)
        )
        self.activation = nn.LeakyReLU(0.2)

    def forward(self, image: Tensor, visible: Tensor, background: Tensor) -> Tensor:
        """Classify the patches of images.

        Args:
            image: (B, 3, H, W) normalised.
            visible: (B, 1, H, W), 0 or 1: this hand's visible mask, M_rv.
            background: (B, 1, H, W), 0 or 1: the visible background, M_bv.

        Returns:
            (B, 1, H/8 - 2, W/8 - 2) logits, positive = real.
        """
        features = torch.cat([image, visible.to(image.dtype), background.to(image.dtype)], 1)
        for conv in self.convs[:-1]:
            features = self.activation(conv(features))
        return self.convs[-1](features)
