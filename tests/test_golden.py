"""Files as version 1 wrote them stay readable: a shard and its card, weights, and the folder of a run.

``tests/golden`` is never made again; docs/versions.md says what may change, and how.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from aih_gen import AIHShards
from aih_gen.cli import main
from hdr_model import HDRM
from hdr_model.config import HDRMConfig, training_preset
from hdr_model.training import loop
from hdr_model.training.hdrm import HDRMTask

GOLDEN = Path(__file__).parent / "golden"
IMAGES = "c2d51fb8f87a814e1b4a376ef3ee8bd6fed4c7346c9ec5aaf39c302f152fdf9f"
"""SHA-256 of both images."""
WRIST = (0.12802888, 0.06612489, 0.82893276)
AREAS = [176, 557]
"""Pixels of the right hands."""
PAINTED = (0.1161399856209755, 0.17725741863250732, -0.16650938987731934)
"""Mean colour of what the network makes of a ramp."""


def test_a_shard_reads_as_it_did() -> None:
    shards = AIHShards(GOLDEN / "shards")
    first = shards[0]
    assert len(shards) == 2 and first.image.shape == (64, 64, 3)
    assert first.provenance["interaction"] == "finger touching palm"
    images = hashlib.sha256(b"".join(sample.image.tobytes() for sample in shards)).hexdigest()
    assert images == IMAGES
    np.testing.assert_allclose(first.joints_3d[0, 0], WRIST, atol=1e-6)
    assert [int(sample.amodal_right.sum()) for sample in shards] == AREAS


def test_a_folder_of_shards_is_verified_and_its_card_written_again(tmp_path: Path) -> None:
    shutil.copytree(GOLDEN / "shards", tmp_path / "shards")
    assert main(["verify", str(tmp_path / "shards")]) == 0
    assert main(["info", str(tmp_path / "shards"), "--write"]) == 0
    stored, written = (json.loads((folder / "shards/croissant.json").read_text()) for folder in (GOLDEN, tmp_path))
    assert stored["distribution"] == written["distribution"]


def test_weights_compute_what_they_did() -> None:
    network = HDRM.from_pretrained(GOLDEN / "weights/hdrm")
    ramp = torch.linspace(-1, 1, 8 * 32 * 32).view(1, 8, 32, 32)
    with torch.inference_mode():
        painted = network(ramp, torch.ones_like(ramp))
    torch.testing.assert_close(painted.mean((0, 2, 3)), torch.tensor(PAINTED), atol=1e-4, rtol=1e-4)


def test_a_run_goes_on(tmp_path: Path) -> None:
    shutil.copytree(GOLDEN / "run", tmp_path / "run")
    stored = json.loads((GOLDEN / "run/run.json").read_text())
    same = {
        "size": 32, "batch_size": 2, "log_every": 1, "picture_every": 50, "checkpoint_every": 3, "ema": 0.9,
        "bfloat16": False,
    }  # fmt: skip
    assert {name: stored[name] for name in same} == same
    config = replace(training_preset("hdrm", "nano"), steps=5, **same)
    torch.manual_seed(0)
    task = HDRMTask(config, HDRMConfig((4, 4), (3, 3), discriminator_width=2), torch.device("cpu"))
    loop.train(task, config, [GOLDEN / "shards"], tmp_path / "run", device=torch.device("cpu"), resume=True)
    rows = (tmp_path / "run/metrics.jsonl").read_text().splitlines()
    assert [json.loads(row)["step"] for row in rows] == [1, 2, 3, 4, 5]
    assert rows[:3] == (GOLDEN / "run/metrics.jsonl").read_text().splitlines()
