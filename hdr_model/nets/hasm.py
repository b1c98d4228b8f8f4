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
        width = config.decoder_width
        self.projections = nn.ModuleList(_conv_bn_relu(size, width) for size in config.hidden_sizes)
        self.heads = nn.ModuleDict(
            {
                name: nn.Sequential(
                    _conv_bn_relu(width * len(config.hidden_sizes), width),
                    nn.Dropout2d(config.dropout),
                    nn.Conv2d(width, 2, 1),
                )
                for name in self.mask_names
            }
        )

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
        return list(cast(Any, self.encoder(image, output_hidden_states=True)).hidden_states)

    def forward(self, image: Tensor) -> dict[MaskName, Tensor]:
        """(B, 3, H, W) normalised -> for each mask (B, 2, H/4, W/4) logits of outside and inside."""
        maps = [project(features) for project, features in zip(self.projections, self.features(image), strict=True)]
        fused = torch.cat([F.interpolate(m, maps[0].shape[-2:], mode="bilinear") for m in maps], 1)
        # The heads' first convolutions in one: the same sums, in half the time.
        heads = [cast(nn.Sequential, self.heads[name]) for name in self.mask_names]
        first = [cast(nn.Sequential, head[0]) for head in heads]
        weights = torch.cat([cast(Tensor, layers[0].weight) for layers in first])
        hidden = F.conv2d(fused, weights).split(self.config.decoder_width, 1)
        return {
            name: head[1:](layers[1:](part))
            for name, head, layers, part in zip(self.mask_names, heads, first, hidden, strict=True)
        }


def _conv_bn_relu(in_channels: int, out_channels: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(in_channels, out_channels, 1, bias=False), nn.BatchNorm2d(out_channels), nn.ReLU())
