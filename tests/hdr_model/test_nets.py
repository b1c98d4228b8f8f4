from __future__ import annotations

import dataclasses
import importlib.util
import json
from pathlib import Path
from typing import Any, cast, get_args

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import PvtV2Config
from transformers.models.pvt_v2.modeling_pvt_v2 import PvtV2BlockLayer

from aih_gen.errors import AIHError, AssetError
from hdr_model.config import HDRMConfig, Preset, preset, training_preset
from hdr_model.import_reference import from_reference_state, import_reference, load_reference
from hdr_model.nets.discriminator import Discriminator
from hdr_model.nets.hasm import (
    ARM_MASKS,
    BOTH,
    HAND_MASKS,
    HASM,
    LEFT,
    NONE,
    RIGHT,
    HASMOutput,
    Logits,
    MaskName,
    margins,
    mean_of_mirrored,
    mean_of_sizes,
)  # fmt: skip
from hdr_model.nets.hdrm import HDRM
from hdr_model.nets.literal_hdrm import LiteralHDRM, literal_partial_convolution
from hdr_model.nets.normalisation import denormalise, normalise
from hdr_model.nets.partial_conv import Masked, PartialConv2d
from hdr_model.nets.pretrained import PretrainedNetwork
from hdr_model.nets.pvt import TransformerBlock
from hdr_model.nets.shpe import SHPE, highest_point, read_at

REFERENCE = Path(__file__).parents[3] / "shared" / "reference"
NETWORKS: tuple[type[PretrainedNetwork], ...] = (HASM, HDRM, SHPE)

needs_reference = pytest.mark.skipif(not REFERENCE.is_dir(), reason=f"needs licensed files: {REFERENCE}")


def make(network: type[PretrainedNetwork], name: str = "nano") -> PretrainedNetwork:
    torch.manual_seed(0)
    return network(preset(network.task, name))


def inputs(
    network: type[PretrainedNetwork], height: int, width: int, batch: int = 2, device: str = "cpu"
) -> list[Tensor]:
    torch.manual_seed(1)
    if network is HDRM:
        x = torch.randn(batch, 8, height, width, device=device)
        return [x, (torch.rand(x.shape, device=device) > 0.3).float()]
    return [torch.randn(batch, 3, height, width, device=device)]


def outputs(network: nn.Module, tensors: list[Tensor]) -> list[Tensor]:
    out = network(*tensors)
    if isinstance(out, HASMOutput):
        return [*out.values(), *([] if out.presence is None else [out.presence])]
    return [out] if isinstance(out, Tensor) else list(out)


def reference_state(stem: str) -> dict[str, Tensor]:
    spec = importlib.util.spec_from_file_location("fill", REFERENCE / "fill.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    keys = json.loads((REFERENCE / f"{stem}_keys.json").read_text())
    return {name: torch.from_numpy(np.array(values)) for name, values in module.fill(keys, 7).items()}


def reference_case(stem: str) -> dict[str, Tensor]:
    with np.load(REFERENCE / f"{stem}_case.npz") as case:
        return {name: torch.from_numpy(np.array(case[name])) for name in case.files}


def assert_close(found: Tensor, expected: Tensor) -> None:
    """Within 1e-4 of the largest value expected."""
    assert (found - expected).abs().max() <= 1e-4 * expected.abs().max()


class TestReference:
    """Ours are the same functions as the public reference implementation's."""

    @needs_reference
    @torch.no_grad()
    def test_hdrm(self) -> None:
        case = reference_case("hdrm")
        network = from_reference_state("hdrm", reference_state("hdrm"), "hdrm")
        assert network.config == preset("hdrm", "paper")
        assert_close(network(case["net_input"], case["net_mask"]), case["output"])

    @needs_reference
    @torch.no_grad()
    def test_shpe(self) -> None:
        case = reference_case("shpe")
        network = from_reference_state("shpe", reference_state("shpe"), "shpe")
        assert network.config == preset("shpe", "paper")
        out = network(case["image"])
        assert_close(out.heatmap, case["heatmap"])
        assert_close(out.location_map[:, ::5], case["location_map"])
        assert_close(out.delta_map[:, ::5], case["delta_map"])
        assert torch.equal(out.uv, case["uv"])
        assert_close(out.xyz, case["xyz"])
        assert_close(read_at(out.delta_map, out.uv), case["delta"])

    @needs_reference
    @torch.no_grad()
    @pytest.mark.parametrize("stem", ["hasm_b0", "hasm_b5"])
    def test_hasm(self, stem: str) -> None:
        case = reference_case(stem)
        network = from_reference_state("hasm", reference_state(stem), stem)
        assert (network.config == preset("hasm", "paper")) == (stem == "hasm_b5")
        logits = network(case["image"])
        assert tuple(logits) == HAND_MASKS and logits.presence is None
        for name in HAND_MASKS:
            assert_close(logits[name], case[name])

    @needs_reference
    def test_discriminator_has_the_same_tensors(self) -> None:
        keys = json.loads((REFERENCE / "discriminator_keys.json").read_text())
        expected = {name: tuple(shape) for name, shape in keys.items() if not name.startswith("features.")}
        renamed = {}
        for name, tensor in Discriminator().state_dict().items():
            _, index, _, _, *leaf = name.split(".")
            suffix = {"original": "orig", "_u": "u", "_v": "v"}[leaf[-1]]
            renamed[f"conv{int(index) + 1}.0.weight_{suffix}"] = tuple(tensor.shape)
        assert renamed == expected

    @needs_reference
    def test_a_checkpoint_file_becomes_a_folder(self, tmp_path: Path) -> None:
        state = {f"module.{name}": tensor for name, tensor in reference_state("shpe").items()}
        torch.save({"step": 3, "state_dict": state, "optimizer": {"lr": 1e-4}}, tmp_path / "shpe.pth")
        (folder,) = import_reference({"shpe": tmp_path / "shpe.pth"}, tmp_path / "weights")
        ours = SHPE.from_pretrained(folder).state_dict()
        for name, tensor in load_reference("shpe", tmp_path / "shpe.pth").state_dict().items():
            assert torch.equal(ours[name], tensor)

    @needs_reference
    def test_another_networks_checkpoint_is_refused(self, tmp_path: Path) -> None:
        torch.save({"state_dict": reference_state("shpe")}, tmp_path / "a.pth")
        for task in ("hdrm", "hasm"):
            with pytest.raises(AssetError, match=r"a\.pth"):
                load_reference(task, tmp_path / "a.pth")

    def test_nothing_in_a_checkpoint_is_executed(self, tmp_path: Path) -> None:
        torch.save({"state_dict": {}, "hook": Hostile(tmp_path / "ran")}, tmp_path / "a.pth")
        with pytest.raises(AssetError, match="read safely"):
            load_reference("shpe", tmp_path / "a.pth")
        assert not (tmp_path / "ran").exists()

    def test_what_is_not_a_checkpoint_is_refused(self, tmp_path: Path) -> None:
        (tmp_path / "noise.pth").write_bytes(b"not a checkpoint")
        torch.save([1, 2], tmp_path / "list.pth")
        with pytest.raises(AssetError, match="read safely"):
            load_reference("hdrm", tmp_path / "noise.pth")
        with pytest.raises(AssetError, match="state_dict"):
            load_reference("hdrm", tmp_path / "list.pth")
        with pytest.raises(AssetError, match="found no file"):
            load_reference("hdrm", tmp_path / "absent.pth")


class Hostile:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


class TestPartialConvolution:
    @pytest.mark.parametrize("stride", [1, 2])
    @pytest.mark.parametrize("kernel", [3, 7])
    @torch.no_grad()
    def test_it_is_the_convolution_with_the_whole_mask(self, kernel: int, stride: int) -> None:
        torch.manual_seed(0)
        layer = PartialConv2d(20, 6, kernel, stride, bias=True)
        assert layer.bias is not None
        layer.bias.normal_()
        shared, own = torch.rand(2, 1, 32, 32) > 0.9, torch.rand(2, 8, 32, 32) > 0.9
        shared[:, :, 8:], own[:, :, 16:] = False, False
        x = torch.randn(2, 20, 32, 32)
        out = layer([Masked(x[:, :12], shared.float()), Masked(x[:, 12:], own.float())])
        features, mask = literal_partial_convolution(
            layer, x, torch.cat([shared.expand(-1, 12, -1, -1), own], 1).float()
        )
        torch.testing.assert_close(out.features, features)
        assert torch.equal(out.mask.expand_as(mask), mask)
        assert 0 < mask.mean() < 1

    @torch.no_grad()
    def test_a_window_without_a_valid_value_gives_zero(self) -> None:
        layer = PartialConv2d(4, 3, 3, bias=True)
        nn.init.ones_(layer.bias)
        out = layer([Masked(torch.randn(1, 4, 8, 8), torch.zeros(1, 1, 8, 8))])
        assert not out.features.any() and not out.mask.any()

    @torch.no_grad()
    def test_a_constant_keeps_its_level_however_few_values_are_valid(self) -> None:
        layer = PartialConv2d(1, 1, 5)
        nn.init.ones_(layer.conv.weight)
        mask = torch.zeros(1, 1, 9, 9)
        mask[..., 4, 4] = 1
        out = layer([Masked(torch.ones(1, 1, 9, 9), mask)])
        torch.testing.assert_close(out.features[out.mask > 0], torch.full((25,), 25.0))


class TestTransformerBlock:
    @pytest.mark.parametrize("reduction", [1, 4])
    @torch.no_grad()
    def test_it_is_pvtv2s(self, reduction: int) -> None:
        torch.manual_seed(0)
        config = PvtV2Config(
            hidden_sizes=[32], depths=[1], num_attention_heads=[4], sr_ratios=[reduction], mlp_ratios=[3]
        )
        theirs, ours = PvtV2BlockLayer(config, 0).eval(), TransformerBlock(32, 4, 3, reduction).eval()
        for parameter in ours.parameters():
            parameter.normal_(std=0.3)
        names = {
            "norm1": "layer_norm_1",
            "norm2": "layer_norm_2",
            "attn": "attention",
            "fc1": "dense1",
            "fc2": "dense2",
        }
        names |= {"q": "query", "sr": "spatial_reduction", "norm": "layer_norm", "dwconv": "dwconv.dwconv"}
        state = {
            ".".join(names.get(part, part) for part in name.split(".")): t for name, t in ours.state_dict().items()
        }
        for leaf in ("weight", "bias"):
            state[f"attention.key.{leaf}"], state[f"attention.value.{leaf}"] = state.pop(f"attention.kv.{leaf}").chunk(
                2
            )
        final = [state.pop(f"layer_norm.{leaf}") for leaf in ("weight", "bias")]
        theirs.load_state_dict(state)
        x = torch.randn(2, 32, 8, 12)
        tokens = F.layer_norm(theirs(x.flatten(2).mT, 8, 12)[0], (32,), *final, eps=1e-6)
        torch.testing.assert_close(ours(x), tokens.mT.reshape(x.shape), rtol=1e-4, atol=1e-4)


def test_masks_of_a_hand_that_is_absent_are_empty() -> None:
    inside = torch.tensor([-1.0, 2.0]).view(1, 2, 1, 1).expand(3, 2, 4, 4)
    logits: Logits = {
        "right_amodal": inside,
        "right_visible": inside,
        "left_amodal": inside,
        "left_visible": inside,
        "left_arm": inside,
    }
    found = margins(HASMOutput(logits, 9 * torch.eye(4)[[BOTH, LEFT, RIGHT]]))
    positive = {name: (margin > 0).flatten(1).all(1).tolist() for name, margin in found.items()}
    assert positive == {
        "right_amodal": [True, False, True],
        "right_visible": [True, False, True],
        "left_amodal": [True, True, False],
        "left_visible": [True, True, False],
        "left_arm": [True, True, True],  # an arm may be there without its hand
    }
    assert all(margin.abs().eq(3).all() for margin in found.values())
    assert not any((margins(HASMOutput(logits, torch.eye(4)[[NONE] * 3]))[name] > 0).any() for name in HAND_MASKS)
    assert set(margins(logits)) == set(logits)


def test_a_hand_by_itself_has_what_is_likely_to_be_either_hands() -> None:
    halves = torch.tensor([[2.0, -1.0]]), torch.tensor([[-1.0, 2.0]])  # each name has one half of the hand
    margin = dict(zip(HAND_MASKS, (halves[0], halves[0], halves[1], halves[1]), strict=True))
    logits: Logits = {name: torch.stack([torch.zeros(1, 1, 2), m[None]], 1) for name, m in margin.items()}
    found = margins(HASMOutput(logits, torch.eye(4)[[RIGHT]]))
    assert (found["right_amodal"] > 0).all() and (found["right_visible"] > 0).all()
    assert not (found["left_amodal"] > 0).any() and not (found["left_visible"] > 0).any()


def test_the_mean_of_mirror_images_gives_each_hand_its_own_name() -> None:
    torch.manual_seed(0)
    network = HASM(preset("hasm", "light")).eval()
    image = torch.randn(2, 3, 64, 96)
    first = mean_of_mirrored(network(torch.cat([image, image.flip(-1)])))
    second = mean_of_mirrored(network(torch.cat([image.flip(-1), image])))
    for name, pair in first.items():
        side, kind = name.split("_")
        other = cast(MaskName, f"{'left' if side == 'right' else 'right'}_{kind}")
        torch.testing.assert_close(pair, second[other].flip(-1))
    assert first.presence is not None and second.presence is not None
    torch.testing.assert_close(first.presence, second.presence[:, [NONE, LEFT, RIGHT, BOTH]])


def test_the_mean_of_sizes_has_the_resolution_of_the_largest() -> None:
    network = HASM(preset("hasm", "light")).eval()
    outputs = [network(torch.randn(2, 3, side, side)) for side in (96, 64)]
    mean = mean_of_sizes(outputs)
    assert mean["left_arm"].shape == (2, 2, 24, 24)
    assert mean.presence is not None and mean_of_sizes(outputs[:1])["left_arm"].equal(outputs[0]["left_arm"])
    torch.testing.assert_close(mean.presence, (outputs[0].presence + outputs[1].presence) / 2)
    expected = (outputs[0]["left_arm"].mean() + outputs[1]["left_arm"].mean()) / 2
    torch.testing.assert_close(mean["left_arm"].mean(), expected, atol=1e-3, rtol=0)


class TestNetworks:
    @pytest.mark.parametrize("name", get_args(Preset))
    @pytest.mark.parametrize("network", NETWORKS)
    def test_any_sides_that_the_stride_divides_will_do(self, network: type[PretrainedNetwork], name: str) -> None:
        with torch.device("meta"):
            built = make(network, name)
        height, width = 2 * max(built.stride, 16), 3 * max(built.stride, 16)
        shapes = [tuple(out.shape) for out in outputs(built, inputs(network, height, width, device="meta"))]
        quarter = (height // 4, width // 4)
        assert (
            shapes
            == {
                HASM: [(2, 2, *quarter)] * (4 if name == "paper" else 6) + [(2, 4)] * (name in ("light", "base")),
                HDRM: [(2, 3, height, width)],
                SHPE: [(2, 21, *quarter), (2, 21, 3, *quarter), (2, 21, 3, *quarter), (2, 21, 2), (2, 21, 3)],
            }[network]
        )

    @pytest.mark.parametrize("network", NETWORKS)
    def test_the_training_size_of_every_preset_fits(self, network: type[PretrainedNetwork]) -> None:
        for name in get_args(Preset):
            with torch.device("meta"):
                stride = make(network, name).stride
            assert training_preset(network.task, name).size % stride == 0

    @pytest.mark.parametrize("network", NETWORKS)
    def test_other_sides_are_refused(self, network: type[PretrainedNetwork]) -> None:
        with pytest.raises(AIHError, match=r"found 130x64"):
            outputs(make(network), inputs(network, 130, 64))

    @pytest.mark.parametrize("network", NETWORKS)
    def test_every_parameter_learns(self, network: type[PretrainedNetwork]) -> None:
        built = make(network).train()
        torch.stack([out.float().square().sum() for out in outputs(built, inputs(network, 64, 64))]).sum().backward()
        # A bias of the attention's keys moves all scores of a query alike, which the softmax does not see.
        idle = [
            n for n, p in built.named_parameters() if (p.grad is None or not p.grad.any()) and "k_proj.bias" not in n
        ]
        assert idle == []

    def test_arms_are_two_more_heads(self) -> None:
        assert tuple(make(HASM)(*inputs(HASM, 64, 64))) == HAND_MASKS + ARM_MASKS

    @torch.no_grad()
    def test_hdrm_does_not_see_what_is_invalid(self) -> None:
        network = make(HDRM).eval()
        x, validity = inputs(HDRM, 64, 64)
        changed = torch.where(validity > 0, x, torch.randn_like(x))
        assert not torch.equal(x, changed)
        torch.testing.assert_close(network(x, validity), network(changed, validity))

    @torch.no_grad()
    def test_hdrm_is_the_unet_written_out(self) -> None:
        # The reference case hardly sees the inner levels: its random weights let their signal fade to 1e-9.
        network = make(HDRM).train()
        x, validity = inputs(HDRM, 64, 96)
        validity[:, :, :48, :64] = 0
        expected = LiteralHDRM(network)(x, validity)
        torch.testing.assert_close(network(x, validity), expected, rtol=1e-4, atol=1e-4)
        nn.init.zeros_(network.encoder[-1].partial.conv.weight)
        assert (network(x, validity) - expected).abs().mean() > 0.01

    def test_hdrm_without_transformer_blocks(self) -> None:
        config = dataclasses.replace(preset("hdrm", "nano"), transformer=False)
        network = HDRM(config)
        assert not [name for name in network.state_dict() if ".attn." in name]
        assert network(*inputs(HDRM, 32, 32)).shape == (2, 3, 32, 32)

    def test_hdrm_learns_to_fill_a_hole(self) -> None:
        network = make(HDRM).train()
        target = F.interpolate(torch.randn(4, 3, 4, 4), (64, 64), mode="bilinear")
        hole = torch.zeros(4, 1, 64, 64)
        hole[..., 20:44, 20:44] = 1
        x = torch.cat([target * (1 - hole), hole, target * (1 - hole), hole], 1)
        optimiser = torch.optim.Adam(network.parameters(), 3e-3)
        errors = []
        for _ in range(40):
            error = F.l1_loss(network(x, (1 - hole).expand_as(x)), target)
            optimiser.zero_grad()
            error.backward()
            optimiser.step()
            errors.append(error.item())
        assert errors[-1] < 0.5 * errors[0]

    def test_the_joint_is_read_where_its_heat_map_is_highest(self) -> None:
        heatmap = torch.zeros(1, 2, 4, 6)
        heatmap[0, 0, 3, 1], heatmap[0, 1, 0, 5] = 1, 1
        uv = highest_point(heatmap)
        assert uv.tolist() == [[[3, 1], [0, 5]]]
        maps = torch.arange(2 * 3 * 4 * 6).reshape(1, 2, 3, 4, 6)
        assert torch.equal(read_at(maps, uv), torch.stack([maps[0, 0, :, 3, 1], maps[0, 1, :, 0, 5]])[None])

    def test_the_discriminator_judges_patches(self) -> None:
        image, mask = torch.randn(2, 3, 64, 64), torch.ones(2, 1, 64, 64, dtype=torch.bool)
        assert Discriminator(width=4)(image, mask, ~mask).shape == (2, 1, 6, 6)


class TestFolders:
    @pytest.mark.parametrize("network", NETWORKS)
    @torch.no_grad()
    def test_a_saved_network_comes_back_the_same(self, network: type[PretrainedNetwork], tmp_path: Path) -> None:
        built = make(network)
        built.save_pretrained(tmp_path / "a")
        loaded = network.from_pretrained(tmp_path / "a")
        assert loaded.config == built.config and not loaded.training
        assert sorted(path.name for path in (tmp_path / "a").iterdir()) == ["config.json", "model.safetensors"]
        tensors = inputs(network, 64, 64)
        for found, expected in zip(outputs(loaded, tensors), outputs(built.eval(), tensors), strict=True):
            assert torch.equal(found, expected)

    def test_a_loaded_network_can_be_trained_on(self, tmp_path: Path) -> None:
        make(SHPE).save_pretrained(tmp_path)
        assert all(parameter.requires_grad for parameter in SHPE.from_pretrained(tmp_path).parameters())

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"network": "shpe"}, 'expected "network": "hdrm", found "shpe"'),
            ({"config": [16]}, 'expected "config" to be a table'),
            ({"config": {"widths": "many"}}, "widths: expected a value like"),
            ({"kernels": [7, -5, 5, 3, 3]}, "kernels: expected a value like"),
            ({"kernels": [7, 5]}, "expected one for each of"),
            ({"widths": [16, 32, 64, 128, 256]}, "expected shape"),
            ({"widths": [16, 32, 64, 128, 1 << 40]}, "widths: expected a value like"),
            ({"transformer": 1}, "transformer: expected a value like true, found 1"),
            ({"transformer": False}, "others: decoder"),
        ],
    )
    def test_a_wrong_configuration_is_one_sentence(
        self, change: dict[str, object], message: str, tmp_path: Path
    ) -> None:
        make(HDRM).save_pretrained(tmp_path)
        document = json.loads((tmp_path / "config.json").read_text())
        place = document if change.keys() <= document.keys() else document["config"]
        place.update(change)
        (tmp_path / "config.json").write_text(json.dumps(document))
        with pytest.raises(AssetError, match=message) as error:
            HDRM.from_pretrained(tmp_path)
        assert str(tmp_path) in str(error.value)

    def test_missing_and_broken_files_are_one_sentence(self, tmp_path: Path) -> None:
        with pytest.raises(AssetError, match=r"absent: expected a folder"):
            HASM.from_pretrained(tmp_path / "absent")
        with pytest.raises(AssetError, match=r"model\.safetensors: .* found no file"):
            HASM.from_pretrained(tmp_path)
        (tmp_path / "model.safetensors").write_bytes(b"nonsense")
        with pytest.raises(AssetError, match="not a readable safetensors file"):
            HASM.from_pretrained(tmp_path)
        make(HASM).save_pretrained(tmp_path)
        (tmp_path / "config.json").write_text("{")
        with pytest.raises(AssetError, match="expected JSON"):
            HASM.from_pretrained(tmp_path)
        (tmp_path / "config.json").unlink()
        with pytest.raises(AssetError, match=r"config\.json: .* found no file"):
            HASM.from_pretrained(tmp_path)

    def test_missing_tensors_are_named(self, tmp_path: Path) -> None:
        make(HDRM).save_pretrained(tmp_path)
        config = json.loads((tmp_path / "config.json").read_text())
        HDRM(dataclasses.replace(preset("hdrm", "nano"), transformer=False)).save_pretrained(tmp_path)
        (tmp_path / "config.json").write_text(json.dumps(config))
        with pytest.raises(AssetError, match=r"found \d+ missing: decoder\.\d\.block\.attn"):
            HDRM.from_pretrained(tmp_path)

    def test_impossible_sizes_are_refused(self) -> None:
        with pytest.raises(AIHError, match="expected one for each of"):
            HDRMConfig(widths=(8, 8))
        with pytest.raises(AIHError, match="attention heads"):
            HDRM(HDRMConfig(widths=(8, 8, 9), kernels=(3, 3, 3)))


class TestNormalisation:
    def test_there_and_back(self) -> None:
        image = torch.randint(0, 256, (2, 3, 5, 7), dtype=torch.uint8)
        assert torch.equal((denormalise(normalise(image)) * 255).round().byte(), image)
        torch.testing.assert_close(normalise(image), normalise(image.float() / 255))

    def test_the_mean_colour_is_zero(self) -> None:
        mean = torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1).expand(3, 2, 2)
        assert not normalise(mean).any()
        torch.testing.assert_close(normalise(mean + 0.229)[0], torch.ones(2, 2))
