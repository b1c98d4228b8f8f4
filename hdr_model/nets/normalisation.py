"""ImageNet normalisation: what every network takes, and what HDRM gives back."""

from __future__ import annotations

import torch
from torch import Tensor

IMAGE_MEAN: tuple[float, float, float] = (0.485, 0.456, 0.406)
IMAGE_STD: tuple[float, float, float] = (0.229, 0.224, 0.225)


def normalise(image: Tensor) -> Tensor:
    """(..., 3, H, W) uint8 in 0-255 or float in [0, 1] -> the same shape, float, zero mean and unit deviation."""
    if image.dtype == torch.uint8:
        image = image.float() / 255
    return (image - _channels(IMAGE_MEAN, image)) / _channels(IMAGE_STD, image)


def denormalise(image: Tensor) -> Tensor:
    """The inverse of ``normalise``, as float clipped to [0, 1]."""
    return (image * _channels(IMAGE_STD, image) + _channels(IMAGE_MEAN, image)).clamp(0, 1)


def _channels(values: tuple[float, float, float], like: Tensor) -> Tensor:
    return torch.tensor(values, dtype=like.dtype, device=like.device).view(3, 1, 1)
