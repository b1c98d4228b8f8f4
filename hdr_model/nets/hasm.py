"""HASM, the hand amodal segmentation module: an encoder, and a decoder with one head per mask."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, TypeVar, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hdr_model.config import HASMConfig
from hdr_model.nets.encoders import make_encoder
from hdr_model.nets.pretrained import PretrainedNetwork
from hdr_model.nets.pyramid import Pyramid

MaskName = Literal["left_amodal", "left_visible", "right_amodal", "right_visible", "left_arm", "right_arm"]

HAND_MASKS: tuple[MaskName, ...] = ("left_amodal", "left_visible", "right_amodal", "right_visible")
ARM_MASKS: tuple[MaskName, ...] = ("left_arm", "right_arm")

Name = TypeVar("Name", bound=str)

Logits = dict[MaskName, Tensor]
"""By a ``MaskName``: (B, 2, h, w) logits of outside and inside."""

MIN_HAND_AREA = 1 / 500
"""A hand is present in an image whose share of amodal pixels is at least this."""
NONE, RIGHT, LEFT, BOTH = range(4)
"""The hands that there are: 1 for the right one, 2 for the left one, or their sum."""
PRESENCE_WIDTH = 128


class HASMOutput(Logits):
    """The masks, and which hands there are.

    ``presence`` (B, 4) are logits of ``NONE``, ``RIGHT``, ``LEFT`` and ``BOTH``; None from a network without that
    branch.
    """

    def __init__(self, masks: Mapping[MaskName, Tensor], presence: Tensor | None = None) -> None:
        super().__init__(masks)
        self.presence = presence


class Margins(dict[str, Tensor]):
    """Logits of inside minus outside (B, h, w) by mask.

    ``there`` (B, 2) are the probabilities that there is a right and a left hand; 1 from a network that does not say.
    """

    def __init__(self, masks: Mapping[str, Tensor], there: Tensor) -> None:
        super().__init__(masks)
        self.there = there

    @property
    def confidence(self) -> Tensor:
        """(B, 2) of the right and the left hand, 0 to 1: ``there`` times the mean probability of its amodal mask."""
        whole = torch.stack([self["right_amodal"], self["left_amodal"]], 1).flatten(2)
        inside = whole > 0
        return self.there * (whole.sigmoid() * inside).sum(2) / inside.sum(2).clamp_min(1)


class HASM(PretrainedNetwork):
    """An encoder and a decoder whose heads share its features (paper, section 3.2)."""

    task = "hasm"
    config_type = HASMConfig
    config: HASMConfig

    def __init__(self, config: HASMConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder = make_encoder(config.encoder, config.drop_path)
        decoder = {"mlp": MLPDecoder, "pyramid": PyramidDecoder}[config.decoder]
        self.decoder = decoder(self.encoder.channels, config.decoder_width, len(self.mask_names), config.dropout)
        self.presence = PresenceBranch(self.encoder.channels[-1]) if config.presence else None

    @property
    def mask_names(self) -> tuple[MaskName, ...]:
        """The masks this network predicts, in the order of its heads."""
        return HAND_MASKS + ARM_MASKS if self.config.arms else HAND_MASKS

    @property
    def stride(self) -> int:
        return self.encoder.stride

    def features(self, image: Tensor) -> list[Tensor]:
        """(B, 3, H, W) normalised -> the encoder's maps."""
        self.check_sides(image)
        return self.encoder(image)

    def forward(self, image: Tensor) -> HASMOutput:
        """(B, 3, H, W) normalised -> masks at a quarter of its sides, and presence."""
        maps = self.features(image)
        logits = self.decoder(maps)
        masks = dict(zip(self.mask_names, logits.split(2, 1), strict=True))
        return HASMOutput(masks, self.presence(maps[-1], logits) if self.presence is not None else None)


class MLPDecoder(nn.Module):
    """SegFormer's decoder (Xie et al. 2021) with one fusion and classifier per mask (paper, section 3.2)."""

    def __init__(self, channels: Sequence[int], width: int, masks: int, dropout: float) -> None:
        super().__init__()
        self.width = width
        self.projections = nn.ModuleList(_conv_bn_relu(size, width) for size in channels)
        # The heads side by side: channels k * width onwards, and outputs 2 k and 2 k + 1, are mask k's.
        self.fusion = _conv_bn_relu(width * len(channels), width * masks)
        self.dropout = nn.Dropout2d(dropout)
        self.classifier = nn.Conv2d(width * masks, 2 * masks, 1, groups=masks)

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        """Maps -> (B, 2 masks, h, w) at the first map's resolution."""
        maps = [project(m) for project, m in zip(self.projections, features, strict=True)]
        convolution, normalise, activate = self.fusion
        # A 1x1 convolution and a resize change places freely: each map is convolved while it is still small.
        weights = cast(Tensor, convolution.weight).split(self.width, 1)
        fused = [F.conv2d(m, weight) for m, weight in zip(maps, weights, strict=True)]
        size = maps[0].shape[-2:]
        total = fused[0] + sum(F.interpolate(m, size, mode="bilinear") for m in fused[1:])
        logits: Tensor = self.classifier(self.dropout(activate(normalise(total))))
        return logits


class PyramidDecoder(nn.Module):
    """A feature pyramid, and a 1x1 convolution per mask."""

    def __init__(self, channels: Sequence[int], width: int, masks: int, dropout: float) -> None:
        super().__init__()
        self.pyramid = Pyramid(channels, width)
        self.dropout = nn.Dropout2d(dropout)
        self.classifier = nn.Conv2d(width, 2 * masks, 1)

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        """Maps -> (B, 2 masks, h, w) at the first map's resolution."""
        logits: Tensor = self.classifier(self.dropout(self.pyramid(features)))
        return logits


class PresenceBranch(nn.Module):
    """The hands in the image, from mean and maximum of the encoder's last map and of the hands' masks."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        known = 2 * (channels + len(HAND_MASKS))
        self.layers = nn.Sequential(nn.Linear(known, PRESENCE_WIDTH), nn.ReLU(), nn.Linear(PRESENCE_WIDTH, BOTH + 1))

    def forward(self, features: Tensor, masks: Tensor) -> Tensor:
        """Features (B, C, h, w) and the masks' logits (B, 2 M, H, W) -> logits (B, 4)."""
        hands = masks[:, : 2 * len(HAND_MASKS)].unflatten(1, (-1, 2)).softmax(2)[:, :, 1].to(features.dtype)
        known = [pooled for maps in (features, hands) for pooled in (maps.mean((2, 3)), maps.amax((2, 3)))]
        logits: Tensor = self.layers(torch.cat(known, 1))
        return logits


def presence_of(output: Mapping[MaskName, Tensor]) -> Tensor | None:
    """(B, 4) logits of which hands there are; None where the network has no presence branch."""
    return output.presence if isinstance(output, HASMOutput) else None


def mean_of_mirrored(output: Mapping[MaskName, Tensor]) -> HASMOutput:
    """The mean of logits of B images and of their mirror images, which follow them in a batch of 2 B."""
    plain, mirrored = ({name: pair.chunk(2)[k] for name, pair in output.items()} for k in (0, 1))
    masks = {name: (plain[name] + pair.flip(-1)) / 2 for name, pair in swap_hands(mirrored).items()}
    presence = presence_of(output)
    if presence is None:
        return HASMOutput(masks)
    first, second = presence.chunk(2)
    return HASMOutput(masks, (first + second[:, [NONE, LEFT, RIGHT, BOTH]]) / 2)


def mean_of_sizes(outputs: Sequence[Mapping[MaskName, Tensor]]) -> HASMOutput:
    """The mean of logits of the same B images at several sizes, at the resolution (h, w) of the largest."""
    finest = max((next(iter(output.values())).shape[-2:] for output in outputs), key=lambda shape: shape[0])
    masks = {
        name: torch.stack([F.interpolate(output[name].float(), finest, mode="bilinear") for output in outputs]).mean(0)
        for name in outputs[0]
    }
    presence = [of_one for output in outputs if (of_one := presence_of(output)) is not None]
    return HASMOutput(masks, torch.stack(presence).mean(0) if presence else None)


def margins(output: Mapping[MaskName, Tensor]) -> Margins:
    """Logits of inside minus outside (B, h, w) by mask, and which hands are there.

    Where the network says which hands there are, the masks of an absent one are all outside, and one that is by itself
    has all that is likelier to be either hand's than no hand's.
    """
    by_name = {str(name): (pair[:, 1] - pair[:, 0]).float() for name, pair in output.items()}
    presence = presence_of(output)
    if presence is None:
        return Margins(by_name, by_name["right_amodal"].new_ones(len(by_name["right_amodal"]), 2))
    there = presence.argmax(1)[:, None, None]
    found = dict(by_name)
    for side, other, this in (("right", "left", RIGHT), ("left", "right", LEFT)):
        for kind in ("amodal", "visible"):
            own, either = by_name[f"{side}_{kind}"], by_name[f"{side}_{kind}"].maximum(by_name[f"{other}_{kind}"])
            alone = torch.where(there == this, either, -own.abs())
            found[f"{side}_{kind}"] = torch.where(there == BOTH, own, alone)
    share = presence.float().softmax(1)
    return Margins(found, share[:, [RIGHT, LEFT]] + share[:, [BOTH]])


def exclusive(margins: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Masks from margins (inside minus outside) of one shape: visible masks apart, each inside its amodal mask."""
    masks = {name: margin > 0 for name, margin in margins.items()}
    right, left = margins["right_visible"], margins["left_visible"]
    masks["right_visible"] = masks["right_visible"] & masks["right_amodal"] & ((right >= left) | ~masks["left_amodal"])
    masks["left_visible"] = masks["left_visible"] & masks["left_amodal"] & ~masks["right_visible"]
    return masks


def probability(logits: Tensor) -> Tensor:
    """Logits (B, 2, h, w) of outside and inside -> (B, h, w) probability of inside."""
    return (logits[:, 1] - logits[:, 0]).float().sigmoid()


def swap_hands(masks: Mapping[Name, Tensor]) -> dict[Name, Tensor]:
    """Masks, or their logits, by name, whose right and left change places."""
    other = {"right": "left", "left": "right"}
    names = {name: f"{other[side]}_{kind}" for name in masks for side, kind in [name.split("_")]}
    return {name: masks[cast(Name, names[name])] for name in masks}


def swap_hands_where(masks: Mapping[Name, Tensor], where: Tensor) -> dict[Name, Tensor]:
    """Masks, or their logits, (B, ...) whose right and left change places ``where`` (B,) bool is true."""
    swapped = swap_hands(masks)
    return {
        name: torch.where(where.view(-1, *[1] * (mask.ndim - 1)), swapped[name], mask) for name, mask in masks.items()
    }


def _conv_bn_relu(in_channels: int, out_channels: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(in_channels, out_channels, 1, bias=False), nn.BatchNorm2d(out_channels), nn.ReLU())
