"""HASM, the hand amodal segmentation module: SegFormer (Xie et al. 2021) with one head per mask."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import SegformerConfig, SegformerModel

from aih_gen.config import SIDES
from hdr_model.config import HASMConfig
from hdr_model.nets.naming import Naming, close_looks
from hdr_model.nets.pretrained import PretrainedNetwork

MaskName = Literal["left_amodal", "left_visible", "right_amodal", "right_visible", "left_arm", "right_arm"]

HAND_MASKS: tuple[MaskName, ...] = ("left_amodal", "left_visible", "right_amodal", "right_visible")
ARM_MASKS: tuple[MaskName, ...] = ("left_arm", "right_arm")

Logits = dict[str, Tensor]
"""By a ``MaskName``: (B, 2, h, w) logits of outside and inside."""


class HASM(PretrainedNetwork):
    """A Mix Transformer encoder and a decoder whose heads share its projections (paper, section 3.2).

    With ``naming`` the heads only tell two hands apart, and a close look at each says whose masks they are.
    """

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
        self.naming = Naming() if config.naming else None

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

    def forward(self, image: Tensor) -> Logits:
        """(B, 3, H, W) normalised -> for each mask (B, 2, H/4, W/4) logits of outside and inside.

        In training mode hands stay as they are told apart, and ``naming`` is called with the true ones.
        """
        logits = self.separate(image)
        if self.naming is None or self.training:
            return logits
        looks, found = close_looks(image, visible_probability(logits))
        score = self.naming(looks.flatten(0, 1)).score.unflatten(0, (-1, 2)) * found
        return exchange(logits, score[:, 0] < score[:, 1])

    def separate(self, image: Tensor) -> Logits:
        """What ``forward`` gives in training mode: with ``naming``, either hand may be called the right one."""
        maps = [project(features) for project, features in zip(self.projections, self.features(image), strict=True)]
        convolution, normalise, activate = self.fusion
        # A 1x1 convolution and a resize change places freely: each map is convolved while it is still small.
        weights = cast(Tensor, convolution.weight).split(self.config.decoder_width, 1)
        fused = [F.conv2d(m, weight) for m, weight in zip(maps, weights, strict=True)]
        size = maps[0].shape[-2:]
        total = fused[0] + sum(F.interpolate(m, size, mode="bilinear") for m in fused[1:])
        logits = self.classifier(self.dropout(activate(normalise(total))))
        return dict(zip(self.mask_names, logits.split(2, 1), strict=True))


def probability(logits: Tensor) -> Tensor:
    """Logits (B, 2, h, w) of outside and inside -> (B, h, w) probability of inside."""
    return (logits[:, 1] - logits[:, 0]).float().sigmoid()


def visible_probability(logits: Logits) -> Tensor:
    """(B, 2, h, w) probability that the right hand, and the left one, is visible there."""
    return torch.stack([probability(logits[f"{side}_visible"]) for side in SIDES], 1)


def exchange(masks: Mapping[str, Tensor], where: Tensor) -> dict[str, Tensor]:
    """Masks, or their logits, (B, ...) whose right and left change places ``where`` (B,) bool is true."""
    other = exchange_all(masks)
    return {
        name: torch.where(where.view(-1, *[1] * (mask.ndim - 1)), other[name], mask) for name, mask in masks.items()
    }


def exchange_all(masks: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Masks, or their logits, whose right and left change places."""
    return {name: masks[_of_other_hand(name)] for name in masks}


def _of_other_hand(name: str) -> str:
    """``left_amodal`` of ``right_amodal``, ..."""
    side, kind = name.split("_")
    return f"{SIDES[1 - SIDES.index(side)]}_{kind}"


def _conv_bn_relu(in_channels: int, out_channels: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(in_channels, out_channels, 1, bias=False), nn.BatchNorm2d(out_channels), nn.ReLU())
