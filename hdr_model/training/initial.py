"""The first weights of an encoder: random ones, ImageNet's, or those of a file."""

from __future__ import annotations

from pathlib import Path
from typing import cast

from torch import nn

from aih_gen.assets import asset_path
from aih_gen.errors import AIHError, AssetError
from hdr_model.import_reference import start_encoder
from hdr_model.nets.external_weights import read_external
from hdr_model.nets.hasm import HASM
from hdr_model.nets.pretrained import load_checked
from hdr_model.nets.shpe import SHPE

IMAGENET = tuple(f"efficientnet_lite{k}" for k in range(3))
"""Encoders whose ImageNet weights ``scripts/build_encoders.py`` makes."""


def initialise_encoder(network: HASM | SHPE, init: str, started: bool) -> str | None:
    """Give the network's encoder its first weights; the name of what they are, None for random ones.

    Args:
        init: ``auto``, ``imagenet``, ``random`` or a path, as ``hdr train --init`` says.
        started: all weights are taken from another run afterwards.

    Raises:
        AIHError: weights are wanted from two places.
        AssetError: there are no such weights, or they are not this encoder's.
    """
    name = network.config.encoder
    if init == "random" or (init == "auto" and (started or name not in IMAGENET)):
        return None
    if started:
        raise AIHError(
            f"--init {init}, --start-from: expected one of them, as both give the encoder its weights, found both"
        )
    if init not in ("auto", "imagenet"):
        start_encoder(network, Path(init))
        return init
    load_imagenet(cast(nn.Module, network.encoder), name)
    return "imagenet"


def load_imagenet(encoder: nn.Module, name: str) -> None:
    """Give ``encoder`` the ImageNet weights in assets/encoders.

    Raises:
        AssetError: there are none for it, or they are damaged.
    """
    path = asset_path("encoders") / f"{name}.safetensors"
    if name not in IMAGENET:
        raise AssetError(f"--init imagenet: expected one of {', '.join(IMAGENET)}, found encoder {name}")
    if not path.is_file():
        raise AssetError(f"{path}: expected the ImageNet weights of {name}, found none; --init random needs none")
    tensors = read_external(path)
    load_checked(encoder, tensors, str(path))
