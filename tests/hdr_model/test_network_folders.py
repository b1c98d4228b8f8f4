"""Networks saved to a folder and read from one, whole, wrong or broken."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
import torch

from aih_gen.errors import AIHError, AssetError
from hdr_model.config import HDRMConfig, preset
from hdr_model.nets.hasm import HASM
from hdr_model.nets.hdrm import HDRM
from hdr_model.nets.pretrained import PretrainedNetwork
from hdr_model.nets.shpe import SHPE
from tests.data.networks import NETWORKS, inputs, make, outputs


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
            ({"config": [16]}, 'expected a table as "config"'),
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
        with pytest.raises(AssetError, match="expected safetensors, found none that can be read"):
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
        with pytest.raises(AIHError, match="heads: expected a divisor of"):
            HDRM(HDRMConfig(widths=(8, 8, 9), kernels=(3, 3, 3)))
