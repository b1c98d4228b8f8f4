"""The three networks: shapes, gradients, and the meaning of their outputs."""

from __future__ import annotations

import dataclasses
from typing import cast, get_args

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from aih_gen.errors import AIHError
from hdr_model.config import Preset, preset, training_preset
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
from hdr_model.nets.literal_hdrm import LiteralHDRM
from hdr_model.nets.normalisation import denormalise, normalise
from hdr_model.nets.pretrained import PretrainedNetwork
from hdr_model.nets.shpe import SHPE, highest_point, read_at
from tests.data.networks import NETWORKS, inputs, make, outputs


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


class TestNormalisation:
    def test_there_and_back(self) -> None:
        image = torch.randint(0, 256, (2, 3, 5, 7), dtype=torch.uint8)
        assert torch.equal((denormalise(normalise(image)) * 255).round().byte(), image)
        torch.testing.assert_close(normalise(image), normalise(image.float() / 255))

    def test_the_mean_colour_is_zero(self) -> None:
        mean = torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1).expand(3, 2, 2)
        assert not normalise(mean).any()
        torch.testing.assert_close(normalise(mean + 0.229)[0], torch.ones(2, 2))
