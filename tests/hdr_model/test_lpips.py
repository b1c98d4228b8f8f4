"""LPIPS of random weights against its formula, written down in NumPy."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from aih_gen.errors import AssetError
from hdr_model.evaluation.lpips import LPIPS

Array = NDArray[np.float64]
LAYERS = ((3, 64, 0), (64, 64, 2), (64, 128, 5), (128, 128, 7), (128, 256, 10), (256, 256, 12), (256, 256, 14),
          (256, 512, 17), (512, 512, 19), (512, 512, 21), (512, 512, 24), (512, 512, 26), (512, 512, 28))  # fmt: skip
ENDS = (2, 7, 14, 21, 28)
"""The last convolution of each block, before its pool."""


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """VGG16 as torchvision stores it (with a layer of its classifier), and the linear layers."""
    folder, random = tmp_path_factory.mktemp("weights"), torch.Generator().manual_seed(0)
    vgg = {"classifier.6.bias": torch.zeros(1000)}
    for inputs, outputs, number in LAYERS:
        deviation = (2 / (9 * inputs)) ** 0.5
        vgg[f"features.{number}.weight"] = torch.randn(outputs, inputs, 3, 3, generator=random) * deviation
        vgg[f"features.{number}.bias"] = torch.randn(outputs, generator=random) * 0.1
    widths = (64, 128, 256, 512, 512)
    linear = {f"lin{k}.model.1.weight": torch.rand(1, c, 1, 1, generator=random) for k, c in enumerate(widths)}
    torch.save(vgg, folder / "vgg16.pth")
    torch.save(linear, folder / "vgg.pth")
    return folder / "vgg16.pth", folder / "vgg.pth"


def literal(image: Array, files: tuple[Path, Path]) -> list[Array]:
    """The unit vectors (C,h,w) of each block, of an image (3,H,W) in [0, 1]."""
    weights = {name: value.double().numpy() for name, value in torch.load(files[0]).items()}
    x = (2 * image - 1 - np.array([-0.03, -0.088, -0.188])[:, None, None]) / np.array([0.458, 0.448, 0.45])[
        :, None, None
    ]
    maps = []
    for _, _, number in LAYERS:
        windows = sliding_window_view(np.pad(x, ((0, 0), (1, 1), (1, 1))), (3, 3), (1, 2))
        x = np.einsum("chwij,ocij->ohw", windows, weights[f"features.{number}.weight"], optimize=True)
        x = np.maximum(x + weights[f"features.{number}.bias"][:, None, None], 0)
        if number in ENDS:
            maps.append(x / np.linalg.norm(x, axis=0))
            x = x.reshape(len(x), x.shape[1] // 2, 2, x.shape[2] // 2, 2).max((2, 4))
    return maps


def test_lpips_is_the_weighted_distance_of_unit_vectors(files: tuple[Path, Path]) -> None:
    images = np.random.default_rng(1).random((2, 3, 32, 32))
    linear = [value.double().numpy()[0] for value in torch.load(files[1]).values()]
    a, b = (literal(image, files) for image in images)
    expected = sum((w * (p - q) ** 2).sum(0).mean() for p, q, w in zip(a, b, linear, strict=True))
    network = LPIPS.from_files(*files)
    one, other = torch.from_numpy(images).float().split(1)
    assert network(one, other).tolist() == pytest.approx([expected], rel=1e-4)
    assert network(torch.cat([one, other]), torch.cat([one, one])).tolist() == pytest.approx([0, expected], rel=1e-4)


def test_other_weights_are_refused_by_name(files: tuple[Path, Path]) -> None:
    with pytest.raises(AssetError, match=r"vgg\.pth"):
        LPIPS.from_files(files[1], files[1])
    with pytest.raises(AssetError, match=r"vgg16\.pth"):
        LPIPS.from_files(files[0], files[0])
