"""Image encoders by name. A new one is a module here and a line in ``ENCODERS``."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Protocol

from torch import Tensor

from hdr_model.config import EncoderName
from hdr_model.nets.encoders.dilated_resnet import DilatedResNet
from hdr_model.nets.encoders.efficientnet_lite import EfficientNetLite
from hdr_model.nets.encoders.mix_transformer import MixTransformer


class Encoder(Protocol):
    """A module from an image to maps of growing depth."""

    channels: tuple[int, ...]
    """Of each map."""
    stride: int
    """The height and width of the image must be multiples of this."""

    def __call__(self, image: Tensor) -> list[Tensor]:
        """(B, 3, H, W) with ImageNet's mean and deviation -> maps (B, channels[i], h_i, w_i), the finest first."""

    def freeze(self, stages: int) -> None:
        """Keep the first ``stages`` maps' layers, and their batch normalisation, as they are while training."""


ENCODERS: dict[EncoderName, Callable[[float], Encoder]] = {
    "mit_nano": partial(MixTransformer, (16, 32, 64, 128), (1, 1, 2, 1), (1, 2, 4, 8)),
    "mit_b0": partial(MixTransformer, (32, 64, 160, 256), (2, 2, 2, 2), (1, 2, 5, 8)),
    "mit_b1": partial(MixTransformer, (64, 128, 320, 512), (2, 2, 2, 2), (1, 2, 5, 8)),
    "mit_b2": partial(MixTransformer, (64, 128, 320, 512), (3, 4, 6, 3), (1, 2, 5, 8)),
    "mit_b3": partial(MixTransformer, (64, 128, 320, 512), (3, 4, 18, 3), (1, 2, 5, 8)),
    "mit_b4": partial(MixTransformer, (64, 128, 320, 512), (3, 8, 27, 3), (1, 2, 5, 8)),
    "mit_b5": partial(MixTransformer, (64, 128, 320, 512), (3, 6, 40, 3), (1, 2, 5, 8)),
    "efficientnet_lite0": partial(EfficientNetLite, (16, 24, 40, 80, 112, 192, 320), (1, 2, 2, 3, 3, 4, 1)),
    "efficientnet_lite1": partial(EfficientNetLite, (16, 24, 40, 80, 112, 192, 320), (1, 3, 3, 4, 4, 5, 1)),
    "efficientnet_lite2": partial(EfficientNetLite, (16, 24, 48, 88, 120, 208, 352), (1, 3, 3, 4, 4, 5, 1)),
    "dilated_resnet_nano": partial(DilatedResNet, 12, (1, 2, 2)),
    "dilated_resnet": partial(DilatedResNet, 64, (2, 4, 6)),
}
"""Each takes the probability with which a residual branch is dropped while training, where it has that."""


def make_encoder(name: EncoderName, drop_path: float = 0.0) -> Encoder:
    """The encoder of that name, with random weights."""
    return ENCODERS[name](drop_path)
