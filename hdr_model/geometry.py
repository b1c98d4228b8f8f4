"""Crops as affine maps: boxes, sampling, and points carried into a crop and back.

A crop is an affine map (B,2,3) from its pixels to the image's (x, y; pixel centres at integers in both). Everything is
batched and runs where its tensors are.

Outside the image a crop repeats the border pixel: black would be an edge that real crops do not have. Masks repeat with
it, so an image and its target are equal outside the hole there too.
"""

from __future__ import annotations

from contextlib import nullcontext
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

Outside = Literal["border", "zeros"]
"""The value beyond the image: its nearest pixel's, or 0."""
BOX_SCALE = 2.0
"""Side of the crop / side of the square around the hand's amodal mask."""
MAX_LEVEL, MAX_DEVICE_LEVEL = 6, 3
"""Halvings at most of an image before a small crop of it is read; off the CPU all halvings are computed."""


def mask_boxes(mask: Tensor) -> tuple[Tensor, Tensor]:
    """Centre (B,2) x, y and side (B,) of the square around each mask (B,H,W), in pixels.

    An empty mask gets the middle half of its image, whose crop is the whole image.
    """
    height, width = mask.shape[-2:]
    low, high = [], []
    pixels = mask.view(torch.uint8)  # 30 times as fast as ``any`` of truth values
    columns, rows = pixels.amax(-2), pixels.amax(-1)
    for line in (columns, rows):
        low.append(line.int().argmax(-1))
        high.append(line.shape[-1] - 1 - line.flip(-1).int().argmax(-1))
    first, last = torch.stack(low, -1).float(), torch.stack(high, -1).float()
    found = rows.bool().any(1)
    middle = first.new_tensor([(width - 1) / 2, (height - 1) / 2])
    centre = torch.where(found[:, None], (first + last) / 2, middle)
    side = torch.where(found, (last - first).amax(-1) + 1, first.new_tensor(max(height, width) / BOX_SCALE))
    return centre, side


def crop_affine(
    centre: Tensor, side: Tensor, size: int, mirror: Tensor, jitter: Tensor | None = None, box_scale: float = BOX_SCALE
) -> Tensor:
    """Map (B,2,3) from pixels of a ``size`` x ``size`` crop to image pixels.

    ``centre`` (B,2), ``side`` (B,): the hand's square; ``mirror`` (B,) bool: flip x. ``jitter`` (B,4): how far the
    crop strays from that: radians, the logarithm of the scale, x and y in sides of the square.
    """
    jitter = centre.new_zeros(len(centre), 4) if jitter is None else jitter.to(centre)
    angle = jitter[:, 0]
    scale = side * box_scale / size * torch.exp(jitter[:, 1])
    flip = torch.where(mirror, -1.0, 1.0)
    cosine, sine = torch.cos(angle) * scale, torch.sin(angle) * scale
    linear = torch.stack([torch.stack([cosine * flip, -sine], -1), torch.stack([sine * flip, cosine], -1)], -2)
    origin = centre + jitter[:, 2:] * side[:, None] - linear.sum(-1) * (size - 1) / 2
    return torch.cat([linear, origin[..., None]], -1)


def invert(affine: Tensor) -> Tensor:
    """The inverse of affine maps (B,2,3)."""
    linear = torch.linalg.inv(affine[:, :, :2])
    return torch.cat([linear, exact_product(-linear, affine[:, :, 2:])], -1)


def sample(maps: Tensor, affine: Tensor, size: int, outside: Outside = "border") -> Tensor:
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
    return exact_product(points - affine[:, None, :, 2], torch.linalg.inv(affine[:, :, :2]).mT)


def from_crop(points: Tensor, affine: Tensor) -> Tensor:
    """Crop pixels (B,K,2) -> image pixels."""
    return exact_product(points, affine[:, :, :2].mT) + affine[:, None, :, 2]


def middles(affine: Tensor, size: int) -> Tensor:
    """(B,size*size,2) image pixels under the middles of the crop's pixels, row by row."""
    steps = torch.arange(size, device=affine.device, dtype=affine.dtype)
    y, x = torch.meshgrid(steps, steps, indexing="ij")
    return from_crop(torch.stack([x, y], -1).view(1, -1, 2).expand(len(affine), -1, -1), affine)


def rotate_to_crop(joints: Tensor, affine: Tensor) -> Tensor:
    """3D joints (B,K,3) in the camera's axes -> the crop's: mirrored in x and turned about the viewing axis alike."""
    return torch.cat([exact_product(joints[..., :2], _rotation(affine)), joints[..., 2:]], -1)


def rotate_from_crop(joints: Tensor, affine: Tensor) -> Tensor:
    """The inverse of ``rotate_to_crop``."""
    return torch.cat([exact_product(joints[..., :2], _rotation(affine).mT), joints[..., 2:]], -1)


def _bilinear(maps: Tensor, affine: Tensor, size: int, outside: Outside, halvings: int) -> Tensor:
    if halvings:
        block = 2**halvings
        maps = F.avg_pool2d(maps, block, ceil_mode=True)
        affine = torch.cat([affine[:, :, :2], affine[:, :, 2:] - (block - 1) / 2], -1) / block
    height, width = maps.shape[-2:]
    pixels = middles(affine, size)
    extent = pixels.new_tensor([width, height])
    grid = ((2 * pixels + 1) / extent - 1).view(-1, size, size, 2)
    return F.grid_sample(maps, grid, mode="bilinear", padding_mode=outside, align_corners=False)


def _rotation(affine: Tensor) -> Tensor:
    """The crop's axes as columns (B,2,2) in the image's, of length 1."""
    linear = affine[:, :, :2]
    return linear / linear.det().abs().sqrt()[:, None, None]


def exact_product(first: Tensor, second: Tensor) -> Tensor:
    """The matrix product (..., N, K), (..., K, M) -> (..., N, M) in its arguments' precision, also under autocast.

    bfloat16 knows a place of 200 px to 1 px.
    """
    device = first.device.type
    exact = torch.autocast(device, enabled=False) if torch.amp.is_autocast_available(device) else nullcontext()
    with exact:
        return first @ second


def place_on_rays(points: Tensor, relative: Tensor, camera: Tensor) -> Tensor:
    """Place (N,3), by linear least squares, of things whose parts a camera sees at ``points``.

    Args:
        points: (N,P,2) px.
        relative: (N,P,3) parts relative to the place, in the camera's axes; the result is in its unit.
        camera: (N,3,3) intrinsics. A thing with anything unknown gives NaN.
    """
    rays = torch.cat([points, torch.ones_like(points[..., :1])], -1) @ torch.linalg.inv_ex(camera)[0].mT
    rays = rays[..., :2] / rays[..., 2:]
    # A part X + T is seen at the ray (x, y, 1): X + T - (x, y) * (Z + T_z) = 0 in both coordinates.
    eye = torch.eye(2, dtype=rays.dtype, device=rays.device).expand(*rays.shape, 2)
    left = torch.cat([eye, -rays[..., None]], -1).flatten(1, 2)
    right = (rays * relative[..., 2:] - relative[..., :2]).flatten(1)
    return torch.linalg.solve_ex(left.mT @ left, left.mT @ right[..., None])[0][..., 0]
