"""The crop around one hand, and every quantity carried into it: pixels, masks, 2D and 3D joints.

A crop is an affine map (B,2,3) from its pixels to the image's (x, y; pixel centres at integers in both). Everything is
batched and runs where its tensors are. A left hand is mirrored, so networks only ever see a right hand as "this hand".

Outside the photo a crop repeats the border pixel: black would be an edge that real crops do not have. Masks repeat with
it, so an image and its target are equal outside the hole there too.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

from aih_gen.compose.sample import MASK_BITS
from aih_gen.config import SIDES
from hdr_model.data.draws import Draws

BOX_SCALE = 2.0
"""Side of the crop / side of the square around the hand's amodal mask."""
MAX_LEVEL, MAX_DEVICE_LEVEL = 6, 3
"""How often at most an image is halved before a small crop of it is read; off the CPU all halvings are computed."""


@dataclass(frozen=True)
class Jitter:
    """How far a training crop strays from the exact one: uniform within +- each number."""

    rotation: float = 0.0
    """Degrees."""
    scale: float = 0.0
    """Of the logarithm of the crop's side."""
    translation: float = 0.0
    """In hand boxes (the box before ``BOX_SCALE``)."""

    def draw(self, draws: Draws) -> Tensor:
        """(B,4) float: the angle in radians, the logarithm of the scale, x and y in hand boxes."""
        limits = torch.tensor([math.radians(self.rotation), self.scale, self.translation, self.translation])
        return (draws.uniform(4) * 2 - 1) * limits


@dataclass(frozen=True, eq=False)
class HandCrops:
    """Crops around one hand of each sample, which is a right hand there. Images are in [0, 1]; S is the crop's side."""

    image: Tensor  # (B,3,S,S) both hands
    target: Tensor  # (B,3,S,S) this hand alone
    amodal: Tensor  # (B,1,S,S) bool, this hand
    visible: Tensor  # (B,1,S,S) bool, this hand
    other_visible: Tensor  # (B,1,S,S) bool
    other_arm: Tensor  # (B,1,S,S) bool
    shaded: Tensor  # (B,1,S,S) bool, image and target differ by a shadow only
    joints_2d: Tensor  # (B,21,2) px of the crop
    joints_3d: Tensor  # (B,21,3) m, relative to the wrist, mirrored and rotated as the crop is
    affine: Tensor  # (B,2,3) crop pixel -> image pixel


def unpack_masks(bits: Tensor) -> dict[str, Tensor]:
    """The masks of a shard's bit field (B,H,W) uint8, by name, each (B,H,W) bool."""
    return {name: (bits & bit) != 0 for name, bit in MASK_BITS.items()}


def mask_boxes(mask: Tensor) -> tuple[Tensor, Tensor]:
    """Centre (B,2) x, y and side (B,) of the square around each mask (B,H,W), in pixels.

    An empty mask gets the middle half of its image, whose crop is the whole image.
    """
    height, width = mask.shape[-2:]
    low, high = [], []
    for line in (mask.any(-2), mask.any(-1)):  # columns, then rows
        low.append(line.int().argmax(-1))
        high.append(line.shape[-1] - 1 - line.flip(-1).int().argmax(-1))
    first, last = torch.stack(low, -1).float(), torch.stack(high, -1).float()
    found = mask.flatten(1).any(1)
    middle = first.new_tensor([(width - 1) / 2, (height - 1) / 2])
    centre = torch.where(found[:, None], (first + last) / 2, middle)
    side = torch.where(found, (last - first).amax(-1) + 1, first.new_tensor(max(height, width) / BOX_SCALE))
    return centre, side


def crop_affine(
    centre: Tensor, side: Tensor, size: int, mirror: Tensor, moves: Tensor | None = None, box_scale: float = BOX_SCALE
) -> Tensor:
    """Map (B,2,3) from pixels of a ``size`` x ``size`` crop to image pixels.

    ``centre`` (B,2), ``side`` (B,): the hand's square; ``mirror`` (B,) bool: flip x. ``moves`` (B,4): how far the
    crop strays from that, as ``Jitter.draw`` gives it.
    """
    moves = centre.new_zeros(len(centre), 4) if moves is None else moves.to(centre)
    angle = moves[:, 0]
    scale = side * box_scale / size * torch.exp(moves[:, 1])
    flip = torch.where(mirror, -1.0, 1.0)
    cosine, sine = torch.cos(angle) * scale, torch.sin(angle) * scale
    linear = torch.stack([torch.stack([cosine * flip, -sine], -1), torch.stack([sine * flip, cosine], -1)], -2)
    origin = centre + moves[:, 2:] * side[:, None] - linear.sum(-1) * (size - 1) / 2
    return torch.cat([linear, origin[..., None]], -1)


def sample(maps: Tensor, affine: Tensor, size: int, outside: Literal["border", "zeros"] = "border") -> Tensor:
    """Values (B,C,size,size) of ``maps`` (B,C,H,W) float under the crop's pixels, bilinear.

    A crop that shrinks its image by 2 or more reads from the image averaged over 2x2, 4x4, ... pixels, so that thin
    fingers do not fall between the samples.
    """
    level = affine[:, :, :2].det().abs().sqrt().log2().floor().int()
    if maps.device.type != "cpu":  # which levels there are is not known here without waiting for the device
        crops = _bilinear(maps, affine, size, outside, 0)
        for halvings in range(1, MAX_DEVICE_LEVEL + 1):
            at_level = (level.clamp(0, MAX_DEVICE_LEVEL) == halvings)[:, None, None, None]
            crops = torch.where(at_level, _bilinear(maps, affine, size, outside, halvings), crops)
        return crops
    level = level.clamp(0, MAX_LEVEL)
    levels = level.unique().tolist()
    if len(levels) == 1:
        return _bilinear(maps, affine, size, outside, levels[0])
    crops = maps.new_empty(*maps.shape[:2], size, size)
    for halvings in levels:
        chosen = level == halvings
        crops[chosen] = _bilinear(maps[chosen], affine[chosen], size, outside, halvings)
    return crops


def sample_masks(masks: Tensor, affine: Tensor, size: int) -> Tensor:
    """Masks (B,C,H,W) bool under the crop's pixels: true where more than half of the weight is.

    Being linear until the threshold, this keeps visible inside amodal and visible masks apart.
    """
    return sample(masks.float(), affine, size) > 0.5


def nearest_bits(bits: Tensor, affine: Tensor, size: int) -> Tensor:
    """Bit fields (B,H,W) uint8 at the middles of the crop's pixels, (B,size,size); repeated outside.

    A tenth of the cost of ``sample_masks``, for masks that are compared but not looked at.
    """
    height, width = bits.shape[-2:]
    pixels = middles(affine, size).round().long()
    column, row = pixels[..., 0].clamp(0, width - 1), pixels[..., 1].clamp(0, height - 1)
    return bits.flatten(1).gather(1, row * width + column).view(-1, size, size)


def to_crop(points: Tensor, affine: Tensor) -> Tensor:
    """Image pixels (B,K,2) -> crop pixels."""
    return (points - affine[:, None, :, 2]) @ torch.linalg.inv(affine[:, :, :2]).mT


def from_crop(points: Tensor, affine: Tensor) -> Tensor:
    """Crop pixels (B,K,2) -> image pixels."""
    return points @ affine[:, :, :2].mT + affine[:, None, :, 2]


def rotate_to_crop(joints: Tensor, affine: Tensor) -> Tensor:
    """3D joints (B,K,3) in the camera's axes -> the crop's: mirrored in x and turned about the viewing axis alike."""
    turn = _rotation(affine)
    return torch.cat([joints[..., :2] @ turn, joints[..., 2:]], -1)


def rotate_from_crop(joints: Tensor, affine: Tensor) -> Tensor:
    """The inverse of ``rotate_to_crop``."""
    turn = _rotation(affine)
    return torch.cat([joints[..., :2] @ turn.mT, joints[..., 2:]], -1)


@dataclass(frozen=True, eq=False)
class HandGeometry:
    """Where the crops around one hand of each sample lie, and its joints there."""

    hand: Tensor  # (B,) 0 right, 1 left
    affine: Tensor  # (B,2,3) crop pixel -> image pixel
    joints_2d: Tensor  # (B,21,2) px of the crop
    joints_3d: Tensor  # (B,21,3) m, relative to the wrist, mirrored and rotated as the crop is


def hand_geometry(
    batch: Mapping[str, Tensor],
    hand: Tensor,
    size: int,
    moves: Tensor | None = None,
    squares: tuple[Tensor, Tensor] | None = None,
) -> HandGeometry:
    """Crops of hand ``hand`` (B,) of each sample; the arguments are ``crop_hands``'s."""
    rows = torch.arange(len(hand), device=hand.device)
    if squares is None:
        squares = mask_boxes((batch["masks"] & _crop_bits(hand)[:, 0, None, None]) != 0)
    affine = crop_affine(*squares, size, hand == 1, moves)
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
    moves: Tensor | None = None,
    squares: tuple[Tensor, Tensor] | None = None,
) -> HandCrops:
    """Crop hand ``hand`` (B,), 0 right or 1 left, out of each sample.

    ``batch`` holds ``rgb`` (B,3,H,W,3) uint8, ``masks`` (B,H,W) uint8, ``joints_2d`` (B,2,21,2) px and ``joints_3d``
    (B,2,21,3) m, as ``AIHShards.read`` gives them. ``squares``: the hands' centres (B,2) and sides (B,) in px; by
    default those of their amodal masks.
    """
    geometry = hand_geometry(batch, hand, size, moves, squares)
    masks = (batch["masks"][:, None] & _crop_bits(hand)[:, :, None, None]) != 0
    amodal, visible, other_visible, other_arm, shaded = sample_masks(masks, geometry.affine, size).split(1, 1)
    return HandCrops(
        image=crop_pixels(batch, geometry, size, alone=False),
        target=crop_pixels(batch, geometry, size, alone=True),
        amodal=amodal,
        visible=visible,
        other_visible=other_visible,
        other_arm=other_arm,
        shaded=shaded,
        joints_2d=geometry.joints_2d,
        joints_3d=geometry.joints_3d,
        affine=geometry.affine,
    )


def _crop_bits(hand: Tensor) -> Tensor:
    """The bits (B,5) of the masks of ``HandCrops``, in its order, where ``hand`` (B,) is this one."""
    names = [
        (f"amodal_{this}", f"visible_{this}", f"visible_{other}", f"arm_{other}", "shaded")
        for this, other in (SIDES, SIDES[::-1])
    ]
    table = [[MASK_BITS[name] for name in of_hand] for of_hand in names]
    return torch.tensor(table, dtype=torch.uint8, device=hand.device)[hand]


def _bilinear(maps: Tensor, affine: Tensor, size: int, outside: Literal["border", "zeros"], halvings: int) -> Tensor:
    if halvings:
        block = 2**halvings
        maps = functional.avg_pool2d(maps, block, ceil_mode=True)
        affine = torch.cat([affine[:, :, :2], affine[:, :, 2:] - (block - 1) / 2], -1) / block
    height, width = maps.shape[-2:]
    pixels = middles(affine, size)
    extent = pixels.new_tensor([width, height])
    grid = ((2 * pixels + 1) / extent - 1).view(-1, size, size, 2)
    return functional.grid_sample(maps, grid, mode="bilinear", padding_mode=outside, align_corners=False)


def middles(affine: Tensor, size: int) -> Tensor:
    """(B,size*size,2) image pixels under the middles of the crop's pixels, row by row."""
    steps = torch.arange(size, device=affine.device, dtype=affine.dtype)
    y, x = torch.meshgrid(steps, steps, indexing="ij")
    return from_crop(torch.stack([x, y], -1).view(1, -1, 2).expand(len(affine), -1, -1), affine)


def _rotation(affine: Tensor) -> Tensor:
    """The crop's axes as columns (B,2,2) in the image's, of length 1."""
    linear = affine[:, :, :2]
    return linear / linear.det().abs().sqrt()[:, None, None]
