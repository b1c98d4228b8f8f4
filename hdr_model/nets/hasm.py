"""HASM, the hand amodal segmentation module: SegFormer (Xie et al. 2021) with one head per mask."""

from __future__ import annotations

from typing import Any, Literal, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import SegformerConfig, SegformerModel

from hdr_model.config import HASMConfig
from hdr_model.nets.pretrained import PretrainedNetwork

MaskName = Literal["left_amodal", "left_visible", "right_amodal", "right_visible", "left_arm", "right_arm"]

HAND_MASKS: tuple[MaskName, ...] = ("left_amodal", "left_visible", "right_amodal", "right_visible")
ARM_MASKS: tuple[MaskName, ...] = ("left_arm", "right_arm")


class HASM(PretrainedNetwork):
    """A Mix Transformer encoder and a decoder whose heads share its projections (paper, section 3.2)."""

    task = "hasm"
    config_type = HASMConfig
    config: HASMConfig

    def __init__(self, config: HASMConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder = SegformerModel(
            SegformerConfig(
                hidden_sizes=list(config.hidden_sizes),
                depths=list(config.depths),
                num_attention_heads=list(config.heads),
                sr_ratios=list(config.reductions),
                mlp_ratios=[config.mlp_ratio] * len(config.depths),
                drop_path_rate=config.drop_path,
            )
        )
        width, masks = config.decoder_width, len(self.mask_names)
        self.projections = nn.ModuleList(_conv_bn_relu(size, width) for size in config.hidden_sizes)
        # The heads side by side: channels k * width onwards, and outputs 2 k and 2 k + 1, are mask k's.
        self.fusion = _conv_bn_relu(width * len(config.hidden_sizes), width * masks)
        self.dropout = nn.Dropout2d(config.dropout)
        self.classifier = nn.Conv2d(width * masks, 2 * masks, 1, groups=masks)

    @property
    def mask_names(self) -> tuple[MaskName, ...]:
        """The masks this network predicts, in the order of its heads."""
        return HAND_MASKS + ARM_MASKS if self.config.arms else HAND_MASKS

    @property
    def stride(self) -> int:
        return 32

    def features(self, image: Tensor) -> list[Tensor]:
        """(B, 3, H, W) normalised -> the encoder's maps, (B, hidden_sizes[i], H / 2**(i + 2), W / 2**(i + 2))."""
        self._check_sides(image)
        return [
            m.contiguous(memory_format=torch.channels_last)  # the decoder takes a third of the time so
            for m in cast(Any, self.encoder(image, output_hidden_states=True)).hidden_states
        ]

    def forward(self, image: Tensor) -> dict[MaskName, Tensor]:
        """(B, 3, H, W) normalised -> for each mask (B, 2, H/4, W/4) logits of outside and inside."""
        maps = [project(features) for project, features in zip(self.projections, self.features(image), strict=True)]
        convolution, normalise, activate = self.fusion
        # A 1x1 convolution and a resize change places freely: each map is convolved while it is still small.
        weights = cast(Tensor, convolution.weight).split(self.config.decoder_width, 1)
        fused = [F.conv2d(m, weight) for m, weight in zip(maps, weights, strict=True)]
        size = maps[0].shape[-2:]
        total = fused[0] + sum(F.interpolate(m, size, mode="bilinear") for m in fused[1:])
        logits = self.classifier(self.dropout(activate(normalise(total))))
        return dict(zip(self.mask_names, logits.split(2, 1), strict=True))


def _conv_bn_relu(in_channels: int, out_channels: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(in_channels, out_channels, 1, bias=False), nn.BatchNorm2d(out_channels), nn.ReLU())
