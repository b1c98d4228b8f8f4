"""The networks compute what the authors' do, on tensors that theirs were recorded with."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from aih_gen.errors import AssetError
from hdr_model.config import preset
from hdr_model.import_reference import from_reference_state, import_reference, load_reference
from hdr_model.nets.discriminator import Discriminator
from hdr_model.nets.hasm import HAND_MASKS
from hdr_model.nets.shpe import SHPE, read_at

REFERENCE = Path(__file__).parents[3] / "shared" / "reference"
needs_reference = pytest.mark.skipif(not REFERENCE.is_dir(), reason=f"needs licensed files: {REFERENCE}")


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
