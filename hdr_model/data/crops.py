"""The crop around one hand, and every quantity carried into it: pixels, masks, 2D and 3D joints.

A left hand is mirrored, so networks only ever see a right hand as "this hand".
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from aih_gen.compose.sample import MASK_BITS
from aih_gen.config import SIDES
from hdr_model.data.rng import SampleRng
from hdr_model.geometry import crop_affine, mask_boxes, rotate_to_crop, sample, sample_masks, to_crop
from hdr_model.masks import HandMasks


@dataclass(frozen=True)
class Jitter:
    """Limits within which a training crop differs from the exact one: uniform within +- each number."""

    rotation: float = 0.0
    """Degrees."""
    scale: float = 0.0
    """Of the logarithm of the crop's side."""
    translation: float = 0.0
    """In hand boxes (the box before ``BOX_SCALE``)."""

    def draw(self, rng: SampleRng) -> Tensor:
        """(B,4) float: the angle in radians, the logarithm of the scale, x and y in hand boxes."""
        limits = torch.tensor([math.radians(self.rotation), self.scale, self.translation, self.translation])
        return (rng.uniform(4) * 2 - 1) * limits


@dataclass(frozen=True, eq=False)
class HandCrops:
    """Crops around one hand of each sample, which is a right hand there. Images are in [0, 1]; S is the crop's side."""

    image: Tensor  # (B,3,S,S) both hands
    target: Tensor  # (B,3,S,S) this hand alone
    masks: HandMasks
    shaded: Tensor  # (B,1,S,S) bool, image and target differ by a shadow only
    joints_2d: Tensor  # (B,21,2) px of the crop
    joints_3d: Tensor  # (B,21,3) m, relative to the wrist, mirrored and rotated as the crop is
    affine: Tensor  # (B,2,3) crop pixel -> image pixel


def unpack_masks(bits: Tensor) -> dict[str, Tensor]:
    """The masks of a shard's bit field (B,H,W) uint8, by name, each (B,H,W) bool."""
    return {name: (bits & bit) != 0 for name, bit in MASK_BITS.items()}


@dataclass(frozen=True, eq=False)
class HandGeometry:
    """The places of crops around one hand of each sample, and its joints there."""

    hand: Tensor  # (B,) 0 right, 1 left
    affine: Tensor  # (B,2,3) crop pixel -> image pixel
    joints_2d: Tensor  # (B,21,2) px of the crop
    joints_3d: Tensor  # (B,21,3) m, relative to the wrist, mirrored and rotated as the crop is


def hand_geometry(
    batch: Mapping[str, Tensor],
    hand: Tensor,
    size: int,
    jitter: Tensor | None = None,
    squares: tuple[Tensor, Tensor] | None = None,
) -> HandGeometry:
    """Crops of hand ``hand`` (B,) of each sample; the arguments are ``crop_hands``'s."""
    rows = torch.arange(len(hand), device=hand.device)
    if squares is None:
        squares = mask_boxes((batch["masks"] & _crop_bits(hand)[:, 0, None, None]) != 0)
    affine = crop_affine(*squares, size, hand == 1, jitter)
    joints = batch["joints_3d"][rows, hand]
    return HandGeometry(
        hand=hand,
        affine=affine,
        joints_2d=to_crop(batch["joints_2d"][rows, hand], affine),
        joints_3d=rotate_to_crop(joints - joints[:, :1], affine),
    )


def crop_pixels(batch: Mapping[str, Tensor], geometry: HandGeometry, size: int, alone: bool) -> Tensor:
    """The crops (B,3,size,size) in [0, 1] of the images, or of the targets with this hand ``alone``."""
    rows = torch.arange(len(geometry.hand), device=geometry.hand.device)
    plane = 1 + geometry.hand if alone else torch.zeros_like(geometry.hand)
    pixels = batch["rgb"][rows, plane].permute(0, 3, 1, 2).contiguous()  # grid_sample is faster on planes
    return sample(pixels.float(), geometry.affine, size, "border") / 255


def crop_hands(
    batch: Mapping[str, Tensor],
    hand: Tensor,
    size: int,
    jitter: Tensor | None = None,
    squares: tuple[Tensor, Tensor] | None = None,
) -> HandCrops:
    """Crop hand ``hand`` (B,), 0 right or 1 left, out of each sample.

    ``batch`` holds ``rgb`` (B,3,H,W,3) uint8, ``masks`` (B,H,W) uint8, ``joints_2d`` (B,2,21,2) px and ``joints_3d``
    (B,2,21,3) m, as ``AIHShards.read`` gives them. ``squares``: the hands' centres (B,2) and sides (B,) in px; by
    default those of their amodal masks.
    """
    geometry = hand_geometry(batch, hand, size, jitter, squares)
    bits = (batch["masks"][:, None] & _crop_bits(hand)[:, :, None, None]) != 0
    *masks, shaded = sample_masks(bits, geometry.affine, size).split(1, 1)
    return HandCrops(
        image=crop_pixels(batch, geometry, size, alone=False),
        target=crop_pixels(batch, geometry, size, alone=True),
        masks=HandMasks(*masks),
        shaded=shaded,
        joints_2d=geometry.joints_2d,
        joints_3d=geometry.joints_3d,
        affine=geometry.affine,
    )


def _crop_bits(hand: Tensor) -> Tensor:
    """The bits (B,5) of ``HandMasks``, in its order, and of ``shaded``, where ``hand`` (B,) is this one."""
    names = [
        (f"amodal_{this}", f"visible_{this}", f"visible_{other}", f"arm_{other}", "shaded")
        for this, other in (SIDES, SIDES[::-1])
    ]
    table = [[MASK_BITS[name] for name in of_hand] for of_hand in names]
    return torch.tensor(table, dtype=torch.uint8, device=hand.device)[hand]
