"""Image encoders by name. A new one is a module here and a line in ``ENCODERS``.

Nothing here loads PyTorch before an encoder is made: the command line offers these names.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Literal, Protocol, cast

from aih_gen.errors import AIHError

if TYPE_CHECKING:
    from torch import Tensor


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


ENCODERS: dict[str, tuple[str, Any]] = {
    "mit_nano": ("mix_transformer.MixTransformer", ((16, 32, 64, 128), (1, 1, 2, 1), (1, 2, 4, 8))),
    "mit_b0": ("mix_transformer.MixTransformer", ((32, 64, 160, 256), (2, 2, 2, 2), (1, 2, 5, 8))),
    "mit_b1": ("mix_transformer.MixTransformer", ((64, 128, 320, 512), (2, 2, 2, 2), (1, 2, 5, 8))),
    "mit_b2": ("mix_transformer.MixTransformer", ((64, 128, 320, 512), (3, 4, 6, 3), (1, 2, 5, 8))),
    "mit_b3": ("mix_transformer.MixTransformer", ((64, 128, 320, 512), (3, 4, 18, 3), (1, 2, 5, 8))),
    "mit_b4": ("mix_transformer.MixTransformer", ((64, 128, 320, 512), (3, 8, 27, 3), (1, 2, 5, 8))),
    "mit_b5": ("mix_transformer.MixTransformer", ((64, 128, 320, 512), (3, 6, 40, 3), (1, 2, 5, 8))),
    "efficientnet_lite0": (
        "efficientnet_lite.EfficientNetLite", ((16, 24, 40, 80, 112, 192, 320), (1, 2, 2, 3, 3, 4, 1)),
    ),
    "efficientnet_lite1": (
        "efficientnet_lite.EfficientNetLite", ((16, 24, 40, 80, 112, 192, 320), (1, 3, 3, 4, 4, 5, 1)),
    ),
    "efficientnet_lite2": (
        "efficientnet_lite.EfficientNetLite", ((16, 24, 48, 88, 120, 208, 352), (1, 3, 3, 4, 4, 5, 1)),
    ),
    "dilated_resnet_nano": ("dilated_resnet.DilatedResNet", (12, (1, 2, 2))),
    "dilated_resnet": ("dilated_resnet.DilatedResNet", (64, (2, 4, 6))),
}  # fmt: skip
"""Module and class, and its first arguments; the last is ``drop_path``."""

if TYPE_CHECKING:
    EncoderName = str
else:
    EncoderName = Literal[tuple(ENCODERS)]


def make_encoder(name: str, drop_path: float = 0.0) -> Encoder:
    """The encoder of that name, with random weights.

    Args:
        drop_path: probability with which a residual branch is dropped while training, where it has that.

    Raises:
        AIHError: there is none of that name.
    """
    if name not in ENCODERS:
        raise AIHError(f'encoder: expected one of {", ".join(ENCODERS)}, found "{name}"')
    place, sizes = ENCODERS[name]
    module, _, kind = place.partition(".")
    return cast(Encoder, getattr(import_module(f"{__name__}.{module}"), kind)(*sizes, drop_path))
