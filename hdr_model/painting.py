"""One hand alone: a crop with its masks, and the crop as HDRM paints it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn import functional as F

from aih_gen.config import SIDES
from hdr_model.config import HDRMConfig
from hdr_model.geometry import crop_affine, mask_boxes, sample, sample_masks
from hdr_model.masks import HandMasks
from hdr_model.nets.hdrm import HDRM
from hdr_model.nets.normalisation import denormalise, normalise
from hdr_model.nets.onnx_network import ONNXHDRM

GROWTH = 9 / 256
"""Diameter of the ellipse that dilates the hole at inference, in sides of the crop (paper's code: 9 px of 256)."""


@dataclass(frozen=True, eq=False)
class HandInput:
    """Crops around N hands, each of which is a right hand in its crop, and the masks there."""

    image: Tensor  # (N,3,S,S) in [0, 1]
    masks: HandMasks
    affine: Tensor  # (N,2,3) crop pixel -> image pixel


@dataclass(frozen=True, eq=False)
class Painting:
    """N hands as HDRM painted them."""

    composite: Tensor  # (N,3,S,S) in [0, 1]: the filling in the hole, the photo elsewhere
    holes: Tensor  # (N,1,S,S) bool
    filling: Tensor  # (N,3,S,S) in [0, 1]

    def row(self, k: int) -> Painting:
        """The painting of hand ``k`` alone."""
        return Painting(self.composite[k : k + 1], self.holes[k : k + 1], self.filling[k : k + 1])


def paint(hdrm: HDRM | ONNXHDRM, hands: HandInput, dilate_hole: bool) -> Painting:
    """Each hand alone.

    Args:
        dilate_hole: count what lies within ``GROWTH`` of the other hand and arm as covered by them, as the paper's code
            does at inference, so that the rim of an imprecise mask does not stay.
    """
    masks = masks_for(hdrm.config, dilate_others(hands.masks) if dilate_hole else hands.masks)
    x, validity = hdrm_input(normalise(hands.image), masks)
    painted = hdrm(*(part.contiguous(memory_format=torch.channels_last) for part in (x, validity)))
    filling = denormalise(painted.float())
    return Painting(torch.where(masks.hole, filling, hands.image), masks.hole, filling)


def cut_hands(
    images: Tensor, masks: Mapping[str, Tensor], hand: Tensor, size: int, affine: Tensor | None = None
) -> HandInput:
    """Crops of hand ``hand`` (B,), 0 right or 1 left, of images (B,3,H,W) in [0, 1] with masks (B,H,W) bool.

    ``affine`` (B,2,3) says where to cut; by default around the hand's amodal mask. Without arm masks nothing is an arm.
    """
    rows = torch.arange(len(hand), device=hand.device)
    nothing = torch.zeros_like(masks["right_amodal"])
    sides = {
        kind: torch.stack([masks.get(f"{side}_{kind}", nothing) for side in SIDES], 1)
        for kind in ("amodal", "visible", "arm")
    }
    amodal = sides["amodal"][rows, hand]
    if affine is None:
        affine = crop_affine(*mask_boxes(amodal), size, hand == 1)
    others = (sides[kind][rows, 1 - hand] for kind in ("visible", "arm"))
    cut = sample_masks(torch.stack([amodal, sides["visible"][rows, hand], *others], 1), affine, size)
    return HandInput(sample(images, affine, size, "border"), HandMasks(*cut.split(1, 1)), affine)


def hdrm_input(image: Tensor, masks: HandMasks) -> tuple[Tensor, Tensor]:
    """HDRM's input and its validity, both (B,8,H,W) float, from a normalised image (B,3,H,W) and masks (B,1,H,W) bool.

    The first four channels are what is known for painting the hidden part of this hand (the image without it, and the
    visible hand), the last four for painting the background (the image without the other hand, and the visible
    background).
    """
    known_hand, known_background = (~masks.hidden).to(image.dtype), (~masks.removal).to(image.dtype)
    hand, background = masks.visible.to(image.dtype), masks.background.to(image.dtype)
    x = torch.cat([image * known_hand, hand, image * known_background, background], 1)
    validity = torch.cat([known_hand.expand(-1, 4, -1, -1), known_background.expand(-1, 4, -1, -1)], 1)
    return x, validity


def masks_for(config: HDRMConfig, masks: HandMasks) -> HandMasks:
    """The masks as an HDRM of this configuration is to see them.

    Where de-occlusion is off nothing of this hand counts as hidden, where removal is off nothing as the other hand:
    the regions that follow, and ``hdrm_input``, leave that out.
    """
    if not config.deocclusion:
        masks = replace(masks, visible=masks.amodal)
    if not config.removal:
        nothing = torch.zeros_like(masks.other_visible)
        masks = replace(masks, other_visible=nothing, other_arm=nothing)
    return masks


def dilate_others(masks: HandMasks) -> HandMasks:
    """The masks with the other hand and arm dilated by ``GROWTH``, over this hand too."""
    diameter = GROWTH * masks.amodal.shape[-1]
    other_visible, other_arm = dilate(masks.other_visible, diameter), dilate(masks.other_arm, diameter)
    visible = masks.visible & ~(other_visible | other_arm)
    return replace(masks, visible=visible, other_visible=other_visible, other_arm=other_arm)


def dilate(mask: Tensor, diameter: float) -> Tensor:
    """Masks (N,1,H,W) bool dilated by an ellipse of about ``diameter`` px a side, as OpenCV rasterises it."""
    radius = max(1, round(diameter / 2 - 0.5))
    steps = torch.arange(-radius, radius + 1)
    reach = (radius * (1 - (steps / radius) ** 2).sqrt()).round()
    ellipse = (steps.abs() <= reach[:, None]).float()[None, None].to(mask.device)
    return F.conv2d(mask.float(), ellipse, padding=radius) > 0.5
