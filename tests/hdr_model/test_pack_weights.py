"""``scripts/pack_weights.py``: weights that are shipped know their checksum and appear whole."""

from __future__ import annotations

import json
from pathlib import Path
from runpy import run_path

import pytest
import torch

from aih_gen.errors import AssetError
from hdr_model.config import preset
from hdr_model.nets.shpe import SHPE

PACK = Path(__file__).parents[2] / "scripts" / "pack_weights.py"
SETTINGS = {"task": "shpe", "preset": "nano", "size": 64, "steps": 1, "batch_size": 2, "seed": 0}


def test_a_flipped_bit_of_packed_weights_is_found(tmp_path: Path) -> None:
    network = SHPE(preset("shpe", "nano"))
    network.save_pretrained(tmp_path / "run" / "weights")
    (tmp_path / "run" / "run.json").write_text(json.dumps(SETTINGS))
    size = run_path(str(PACK))["pack"](tmp_path / "run" / "weights", tmp_path / "packed")
    path = tmp_path / "packed" / "model.safetensors"
    data = bytearray(path.read_bytes())
    assert len(data) == size and {file.name for file in path.parent.iterdir()} == {path.name, "config.json"}
    stored = SHPE.from_pretrained(tmp_path / "packed").state_dict()
    for name, tensor in network.state_dict().items():
        torch.testing.assert_close(stored[name], tensor.bfloat16().float() if tensor.is_floating_point() else tensor)
    data[-2] ^= 1
    path.write_bytes(data)
    with pytest.raises(AssetError, match="SHA-256"):
        SHPE.from_pretrained(tmp_path / "packed")
