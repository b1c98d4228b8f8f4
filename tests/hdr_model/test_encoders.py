"""Encoders: EfficientNet-Lite against an independent statement of its layers, freezing, and ImageNet's weights."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional as F

from aih_gen.assets import asset_path
from aih_gen.errors import AIHError, AssetError
from hdr_model.config import HASMConfig, SHPEConfig
from hdr_model.nets.depthwise import DepthwiseConv2d
from hdr_model.nets.encoders import ENCODERS, make_encoder
from hdr_model.nets.hasm import HASM
from hdr_model.nets.shpe import SHPE
from hdr_model.training import initial
from hdr_model.training.initial import initialise_encoder, load_imagenet

LITE0 = (  # expand, channels, repeats, stride, kernel
    (1, 16, 1, 1, 3), (6, 24, 2, 2, 3), (6, 40, 2, 2, 5), (6, 80, 3, 2, 3), (6, 112, 3, 1, 5), (6, 192, 4, 2, 5),
    (6, 320, 1, 1, 3),
)  # fmt: skip


def shipped() -> nn.Module:
    encoder = cast(nn.Module, make_encoder("efficientnet_lite0"))
    load_imagenet(encoder, "efficientnet_lite0")
    return encoder.eval()


def written_out(image: Tensor, tensors: dict[str, Tensor]) -> list[Tensor]:
    """EfficientNet-Lite0's maps after blocks 2, 4, 10 and 15, layer by layer, from grey levels (B,3,H,W) in [0, 1]."""
    rows = iter(tensors.values())

    def layer(x: Tensor, kernel: int, stride: int, groups: int = 1, activate: bool = True) -> Tensor:
        weight, scale, shift, mean, variance, _ = (next(rows) for _ in range(6))
        assert weight.shape[-1] == kernel
        total = max(kernel - (stride if x.shape[-1] % stride == 0 else x.shape[-1] % stride), 0)
        x = F.conv2d(F.pad(x, [total // 2, total - total // 2] * 2), weight, stride=stride, groups=groups)
        x = (x - mean[:, None, None]) / (variance[:, None, None] + 1e-3).sqrt() * scale[:, None, None]
        x = x + shift[:, None, None]
        return x.clamp(0, 6) if activate else x

    maps, x, block = [], layer((255 * image - 127) / 128, 3, 2), 0
    for expand, channels, repeats, stride, kernel in LITE0:
        for k in range(repeats):
            before = x
            if expand > 1:
                x = layer(x, 1, 1)
            x = layer(x, kernel, 1 if k else stride, groups=x.shape[1])
            x = layer(x, 1, 1, activate=False)
            assert x.shape[1] == channels
            x = x + before if k else x
            if block in (2, 4, 10, 15):
                maps.append(x)
            block += 1
    return maps


@torch.no_grad()
def test_efficientnet_lite_is_its_layers_written_out() -> None:
    torch.manual_seed(0)
    image = torch.rand(2, 3, 64, 96)
    mean, deviation = (torch.tensor(v)[:, None, None] for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    encoder = shipped()
    found = encoder((image - mean) / deviation)
    expected = written_out(image, encoder.state_dict())
    assert [m.shape[1:] for m in found] == [(24, 16, 24), (40, 8, 12), (112, 4, 6), (320, 2, 3)]
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4 * float(theirs.abs().max()))


@pytest.mark.parametrize("kernel", [3, 5])
@pytest.mark.parametrize("stride", [1, 2])
def test_a_depthwise_convolution_learns_as_torchs_own_does(kernel: int, stride: int) -> None:
    torch.manual_seed(0)
    layer = DepthwiseConv2d(6, kernel, stride)
    features = torch.randn(2, 6, 8, 12, requires_grad=True)
    plain = F.conv2d(F.pad(features, layer.margin), layer.weight, stride=stride, groups=6)
    gradient = torch.randn_like(plain)
    found = layer(features)
    torch.testing.assert_close(found, plain)
    wanted = [features, layer.weight]
    for ours, theirs in zip(
        torch.autograd.grad(found, wanted, gradient), torch.autograd.grad(plain, wanted, gradient), strict=True
    ):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)
    with torch.no_grad():
        torch.testing.assert_close(layer(features), plain)


def test_frozen_stages_stay_as_they_are_and_the_others_learn() -> None:
    encoder = cast(nn.Module, make_encoder("efficientnet_lite0"))
    cast(HASM, encoder).freeze(2)  # type: ignore[operator]
    before = {name: tensor.clone() for name, tensor in encoder.state_dict().items()}
    encoder.train()
    optimiser = torch.optim.SGD([p for p in encoder.parameters() if p.requires_grad], 0.1)
    torch.stack([m.square().mean() for m in encoder(torch.randn(2, 3, 64, 64))]).sum().backward()
    optimiser.step()
    changed = {name for name, tensor in encoder.state_dict().items() if not torch.equal(tensor, before[name])}
    assert {name.split(".")[1] for name in changed} == {"2", "3"}
    assert {name.rsplit(".", 1)[1] for name in changed} >= {"weight", "running_mean", "running_var"}


@pytest.mark.parametrize("name", ENCODERS)
def test_every_encoder_gives_maps_of_its_channels(name: str) -> None:
    with torch.device("meta"):
        encoder = make_encoder(name)
        maps = encoder(torch.empty(1, 3, 2 * encoder.stride, 4 * encoder.stride))
    assert tuple(m.shape[1] for m in maps) == encoder.channels
    assert all(m.shape[3] == 2 * m.shape[2] for m in maps)


def test_both_networks_begin_with_imagenets_encoder() -> None:
    expected = load_file(asset_path("encoders") / "efficientnet_lite0.safetensors")
    for network in (HASM(HASMConfig("efficientnet_lite0", "pyramid", 16)), SHPE(SHPEConfig("efficientnet_lite0"))):
        assert initialise_encoder(network, "auto", started=False) == "imagenet"
        ours = cast(nn.Module, network.encoder).state_dict()
        assert all(torch.equal(ours[name], tensor.to(ours[name].dtype)) for name, tensor in expected.items())


def test_an_encoder_without_imagenets_weights_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nano = HASM(HASMConfig("mit_nano", decoder_width=8))
    assert initialise_encoder(nano, "auto", started=False) is None
    with pytest.raises(AssetError, match=r"expected one of efficientnet_lite0, .*, found encoder mit_nano"):
        initialise_encoder(nano, "imagenet", started=False)
    with pytest.raises(AIHError, match="expected one of them"):
        initialise_encoder(nano, "imagenet", started=True)
    monkeypatch.setattr(initial, "asset_path", lambda _: tmp_path)
    encoder = cast(nn.Module, make_encoder("efficientnet_lite0"))
    with pytest.raises(
        AssetError, match="expected the ImageNet weights of efficientnet_lite0, found none; --init random needs none"
    ):
        load_imagenet(encoder, "efficientnet_lite0")
    tensors = encoder.state_dict()
    del tensors["stages.0.0.0.weight"]
    save_file(tensors, tmp_path / "efficientnet_lite0.safetensors")
    with pytest.raises(AssetError, match=r"found 1 missing: stages\.0\.0\.0\.weight"):
        load_imagenet(encoder, "efficientnet_lite0")


def test_a_network_keeps_the_name_of_its_encoder(tmp_path: Path) -> None:
    network = SHPE(SHPEConfig("efficientnet_lite0", "pyramid", 16))
    network.save_pretrained(tmp_path)
    assert SHPE.from_pretrained(tmp_path).config == network.config
    config = (tmp_path / "config.json").read_text()
    for name, value, said in (
        ("efficientnet_lite0", "resnet", r'encoder: expected one of mit_nano, .* found "resnet"'),
        ('"decoder_width": 16', '"decoder_width": 16, "naming": true', "expected a configuration of .*, found naming"),
    ):
        (tmp_path / "config.json").write_text(config.replace(name, value))
        with pytest.raises(AssetError, match=said):
            SHPE.from_pretrained(tmp_path)
    HASM(HASMConfig("mit_nano", decoder_width=256)).save_pretrained(tmp_path)
    (tmp_path / "config.json").write_text('{"network": "hasm", "config": {"encoder": "mit_nano"}}')
    assert HASM.from_pretrained(tmp_path).config == HASMConfig("mit_nano")  # what is left out has its default


@pytest.mark.parametrize("stage", ["block2", "block3"])
def test_dilated_convolutions_have_the_same_gradients_in_bfloat16(stage: str) -> None:
    torch.manual_seed(0)
    conv = cast(nn.Module, make_encoder("dilated_resnet_nano")).get_submodule(f"{stage}.1.conv2")
    (weight,) = conv.parameters()
    features = torch.randn(2, weight.shape[1], 32, 32).contiguous(memory_format=torch.channels_last)
    gradients = []
    for enabled in (True, False):
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            found = conv(features)
        gradients += torch.autograd.grad(found.float().square().mean(), weight)
    assert bool((gradients[0] - gradients[1]).abs().max() < 0.02 * gradients[1].abs().max())
