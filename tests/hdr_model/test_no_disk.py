"""Training straight from a configuration, with samples that processes make meanwhile."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from multiprocessing.context import ForkServerContext
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from aih_gen.config import RenderConfig, SynConfig
from aih_gen.errors import AIHError
from aih_gen.factory import generate
from aih_gen.sources.config_file import config_text
from hdr_model.cli import main
from hdr_model.data import source
from hdr_model.data.aih import AIHDataset, batches
from hdr_model.data.batch import Batch
from hdr_model.data.source import SourceDataset
from hdr_model.weights import read_settings
from tests.data.samples import write_samples
from tests.hdr_model.resume_run import configuration
from tests.hdr_model.test_resume import (
    LAUNCHER,
    ROOT,
    TIMEOUT,
    assert_same_run,
    processes,  # noqa: F401 - a fixture
    start,
    steps_done,
)
from tests.waiting import until

RENDER = RenderConfig(size=64, seed=3)
SMALL = ["--preset", "nano", "--size", "64", "--batch-size", "4"]


@pytest.fixture(scope="module")
def hands(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("hands")
    write_samples(folder / "aih-00000.h5", 6)
    return folder


@pytest.fixture(scope="module")
def render(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("configuration") / "render.json"
    path.write_text(config_text(RENDER))
    return path


def test_any_number_of_processes_makes_the_same_batches() -> None:
    dataset = SourceDataset(RENDER, ("rgb", "masks", "index"), min_hands=2, window=12, new_per_step=2)
    config = configuration("hasm", {"steps": 8})
    alone, *others = (list(batches(dataset, config, workers=workers, shown=[0, 2])) for workers in (0, 1, 2))
    assert len(alone) == 9 and alone[0]["index"].shape == (2,)
    for other in others:
        assert all(torch.equal(a[name], b[name]) for a, b in zip(alone, other, strict=True) for name in a)
    assert all(torch.equal(a["rgb"], b["rgb"]) for a, b in zip(alone[4:], batches(dataset, config, 3), strict=True))


def test_two_processes_share_the_samples_of_one_with_twice_the_batch() -> None:
    """New samples and windows are those of one process; which of the older ones are drawn is each process's own."""

    def drawn(window: int, new: int, batch_size: int, rank: int, world: int) -> list[list[int]]:
        dataset = SourceDataset(RENDER, ("index",), window=window, new_per_step=new)
        read = batches(dataset, configuration("hasm", {"steps": 5, "batch_size": batch_size}), 0, rank, world)
        return [batch["index"].tolist() for batch in read]

    first, second = (drawn(6, 1, 2, rank, 2) for rank in (0, 1))
    one = drawn(12, 2, 4, 0, 1)
    for step, (a, b, both) in enumerate(zip(first, second, one, strict=True)):
        assert not {*a} & {*b} and {*a, *b} <= set(range(2 * step, 2 * step + 12))
        assert sorted([a[-1], b[-1]]) == sorted(both[-2:])


def test_processes_and_their_workers_take_devices_in_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source, "drawing_devices", lambda config, given: tuple(given))  # here is but one
    dataset = SourceDataset(RENDER, gl_device=[0, 1, 2])
    devices = []
    for process in ("0", "1"):
        monkeypatch.setenv("LOCAL_RANK", process)
        for worker in (0, 1):
            info = SimpleNamespace(id=worker, num_workers=2)
            monkeypatch.setattr(source, "get_worker_info", lambda info=info: info)
            devices.append(dataset._device())
    assert devices == [0, 1, 2, 0]


def test_two_processes_that_were_stopped_end_as_those_that_were_not(hands: Path, tmp_path: Path) -> None:
    data = tmp_path / "syn.json"
    data.write_text(config_text(SynConfig(source=str(hands), size=64)))
    changes = {"steps": 12, "batch_size": 2, "log_every": 1, "checkpoint_every": 3}
    options = {"resume": True, "validation": str(hands), "window": 8, "new_per_step": 1, "workers": 1}

    def together(out: Path, steps: int) -> int:
        given = {"task": "hasm", "data": str(data), "out": str(out), "options": options}
        given["changes"] = changes | {"steps": steps}
        command = [*LAUNCHER, "tests.hdr_model.resume_run", json.dumps(given)]
        environment = os.environ | {"OMP_NUM_THREADS": "1"}
        process = subprocess.Popen(command, cwd=ROOT, env=environment, stderr=subprocess.DEVNULL)
        try:
            if out.name == "stopped" and not (out / "run.json").exists():
                until(lambda: process.poll() is not None or steps_done(out) >= 4, TIMEOUT)
                children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
                os.kill(int(children[-1]), signal.SIGTERM)
            return process.wait(TIMEOUT)
        finally:
            process.kill()

    assert together(tmp_path / "whole", 12) == 0
    assert together(tmp_path / "stopped", 12) != 0
    assert 4 <= checkpoint(tmp_path / "stopped") < 12
    assert together(tmp_path / "stopped", 12) == 0
    assert_same_run(tmp_path / "whole", tmp_path / "stopped")


def test_a_run_killed_at_random_moments_is_the_run_that_was_not(
    hands: Path,
    processes: ForkServerContext,  # noqa: F811
    tmp_path: Path,
) -> None:
    data = tmp_path / "syn.json"
    data.write_text(config_text(SynConfig(source=str(hands), size=64)))
    changes = {"steps": 24}
    options = {"resume": True, "validation": str(hands), "window": 16, "new_per_step": 1}
    start(processes, "hasm", data, tmp_path / "whole", changes, options).join(TIMEOUT)
    for moment in sorted(random.Random(5).sample(range(3, 24), 3)):
        process = start(processes, "hasm", data, tmp_path / "killed", changes, {**options, "workers": 2})
        until(lambda: not process.is_alive() or steps_done(tmp_path / "killed") >= moment, TIMEOUT)  # noqa: B023
        process.kill()
        process.join()
    process = start(processes, "hasm", data, tmp_path / "killed", changes, {**options, "workers": 1})
    process.join(TIMEOUT)
    assert process.exitcode == 0
    assert_same_run(tmp_path / "whole", tmp_path / "killed")


class Command:
    """A command that trains, with the processes that it has started."""

    def __init__(self, *arguments: str) -> None:
        environment = os.environ | {"OMP_NUM_THREADS": "1"}
        command = [sys.executable, "-m", "hdr_model.cli", "train", "hasm", *SMALL, *arguments]
        self.process = subprocess.Popen(
            command, cwd=ROOT, env=environment, stderr=subprocess.PIPE, text=True, start_new_session=True
        )

    def members(self) -> dict[int, str]:
        """Command lines of its processes."""
        found = {}
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                state, _, group = (folder / "stat").read_text().rpartition(")")[2].split()[:3]
                if int(group) == self.process.pid and state != "Z":
                    found[int(folder.name)] = (folder / "cmdline").read_text()
            except (FileNotFoundError, ProcessLookupError):
                continue
        return found

    def workers(self) -> list[int]:
        """Those that make samples: forks of the server."""
        servers = [pid for pid, line in self.members().items() if "forkserver" in line]
        return sorted(servers)[1:]  # the first has forked the others


@pytest.fixture
def command(render: Path, tmp_path: Path) -> Iterator[Command]:
    arguments = ["--data", str(render), "--out", str(tmp_path / "run"), "--workers", "2", "--window", "64"]
    running = Command(*arguments, "--steps", "100000", "--log-every", "1")
    yield running
    if running.members():
        os.killpg(running.process.pid, signal.SIGKILL)
    running.process.communicate()


def checkpoint(out: Path) -> int:
    step = torch.load(out / "last.pt", weights_only=True)["step"]
    assert isinstance(step, int)
    return step


def test_a_killed_worker_is_one_sentence_and_its_steps_are_kept(command: Command, tmp_path: Path) -> None:
    until(lambda: steps_done(tmp_path / "run") >= 2, TIMEOUT)
    os.kill(command.workers()[0], signal.SIGKILL)
    _, said = command.process.communicate(timeout=TIMEOUT)
    assert command.process.returncode == 2
    last = said.strip().splitlines()[-1]
    assert last.startswith("hdr: error: --workers: expected processes that read until the end, found one that was")
    assert checkpoint(tmp_path / "run") == steps_done(tmp_path / "run") >= 2
    until(lambda: not command.members(), 10)


@pytest.mark.parametrize("steps", [0, 2])
def test_ctrl_c_ends_all_at_once_and_leaves_a_checkpoint(command: Command, tmp_path: Path, steps: int) -> None:
    until(lambda: (tmp_path / "run/pictures").exists() and steps_done(tmp_path / "run") >= steps, TIMEOUT)
    began = time.monotonic()
    os.killpg(command.process.pid, signal.SIGINT)
    _, said = command.process.communicate(timeout=TIMEOUT)
    assert time.monotonic() - began < 30
    assert command.process.returncode == 130 and "interrupted" in said.splitlines()[-1], said
    done = steps_done(tmp_path / "run")
    assert not done or checkpoint(tmp_path / "run") == done
    until(lambda: not command.members(), 10)


def test_workers_end_when_the_training_is_killed(command: Command, tmp_path: Path) -> None:
    until(lambda: steps_done(tmp_path / "run") >= 1, TIMEOUT)
    assert len(command.workers()) == 2
    command.process.kill()
    until(lambda: not command.members(), 30)


class EndsWithALock(AIHDataset):
    """Its reader is killed with the lock behind which torch tells readers to end."""

    def __getitem__(self, index: int | Sequence[int]) -> Batch:
        frame = sys._getframe()
        while "done_event" not in frame.f_locals:
            assert frame.f_back
            frame = frame.f_back
        frame.f_locals["done_event"]._cond.acquire()
        os.kill(os.getpid(), signal.SIGKILL)
        raise AssertionError


def test_a_reader_that_is_killed_with_a_lock_holds_nothing_up(hands: Path) -> None:
    def give_up(*_: object) -> None:
        raise TimeoutError

    before = signal.signal(signal.SIGALRM, give_up)
    signal.alarm(60)
    try:
        with pytest.raises(AIHError, match="--workers: expected processes that read until the end, found one that was"):
            list(batches(EndsWithALock(hands), configuration("hasm", {"steps": 2}), workers=1))
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


LOADS = """
import sys
from hdr_model.cli import main

if __name__ == "__main__":
    assert main(["train", "hasm", *sys.argv[1:]]) == 0
    print(*sys.modules)
"""


def test_only_workers_draw(render: Path, tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(LOADS)
    arguments = [*SMALL, "--data", str(render), "--out", str(tmp_path / "run"), "--steps", "2", "--workers", "1"]
    command = [sys.executable, tmp_path / "program.py", *arguments, "--window", "8", "--new-per-step", "2"]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "aih_gen.render.gl" not in done.stdout.split()
    assert "of the window's 8 samples" in done.stderr
    recorded = read_settings(tmp_path / "run")
    assert recorded and (recorded["window"], recorded["new_per_step"]) == (8, 2)
    assert recorded["data_sha256"] == SourceDataset(RENDER).digest()


def test_a_run_is_resumed_with_the_same_window_only(
    render: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["train", "hasm", *SMALL, "--data", str(render), "--out", str(tmp_path / "run"), "--steps", "1"]
    assert main([*arguments, "--window", "8"]) == 0
    assert main([*arguments, "--window", "16", "--resume"]) == 2
    assert "run, window: expected 8 as before, found 16" in capsys.readouterr().err


def test_samples_that_are_trained_on_are_not_held_out(
    render: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shards = generate(RENDER, tmp_path / "same", 1)
    arguments = ["--data", str(render), "--out", str(tmp_path / "run"), "--validate", str(shards)]
    assert main(["train", "hasm", *SMALL, *arguments]) == 2
    assert "same: expected held-out samples, such as those of another seed, found those" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--data", "{render}", "--window", "3"], "--window: expected at least the 4 samples of a batch, found 3"),
        (["--data", "{render}", "--window", "-1"], "--window: expected at least the 4 samples of a batch, found -1"),
        (
            ["--data", "{render}", "--new-per-step", "5"],
            "--new-per-step: expected 1 to the 4 samples of a batch, found 5",
        ),
        (
            ["--data", "{render}", "--new-per-step", "0"],
            "--new-per-step: expected 1 to the 4 samples of a batch, found 0",
        ),
        (
            ["--data", "{hands}", "--window", "9"],
            "--window: expected a configuration (.json) in --data, found shards",
        ),
        (
            ["--data", "{hands}", "--new-per-step", "1"],
            "--new-per-step: expected a configuration (.json) in --data, found shards",
        ),
        (
            ["--data", "{hands}", "--gl-device", "0"],
            "--gl-device: expected a configuration (.json) in --data, found shards",
        ),
        (["--data", "{render}", "--gl-device", "0,99"], "gl_device: expected a device that is there (EGL has "),
        (["--data", "{render}", "--gl-device", "card"], "--gl-device: expected the number of a device, or several"),
        (
            ["--data", "{render}", "{hands}"],
            "--data: expected shards, or one configuration and nothing besides, found 2",
        ),
        (["--data", "{render}", "--synthesise", "0.5"], "--data: expected shards, or one configuration and nothing"),
        (["--data", "{render}", "--minutes", "1"], "--minutes: expected --steps with a configuration"),
        (["--data", "none.json"], "none.json: expected the file of a configuration, found none"),
        (["--data", "{bad}"], "bad.json: expected JSON, found something else"),
        (["--data", "{render}", "--window", "1000000000"], "--window: expected at most "),
    ],
)
def test_a_mistake_is_one_sentence_and_nothing_is_left(
    arguments: list[str], said: str, render: Path, hands: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "bad.json").write_text("nonsense")
    given = [text.format(render=render, hands=hands, bad=tmp_path / "bad.json") for text in arguments]
    assert main(["train", "hasm", *SMALL, "--out", str(tmp_path / "run"), *given]) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert line.startswith("hdr: error: ") and said in line
    assert not (tmp_path / "run").exists()


def test_where_nothing_can_draw_nothing_is_left(
    render: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("AIH_EGL_DEVICE", "99")
    arguments = ["--data", str(render), "--out", str(tmp_path / "run"), "--workers", "1"]
    assert main(["train", "hasm", *SMALL, *arguments]) == 2
    assert "AIH_EGL_DEVICE: expected a device that is there" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_a_worker_that_finds_a_mistake_says_its_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_samples(tmp_path / "hands/aih-00000.h5", 2)
    config = SynConfig(source=str(tmp_path / "hands"), size=64, smallest_hand=1)
    (tmp_path / "syn.json").write_text(config_text(config))
    arguments = ["--data", str(tmp_path / "syn.json"), "--out", str(tmp_path / "run"), "--workers", "1"]
    assert main(["train", "hasm", *SMALL, *arguments]) == 2
    line = capsys.readouterr().err.strip().splitlines()[-1]
    assert line.startswith(f"hdr: error: {tmp_path}/hands: expected whole right hands") and "Traceback" not in line
