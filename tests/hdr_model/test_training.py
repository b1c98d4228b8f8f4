from __future__ import annotations

import itertools
import json
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from aih_gen.errors import AIHError, AssetError
from hdr_model import HASM, HDRM, SHPE
from hdr_model.cli import main
from hdr_model.config import HASMConfig, HDRMConfig, HDRMLossWeights, SHPEConfig, TrainConfig, training_preset
from hdr_model.data.aih import AIHDataset
from hdr_model.data.rng import SampleRng
from hdr_model.device import choose_device
from hdr_model.training import compilation, loop
from hdr_model.training.checkpoint import start_from
from hdr_model.training.hasm import HASMTask, scenes
from hdr_model.training.hdrm import HDRMTask, teach
from hdr_model.training.loop import train
from hdr_model.training.optimiser import schedule
from hdr_model.training.shpe import SHPETask
from hdr_model.training.task import Loss, Task
from hdr_model.weights import find_weights
from tests.data.samples import write_samples

CPU = torch.device("cpu")
SMALL_HASM = HASMConfig("mit_nano", decoder_width=16, arms=True)
SMALL_HDRM = HDRMConfig((8, 8, 16), (3, 3, 3), discriminator_width=4)
SMALL_SHPE = SHPEConfig("dilated_resnet_nano", decoder_width=16)
ADVERSARIAL = HDRMLossWeights(perceptual=0.0, style=0.0)
pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    write_samples(folder / "aih-00000.h5", 6)
    return folder


def short(task: str, **changes: Any) -> TrainConfig:
    names = {"size": 64, "batch_size": 4, "steps": 3, "log_every": 1, "picture_every": 2, "checkpoint_every": 2}
    return replace(training_preset(task, "nano"), bfloat16=False, **{**names, **changes})  # type: ignore[arg-type]


def make_task(config: TrainConfig) -> Task:
    torch.manual_seed(config.seed)
    kinds: dict[str, Any] = {
        "hasm": (HASMTask, SMALL_HASM),
        "hdrm": (HDRMTask, SMALL_HDRM),
        "shpe": (SHPETask, SMALL_SHPE),
    }
    kind, network = kinds[config.task]
    task: Task = kind(config, network, CPU)
    return task


def run(config: TrainConfig, data: Path, out: Path, **options: Any) -> dict[str, Tensor]:
    weights = train(make_task(config), config, [data], out, device=CPU, **options)
    network = {"hasm": HASM, "hdrm": HDRM, "shpe": SHPE}[config.task]
    return network.from_pretrained(weights).state_dict()


@pytest.mark.parametrize("task", ["hasm", "hdrm", "shpe"])
def test_a_run_leaves_weights_curves_and_pictures(task: str, data: Path, tmp_path: Path) -> None:
    config = short(task, losses=ADVERSARIAL) if task == "hdrm" else short(task)
    run(config, data, tmp_path / "run")
    rows = [json.loads(line) for line in (tmp_path / "run/metrics.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == [1, 2, 3]
    assert all(np.isfinite(row["loss"]) and row["samples_per_second"] > 0 for row in rows)
    assert sorted(p.name for p in (tmp_path / "run/pictures").iterdir()) == ["0000002.png", "0000003.png"]
    with Image.open(tmp_path / "run/pictures/0000003.png") as image:
        assert image.width >= 3 * 64 and image.height >= 4 * 64
    assert list((tmp_path / "run/tensorboard").iterdir())
    if task == "hdrm":
        assert {"adversarial", "discriminator", "hole/removal"} <= rows[0].keys()


@pytest.mark.parametrize("task", ["hasm", "hdrm", "shpe"])
def test_a_run_that_was_stopped_and_resumed_is_the_run_that_was_not(
    task: str, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = short(task, steps=5)
    config = replace(config, losses=ADVERSARIAL) if task == "hdrm" else config
    whole = run(config, data, tmp_path / "whole")

    def stop_after_three(*arguments: Any) -> Iterator[Any]:
        yield from itertools.islice(all_batches(*arguments), 3)
        raise KeyboardInterrupt

    all_batches = loop.batches
    monkeypatch.setattr(loop, "batches", stop_after_three)
    with pytest.raises(KeyboardInterrupt):
        run(config, data, tmp_path / "stopped")
    monkeypatch.undo()
    resumed = run(config, data, tmp_path / "stopped", resume=True)
    for name, tensor in whole.items():
        assert torch.equal(tensor, resumed[name]), name
    steps = [json.loads(line)["step"] for line in (tmp_path / "stopped/metrics.jsonl").read_text().splitlines()]
    assert steps == [1, 2, 3, 4, 5]


@pytest.mark.parametrize("task", ["hasm", "hdrm", "shpe"])
def test_training_learns(task: str, data: Path, tmp_path: Path) -> None:
    run(short(task, steps=48, learning_rate=3e-3, warmup=5, log_every=6, picture_every=99), data, tmp_path / "run")
    losses = [json.loads(line)["loss"] for line in (tmp_path / "run/metrics.jsonl").read_text().splitlines()]
    assert losses[-1] < 0.85 * losses[0]


def test_a_loss_that_is_not_a_number_stops_the_run_and_is_named(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = short("shpe", steps=4)
    task = make_task(config)
    whole = task.loss

    def poisoned(batch: Any, rng: SampleRng) -> Loss:
        loss = whole(batch, rng)
        return replace(loss, terms=loss.terms | {"delta": loss.terms["delta"] * torch.nan})

    monkeypatch.setattr(task, "loss", poisoned)
    with pytest.raises(AIHError, match="step 1: expected a finite loss, found delta nan"):
        train(task, config, [data], tmp_path / "run", device=CPU)
    assert not (tmp_path / "run/last.pt").exists()


@pytest.mark.parametrize("task", ["hasm", "hdrm", "shpe"])
def test_weights_that_burst_stop_the_run_and_are_not_saved(task: str, data: Path, tmp_path: Path) -> None:
    changes = {"learning_rate": 1e30, "warmup": 0, "checkpoint_every": 9, "validate_every": 9}
    with pytest.raises(AIHError, match=r"step \d+: expected (a finite loss, found [\w/]+ (nan|inf)|finite weights)"):
        run(short(task, steps=9, **changes), data, tmp_path / "run", validation=data)
    assert {"weights", "best", "last.pt"} & {path.name for path in (tmp_path / "run").iterdir()} == set()


def test_a_validation_that_is_not_finite_stops_the_run(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "_validate", lambda *_: float("nan"))
    with pytest.raises(AIHError, match="step 1: expected a finite loss, found validation nan"):
        run(short("shpe", validate_every=1), data, tmp_path / "run", validation=data)
    assert not (tmp_path / "run/best").exists() and not (tmp_path / "run/last.pt").exists()


def test_a_resumed_run_without_a_checkpoint_says_that_it_begins_anew(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(short("shpe"), data, tmp_path / "run", resume=True)  # where nothing was before there is nothing to say
    run(short("shpe", steps=4), data, tmp_path / "run", resume=True)
    assert "anew" not in capsys.readouterr().err
    (tmp_path / "run/last.pt").unlink()
    run(short("shpe"), data, tmp_path / "run", resume=True)
    assert f"{tmp_path / 'run'}: no last.pt to go on from, the run begins anew\n" in capsys.readouterr().err


def test_a_folder_with_something_in_it_is_left_alone(data: Path, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    for resume in (False, True):
        with pytest.raises(AIHError, match=r"found notes\.txt"):
            run(short("shpe"), data, tmp_path, resume=resume)
    assert [p.name for p in tmp_path.iterdir()] == ["notes.txt"]


def test_a_run_is_not_resumed_with_other_settings(data: Path, tmp_path: Path) -> None:
    run(short("shpe"), data, tmp_path / "run")
    before = {p: p.read_bytes() for p in (tmp_path / "run").rglob("*") if p.is_file()}
    with pytest.raises(AIHError, match="batch_size: expected 4 as before, found 2"):
        run(short("shpe", batch_size=2), data, tmp_path / "run", resume=True)
    with pytest.raises(AIHError, match="--resume"):
        run(short("shpe"), data, tmp_path / "run")
    assert before == {p: p.read_bytes() for p in (tmp_path / "run").rglob("*") if p.is_file()}


def test_a_run_of_an_earlier_version_is_resumed(data: Path, tmp_path: Path) -> None:
    """Its settings have numbers of the other networks."""
    run(short("shpe"), data, tmp_path / "run")
    settings = json.loads((tmp_path / "run/run.json").read_text())
    assert settings["task"] == "shpe" and settings["painted"] == 0.5 and "mask_stride" not in settings
    earlier = settings | {"mask_stride": 1, "windows": 0.0, "found": 0.35, "discriminator_learning_rate": 0.1}
    (tmp_path / "run/run.json").write_text(json.dumps(earlier))
    run(short("shpe", steps=4), data, tmp_path / "run", resume=True)
    (tmp_path / "run/run.json").write_text(json.dumps(earlier | {"painted": 0.1}))
    with pytest.raises(AIHError, match=r"painted: expected 0\.1 as before, found 0\.5"):
        run(short("shpe", steps=5), data, tmp_path / "run", resume=True)


def test_a_damaged_checkpoint_is_named(data: Path, tmp_path: Path) -> None:
    run(short("shpe"), data, tmp_path / "run")
    (tmp_path / "run/last.pt").write_bytes(b"not a checkpoint")
    with pytest.raises(AIHError, match=r"last\.pt: expected a checkpoint to resume from"):
        run(short("shpe", steps=5), data, tmp_path / "run", resume=True)


def test_the_saved_weights_are_the_moving_average(data: Path, tmp_path: Path) -> None:
    config = short("shpe", ema=0.5, steps=4, log_every=1)
    task = make_task(config)
    seen: list[Tensor] = []
    weight = task.networks["shpe"].encoder.conv1.weight  # type: ignore[union-attr]
    first = weight.detach().clone()
    step = task.optimisers[0].step
    task.optimisers[0].step = lambda: (step(), seen.append(weight.detach().clone()))  # type: ignore[method-assign]
    weights = train(task, config, [data], tmp_path / "run", device=CPU)
    average = first
    for k, value in enumerate(seen, 1):
        decay = min(0.5, k / (k + 10))
        average = decay * average + (1 - decay) * value
    torch.testing.assert_close(SHPE.from_pretrained(weights).encoder.conv1.weight, average)


def test_learning_rates_rise_and_fall_as_the_schedule_says() -> None:
    polynomial = short("shpe", steps=100, warmup=10, schedule="polynomial")
    assert [round(schedule(polynomial, step), 3) for step in (1, 5, 10, 51, 100)] == [0.1, 0.48, 0.91, 0.5, 0.01]
    stepped = short("shpe", steps=60, warmup=0, schedule="step", milestones=(0.5, 0.75))
    assert [round(schedule(stepped, step), 3) for step in (1, 30, 31, 46)] == [1, 1, 0.1, 0.01]
    assert schedule(short("shpe", warmup=0, schedule="constant"), 3) == 1


def test_mirrored_scenes_exchange_right_and_left(data: Path) -> None:
    batch = AIHDataset(data, HASMTask.fields)[list(range(6))]
    batch["rgb"][:] = 0
    batch["rgb"][:, 0, ..., 0] = 255 * (batch["masks"] & 4 > 0)  # the right hand's visible pixels are red,
    batch["rgb"][:, 0, ..., 2] = 255 * (batch["masks"] & 8 > 0)  # the left hand's are blue
    for seed in range(3):
        images, masks = scenes(batch, 64, SampleRng(seed, 0, 0, 6))
        for side in ("right", "left"):
            assert not (masks[f"{side}_visible"] & ~masks[f"{side}_amodal"]).any()
        red, blue = (images[:, channel] > images[:, [2, 0][channel // 2]] + 0.3 for channel in (0, 2))
        # A scene keeps its colours: in a mirrored one the hand drawn in red is the left hand.
        same = (red & masks["right_visible"]).sum((1, 2)) + (blue & masks["left_visible"]).sum((1, 2))
        swapped = (red & masks["left_visible"]).sum((1, 2)) + (blue & masks["right_visible"]).sum((1, 2))
        # Blurred, a pixel or two between the hands may count for either.
        assert torch.minimum(same, swapped).max() <= 3 and (same > 100).any() and (swapped > 100).any()


def test_coarser_masks_lie_where_the_fine_ones_do(data: Path) -> None:
    batch = AIHDataset(data, HASMTask.fields)[list(range(6))]
    fine = scenes(batch, 64, SampleRng(0, 0, 0, 6)).masks
    coarse = scenes(batch, 64, SampleRng(0, 0, 0, 6), mask_stride=2).masks
    steps = torch.arange(32.0)
    for name in ("right_amodal", "left_amodal"):
        share = torch.nn.functional.avg_pool2d(fine[name][:, None].float(), 2)[:, 0]
        means = [(m.float() * steps).sum((1, 2)) / m.float().sum((1, 2)) for m in (coarse[name], share)]
        assert coarse[name].shape == (6, 32, 32)
        assert (means[0] - means[1]).mean().abs() < 0.1  # pixels of the coarse mask


def test_windows_show_a_part_of_the_photo_with_its_masks(data: Path) -> None:
    batch = AIHDataset(data, HASMTask.fields)[list(range(6))]
    areas = {}
    for share in (0.0, 1.0):
        shown = (scenes(batch, 64, SampleRng(seed, 1, 0, 6), windows=share) for seed in range(8))
        images, masks = zip(*shown, strict=True)
        assert all(image.shape == (6, 3, 64, 64) for image in images)
        areas[share] = torch.cat([(m["right_amodal"] | m["left_amodal"]).float().mean((1, 2)) for m in masks])
    assert areas[1.0].max() > 1.3 * areas[0.0].max()  # some are closer to a hand than any whole image,
    assert (areas[1.0] < 0.02).sum() > 3 and (areas[0.0] > 0.02).all()  # and some look beside the hands


def test_what_hdrm_is_not_taught_stays_in_its_target(data: Path) -> None:
    config = short("hdrm")
    task = HDRMTask(config, SMALL_HDRM, CPU)
    batch = AIHDataset(data, HDRMTask.fields)[list(range(6))]
    crops = task.crops(batch, SampleRng(0, 0, 0, 6), augment=False)
    hidden, removed = crops.masks.hidden, crops.masks.removal
    assert hidden.any() and removed.any()
    keep_other, keep_hidden = (teach(crops, replace(SMALL_HDRM, **{off: False})) for off in ("removal", "deocclusion"))
    for taught, left_out, painted in ((keep_other, removed, hidden), (keep_hidden, hidden, removed)):
        assert torch.equal(taught.target[left_out.expand(-1, 3, -1, -1)], crops.image[left_out.expand(-1, 3, -1, -1)])
        assert torch.equal(taught.target[painted.expand(-1, 3, -1, -1)], crops.target[painted.expand(-1, 3, -1, -1)])
    assert torch.equal(keep_other.masks.hidden, hidden) and not keep_other.masks.removal.any()
    assert torch.equal(keep_hidden.masks.removal, removed) and not keep_hidden.masks.hidden.any()


def test_the_trained_weights_know_what_they_paint(data: Path, tmp_path: Path) -> None:
    arguments = ["train", "hdrm", "--data", str(data), "--out", str(tmp_path / "run"), "--preset", "nano"]
    arguments += ["--no-removal", "--no-transformer", "--no-discriminator", "--device", "cpu"]
    assert main([*arguments, "--size", "64", "--batch-size", "2", "--steps", "1"]) == 0
    config = HDRM.from_pretrained(tmp_path / "run/weights").config
    assert (config.removal, config.deocclusion, config.transformer) == (False, True, False)
    recorded = json.loads((tmp_path / "run/run.json").read_text())
    assert recorded["network"]["removal"] is False and recorded["losses"]["adversarial"] == 0


def test_the_paper_preset_asks_for_its_features() -> None:
    with pytest.raises(AIHError, match="--features"):
        HDRMTask(training_preset("hdrm", "paper"), SMALL_HDRM, CPU)


def test_weights_are_found_by_themselves_in_a_run_and_in_a_folder_of_runs(data: Path, tmp_path: Path) -> None:
    run(short("shpe"), data, tmp_path / "runs/shpe")
    SHPE(SMALL_SHPE).save_pretrained(tmp_path / "weights/shpe")
    assert find_weights(tmp_path / "weights", "shpe") == tmp_path / "weights/shpe"
    assert find_weights(tmp_path / "runs", "shpe") == tmp_path / "runs/shpe/weights"
    assert find_weights(tmp_path / "runs/shpe", "shpe") == tmp_path / "runs/shpe/weights"
    with pytest.raises(AssetError, match="expected weights of hasm"):
        find_weights(tmp_path / "runs/shpe", "hasm")


def test_a_branch_that_earlier_weights_lack_begins_anew(tmp_path: Path) -> None:
    config = HASMConfig("efficientnet_lite0", "pyramid", 16)
    earlier, network = HASM(config), HASM(replace(config, presence=True))
    earlier.save_pretrained(tmp_path / "hasm")
    before = {name: tensor.clone() for name, tensor in network.state_dict().items() if "presence" in name}
    start_from(network, tmp_path)
    after = network.state_dict()
    assert before and all(torch.equal(after[name], tensor) for name, tensor in before.items())
    assert all(torch.equal(after[name], tensor) for name, tensor in earlier.state_dict().items())
    with pytest.raises(AssetError, match="decoder_width 8, found 16"):
        start_from(HASM(replace(config, decoder_width=8)), tmp_path)
    with pytest.raises(AssetError, match="arms True, found False"):
        start_from(HASM(replace(config, arms=True)), tmp_path)


def test_a_part_that_is_to_be_left_out_is(tmp_path: Path) -> None:
    full, without = HDRM(SMALL_HDRM), HDRM(replace(SMALL_HDRM, transformer=False, removal=False))
    full.save_pretrained(tmp_path / "hdrm")
    start_from(without, tmp_path)
    left_out = full.state_dict().keys() - without.state_dict().keys()
    assert left_out and all("block" in name for name in left_out)
    assert all(torch.equal(tensor, full.state_dict()[name]) for name, tensor in without.state_dict().items())


def test_a_device_that_is_not_there_is_told() -> None:
    for name in ("cuda:77", "abacus"):
        with pytest.raises(AIHError, match=name):
            choose_device(name)


def test_cuda_is_the_gpu_of_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    chosen: list[torch.device] = []
    monkeypatch.setattr(torch, "zeros", lambda *_, **__: torch.ones(1))
    monkeypatch.setattr(torch.cuda, "set_device", chosen.append)
    monkeypatch.delenv("LOCAL_RANK", raising=False)
    assert choose_device("cuda") == torch.device("cuda", 0)
    monkeypatch.setenv("LOCAL_RANK", "2")
    assert choose_device("cuda") == torch.device("cuda", 2) and choose_device("cuda:1") == torch.device("cuda", 1)
    assert all(device.index is not None for device in chosen)  # torch takes no other


def test_the_weights_of_the_best_validated_step_are_kept_and_found(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = short("shpe", steps=3, validate_every=1)
    scores = iter((3.0, 1.0, 2.0))
    monkeypatch.setattr(loop, "_validate", lambda *_: next(scores))
    run(config, data, tmp_path / "run", validation=data)
    rows = [json.loads(line) for line in (tmp_path / "run/metrics.jsonl").read_text().splitlines()]
    assert [row["validation"] for row in rows] == [3, 1, 2]
    state = torch.load(tmp_path / "run/last.pt", weights_only=True)
    assert state["best"] == {"step": 2, "loss": 1.0}
    assert find_weights(tmp_path / "run", "shpe") == tmp_path / "run/best"
    best, last = (SHPE.from_pretrained(tmp_path / "run" / name).encoder.conv1.weight for name in ("best", "weights"))
    assert not torch.equal(best, last)


@pytest.mark.parametrize("task", ["hasm", "hdrm", "shpe"])
def test_validation_is_the_loss_of_samples_as_they_are(task: str, data: Path) -> None:
    config = short(task)
    built = make_task(config)
    dataset = AIHDataset(data, built.fields)
    network = built.networks[task].eval()
    losses = [built.validation(network, dataset[[0, 1, 2]], SampleRng(0, 0, 0, 3)).item() for _ in range(2)]
    assert losses[0] == losses[1] and np.isfinite(losses[0])


def test_a_run_records_its_code_and_its_data(data: Path, tmp_path: Path) -> None:
    run(short("shpe"), data, tmp_path / "run")
    record = json.loads((tmp_path / "run/run.json").read_text())
    assert record["data_sha256"] == AIHDataset(data).digest() and record["code"]["torch"] == torch.__version__
    write_samples(tmp_path / "other/aih-00000.h5", 5)
    with pytest.raises(AIHError, match="data_sha256"):
        run(short("shpe", steps=5), tmp_path / "other", tmp_path / "run", resume=True)


def test_a_checkpoint_of_another_schema_is_told(data: Path, tmp_path: Path) -> None:
    run(short("shpe"), data, tmp_path / "run")
    state = torch.load(tmp_path / "run/last.pt", weights_only=True)
    torch.save({**state, "schema": 9}, tmp_path / "run/last.pt")
    with pytest.raises(AIHError, match="expected checkpoint schema 1, found 9"):
        run(short("shpe", steps=5), data, tmp_path / "run", resume=True)


def test_a_batch_larger_than_the_set_is_told(data: Path, tmp_path: Path) -> None:
    with pytest.raises(AIHError, match="expected at least the 8 samples of a batch with a hand, found 6"):
        run(short("shpe", batch_size=8), data, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_shards_without_a_field_that_the_task_needs_are_told(tmp_path: Path) -> None:
    write_samples(tmp_path / "data/aih-00000.h5", 6)
    with h5py.File(tmp_path / "data/aih-00000.h5", "a") as file:
        del file["joints_2d"]
    with pytest.raises(AIHError, match="joints_2d"):
        run(short("shpe"), tmp_path / "data", tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_compiling_without_a_compiler_is_told(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    with pytest.raises(AIHError, match=r"--compile: expected a C\+\+ compiler"):
        run(short("shpe"), data, tmp_path / "run", compiled=True)
    assert not (tmp_path / "run").exists()


def test_compiling_for_a_gpu_without_triton_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compilation, "find_spec", lambda name: None)
    monkeypatch.setenv("CXX", sys.executable)
    with pytest.raises(AIHError, match="--compile: expected the package triton"):
        compilation.compile_networks(nn.ModuleDict(), torch.device("cuda", 0))


def test_held_out_shards_without_a_sample_to_validate_are_told(data: Path, tmp_path: Path) -> None:
    write_samples(tmp_path / "single/aih-00000.h5", 2, hands=(0,))
    with pytest.raises(AIHError, match="single: expected held-out samples with two hands, found none"):
        run(short("hdrm", losses=ADVERSARIAL), data, tmp_path / "run", validation=tmp_path / "single")
    assert not (tmp_path / "run").exists()


def test_a_time_is_for_one_process(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "process_rank", lambda: (0, 2))
    with pytest.raises(AIHError, match="--minutes: expected one process, or --steps, which are the same in all"):
        run(short("shpe", batch_size=2), data, tmp_path / "run", seconds=12.0)
    assert not (tmp_path / "run").exists()


def test_a_samples_random_numbers_do_not_depend_on_its_batch() -> None:
    whole, part = SampleRng(3, 5, 20, 8), SampleRng(3, 5, 24, 4)
    assert torch.equal(whole.uniform(4)[4:], part.uniform(4)) and whole.of_step() == part.of_step()
    assert not torch.equal(SampleRng(3, 5, 20, 1).uniform(4), SampleRng(4, 5, 20, 1).uniform(4))


def test_a_run_by_the_clock_is_the_run_of_as_many_steps(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = short("shpe", warmup=50)
    by_clock = run(config, data, tmp_path / "clock", seconds=12.0)
    recorded = json.loads((tmp_path / "clock/run.json").read_text())
    assert recorded["steps"] > 3 and recorded["warmup"] <= recorded["steps"] / 5 + 1
    same = run(replace(config, steps=recorded["steps"], warmup=recorded["warmup"]), data, tmp_path / "steps")
    assert all(torch.equal(tensor, same[name]) for name, tensor in by_clock.items())
    run(config, data, tmp_path / "clock", seconds=99.0, resume=True)  # what is there decides
    assert json.loads((tmp_path / "clock/run.json").read_text())["steps"] == recorded["steps"]


def test_a_time_too_short_for_a_step_is_told(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["train", "shpe", "--data", str(data), "--preset", "nano", "--size", "64", "--batch-size", "2"]
    arguments += ["--device", "cpu", "--out", str(tmp_path / "run")]
    for minutes, said in (("0", "expected a time above 0"), ("0.0001", "expected time for at least one step")):
        assert main([*arguments, "--minutes", minutes]) == 2
        assert said in capsys.readouterr().err
    assert main([*arguments, "--minutes", "1", "--steps", "5"]) == 2
    assert not (tmp_path / "run").exists()
