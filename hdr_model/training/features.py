"""The features of HDRM's perceptual and style losses."""

from __future__ import annotations

from pathlib import Path

import torch

from aih_gen.errors import AssetError
from hdr_model.losses import FeatureExtractor, frozen_encoder_features
from hdr_model.nets.hasm import HASM
from hdr_model.nets.shpe import SHPE
from hdr_model.nets.vgg import VGG16Features
from hdr_model.weights import find_weights


def open_features(path: Path, device: torch.device) -> FeatureExtractor:
    """VGG16 where ``path`` is a file, else the frozen encoder of the trained HASM, or SHPE, in that folder.

    Raises:
        AssetError: it is none of these.
    """
    if path.is_file():
        return VGG16Features.from_file(path).to(device)
    try:
        network: HASM | SHPE = HASM.from_pretrained(find_weights(path, "hasm"))
    except AssetError:
        network = SHPE.from_pretrained(find_weights(path, "shpe"))
    return frozen_encoder_features(network.to(device))
