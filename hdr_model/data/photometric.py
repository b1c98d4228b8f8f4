"""Colours, noise and blur of training images: networks trained on rendered hands then work with other cameras too."""

from __future__ import annotations

import functools
from dataclasses import asdict, dataclass

import torch
from torch import Tensor
from torch.nn import functional

from hdr_model.data.rng import SampleRng


@dataclass(frozen=True)
class Photometric:
    """Strength of each change; 0 leaves it out. Gains are 1 +- the number, uniform, drawn for each sample."""

    brightness: float = 0.0
    contrast: float = 0.0
    saturation: float = 0.0
    colour_gain: float = 0.0
    """For each channel by itself."""
    gamma: float = 0.0
    """Of the logarithm of the exponent."""
    noise: float = 0.0
    """Largest standard deviation of Gaussian sensor noise, in [0, 1]."""
    blur: float = 0.0
    """Probability of losing resolution by a factor between 1.5 and 3, as a distant or shaken camera does."""

    def scaled(self, factor: float) -> Photometric:
        """All of it ``factor`` times as strong."""
        return Photometric(**{name: value * factor for name, value in asdict(self).items()})


def change_colours(images: Tensor, strength: Photometric, rng: SampleRng) -> Tensor:
    """Images (B,C,H,W) in [0, 1] with gains, gamma and contrast changed, still in [0, 1].

    C is a multiple of 3: several images of one sample stacked in the channels all change alike, pixel by pixel, so
    what was equal stays equal.
    """
    drawn = (rng.uniform(7) * 2 - 1).to(images.device)[..., None, None, None]  # (B,7,1,1,1)
    stacked = images.unflatten(1, (-1, 3))  # (B,P,3,H,W)
    gain = (1 + drawn[:, :3].transpose(1, 2) * strength.colour_gain) * (1 + drawn[:, 3:4] * strength.brightness)
    grey = stacked.mean(2, keepdim=True)
    stacked = grey + (stacked - grey) * (1 + drawn[:, 4:5] * strength.saturation)
    level = stacked[:, :1].mean((2, 3, 4), keepdim=True)  # of the first image, for all: equal pixels stay equal
    stacked = (level + (stacked - level) * (1 + drawn[:, 5:6] * strength.contrast)) * gain
    exponent = torch.exp(drawn[:, 6:7] * strength.gamma)
    return stacked.clamp(0, 1).pow(exponent).flatten(1, 2)


def add_blur_and_noise(images: Tensor, strength: Photometric, rng: SampleRng) -> Tensor:
    """Images (B,3,H,W) in [0, 1], some blurred, all noisy, still in [0, 1]."""
    height, width = images.shape[-2:]
    factor = 1.5 + 1.5 * rng.of_step()
    blurred = (rng.uniform() < strength.blur).nonzero()[:, 0].to(images.device)
    if len(blurred):
        size = int(height / factor), int(width / factor)
        small = functional.interpolate(images[blurred], size=size, mode="area")
        soft = functional.interpolate(small, size=(height, width), mode="bilinear")
        images = images.index_copy(0, blurred, soft)
    deviation = (rng.uniform(1, 1, 1) * strength.noise).to(images.device)
    return torch.addcmul(images, _noise(images, rng), deviation).clamp_(0, 1)


def _noise(images: Tensor, rng: SampleRng) -> Tensor:
    """Standard normal values like ``images``: for each sample a piece, drawn by its place, of one long row of them."""
    length = images[0].numel()
    row = _normal_row(max(1 << 20, 2 * length), images.device)
    starts = (rng.uniform().double() * (len(row) - length)).long().tolist()
    return torch.stack([row[start : start + length] for start in starts]).view(images.shape)


@functools.cache
def _normal_row(length: int, device: torch.device) -> Tensor:
    return torch.randn(length, generator=torch.Generator().manual_seed(0)).to(device)
