"""The layers of HDRM: partial convolutions, and blocks of PVTv2."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from transformers import PvtV2Config
from transformers.models.pvt_v2.modeling_pvt_v2 import PvtV2BlockLayer

from hdr_model.nets.literal_hdrm import literal_partial_convolution
from hdr_model.nets.partial_conv import Masked, PartialConv2d
from hdr_model.nets.pvt import TransformerBlock


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
