"""FID: its formula against torchmetrics', and Inception as its weights file has it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torchmetrics.image.fid import FrechetInceptionDistance

from aih_gen.errors import AssetError
from hdr_model.evaluation.metrics import frechet_distance
from hdr_model.nets.inception import Inception


class Given(nn.Identity):
    num_features = 6


@pytest.mark.parametrize("count", [5, 40], ids=["fewer than features", "more than features"])
def test_the_distance_is_torchmetrics(count: int) -> None:
    rng = np.random.default_rng(count)
    one, other = rng.normal(size=(count, 6)), 0.3 + 2 * rng.normal(size=(count + 3, 6)) @ rng.normal(size=(6, 6))
    theirs = FrechetInceptionDistance(Given()).set_dtype(torch.float64)
    theirs.update(torch.from_numpy(one), real=True)
    theirs.update(torch.from_numpy(other), real=False)
    assert frechet_distance(one, other) == pytest.approx(float(theirs.compute()), rel=1e-5)
    assert frechet_distance(one, one) == pytest.approx(0, abs=1e-9)
    assert np.isnan(frechet_distance(one[:1], other))


def test_normal_distributions_along_one_axis_are_as_far_apart_as_their_means_and_deviations() -> None:
    one = np.array([[-1.0], [1.0]])
    assert frechet_distance(one, 3 * one + 5) == pytest.approx(25 + (2 * np.sqrt(2)) ** 2)


@pytest.fixture(scope="module")
def inception() -> Inception:
    torch.manual_seed(0)
    network = Inception()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.running_mean, -0.1, 0.1)  # type: ignore[arg-type]
    return network.eval()


def test_inception_is_the_published_network_and_reads_its_file(tmp_path: Path, inception: Inception) -> None:
    # torchvision documents 27,161,264 parameters; the auxiliary classifier has 3,326,696 and the last layer 2,049,000.
    assert sum(parameter.numel() for parameter in inception.parameters()) == 27_161_264 - 3_326_696 - 2_049_000
    state = {k: v for k, v in inception.state_dict().items() if not k.endswith("num_batches_tracked")}
    torch.save(state | {"fc.weight": torch.zeros(1008, 2048)}, tmp_path / "inception.pth")
    read = Inception.from_file(tmp_path / "inception.pth")
    image = torch.rand(2, 3, 64, 80, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        features = read(image)
        assert features.shape == (2, 2048) and torch.equal(features, inception(image))
    state.popitem()
    torch.save(state, tmp_path / "short.pth")
    with pytest.raises(AssetError, match=r"short\.pth: expected all tensors of \w+, found 1 missing: Mixed_7c\."):
        Inception.from_file(tmp_path / "short.pth")


def test_inception_ends_in_maps_of_eight_by_eight(inception: Inception) -> None:
    sides = {}
    for name in ("Conv2d_4a_3x3", "Mixed_5d", "Mixed_6e", "Mixed_7c"):
        inception.get_submodule(name).register_forward_hook(
            lambda _, __, maps, name=name: sides.update({name: tuple(maps.shape[1:])})
        )
    with torch.inference_mode():
        inception(torch.rand(1, 3, 128, 128))
    assert sides == {
        "Conv2d_4a_3x3": (192, 71, 71), "Mixed_5d": (288, 35, 35), "Mixed_6e": (768, 17, 17), "Mixed_7c": (2048, 8, 8)
    }  # fmt: skip
