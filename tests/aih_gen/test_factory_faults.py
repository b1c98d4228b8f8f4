"""Runs that are killed, a full disk, a folder without permission: shards on disk are whole, and are kept."""

from __future__ import annotations

import contextlib
import hashlib
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from aih_gen.cli import main
from aih_gen.engines import ENDED_AT_START
from aih_gen.shards.reader import AIHShards
from tests.data.samples import write_samples
from tests.waiting import until

ROOT = Path(__file__).parents[2]
KILLS = 50 if os.environ.get("AIH_PROOF") == "1" else 2
COUNT, SHARD_SIZE = 240, 6


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("source")
    write_samples(folder / "aih_render-00000.h5", 40)
    return folder


def making(source: Path, out: Path, count: int = COUNT, workers: int = 1, seed: int = 3) -> list[str]:
    options = {"source": source, "out": out, "count": count, "shard-size": SHARD_SIZE, "workers": workers, "seed": seed}
    return ["syn", *(f"--{name}={value}" for name, value in options.items())]


def contents(folder: Path) -> dict[str, str]:
    """SHA-256 of the shards and the manifest."""
    files = [*folder.glob("*.h5"), folder / "manifest.json"]
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files if path.exists()}


def read_all(folder: Path) -> int:
    """Number of samples; every visible shard must be whole."""
    return sum(len(list(AIHShards(path))) for path in folder.glob("*.h5"))


def test_killed_at_any_moment_and_started_again_it_makes_the_same(tmp_path: Path, source: Path) -> None:
    assert main(making(source, tmp_path / "expected")) == 0
    out, rng = tmp_path / "out", np.random.default_rng()
    kills = 0
    while kills < KILLS:
        made = read_all(out)
        if made == COUNT:  # all but perhaps the manifest: finish, and begin anew
            assert main(making(source, out)) == 0
            assert contents(out) == contents(tmp_path / "expected")
            for path in out.iterdir():
                path.unlink()
            made = 0
        command = [sys.executable, "-m", "aih_gen.cli", *making(source, out, workers=1 + kills % 2)]
        process = subprocess.Popen(
            command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL, start_new_session=True
        )
        try:
            until(
                lambda made=made, process=process: (
                    len(list(out.glob("*.h5"))) * SHARD_SIZE > made or process.poll() is not None
                )
            )
            time.sleep(rng.uniform(0, 0.15))
            kills += process.poll() is None  # otherwise it ended by itself
            assert process.returncode in (None, 0)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    print(f"{KILLS} kills; {read_all(out)} of {COUNT} samples after the last one")
    assert main(making(source, out)) == 0
    assert contents(out) == contents(tmp_path / "expected")


GUARD = 'if __name__ == "__main__":\n'


def run_script(folder: Path, text: str) -> tuple[int, str]:
    """The exit code and what was said; with one sample in place of thousands."""
    (folder / "script.py").write_text(text.replace("20000, workers=8", "1, workers=2"))
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "script.py"], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    return done.returncode, done.stderr


@pytest.fixture(scope="module")
def documented() -> str:
    """The script of docs/data.md."""
    return (ROOT / "docs" / "data.md").read_text().rpartition("```python\n")[2].partition("```")[0]


def test_the_documented_script_makes_data_in_many_processes(tmp_path: Path, documented: str) -> None:
    code, said = run_script(tmp_path, documented)
    assert (code, read_all(tmp_path / "data" / "aih_render")) == (0, 1), said


@pytest.mark.parametrize("before", ["", "open('only once', 'x')\n"])
def test_a_script_without_the_guard_is_told_so(tmp_path: Path, documented: str, before: str) -> None:
    imports, _, call = documented.partition(GUARD)
    code, said = run_script(tmp_path, before + imports + textwrap.dedent(call))
    assert (code, read_all(tmp_path / "data" / "aih_render")) == (1, 0)
    assert said.splitlines()[-1] == f"aih_gen.errors.AIHError: {ENDED_AT_START}"
    assert said.count("Traceback") == 1 or before, said  # a worker that comes to generate is silent


@pytest.fixture
def mounted(tmp_path: Path) -> Iterator[Callable[[str], Path]]:
    """Mounts a small file system, or changes how it is mounted."""
    place = tmp_path / "disk"
    place.mkdir()

    def mount(options: str) -> Path:
        command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", place]
        if os.geteuid() or subprocess.run(command, capture_output=True, check=False).returncode:
            pytest.skip("needs root: mounts a file system")
        return place

    yield mount
    subprocess.run(["umount", place], capture_output=True, check=False)


@pytest.mark.parametrize("workers", [1, 2])
def test_a_full_disk_is_one_sentence_and_with_more_room_the_run_completes(
    tmp_path: Path, source: Path, mounted: Callable[[str], Path], workers: int
) -> None:
    out = mounted("size=400k") / "out"
    done = subprocess.run(
        [sys.executable, "-m", "aih_gen.cli", *making(source, out, 60, workers)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    last = done.stderr.splitlines()[-1]
    assert (done.returncode, last.startswith("aih-gen: error: ")) == (2, True), done.stderr
    assert last.endswith("(No space left on device)") and "Traceback" not in done.stderr
    there = contents(out)
    assert 0 < read_all(out) < 60 and not list(out.glob(".*.tmp"))
    mounted("remount,size=20m")
    assert main(making(source, out, 60)) == main(making(source, tmp_path / "expected", 60)) == 0
    assert contents(out) == contents(tmp_path / "expected")
    assert {name: there[name] for name in there if name.endswith(".h5")}.items() <= contents(out).items()


def test_a_folder_that_cannot_be_written_to_is_one_sentence(
    source: Path, mounted: Callable[[str], Path], capsys: pytest.CaptureFixture[str]
) -> None:
    place = mounted("size=4m")
    assert main(making(source, place / "out", 6)) == 0
    mounted("remount,ro")
    capsys.readouterr()
    for out in ("new", "out"):
        assert main(making(source, place / out, 12)) == 2
        said = capsys.readouterr().err
        assert (
            said == f"aih-gen: error: {place / out}: expected a folder that can be written to (Read-only file system)\n"
        )
    assert main(["info", str(place / "out")]) == 0
    assert main(["verify", str(place / "out")]) == 0
    assert main(["info", str(place / "out"), "--write"]) == 2


def test_another_run_or_configuration_in_the_folder_is_exit_code_2(
    tmp_path: Path, source: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = [sys.executable, "-m", "aih_gen.cli", *making(source, tmp_path, 100_000)]
    first = subprocess.Popen(command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL, start_new_session=True)
    try:
        until(lambda: any(tmp_path.glob("*.h5")))
        assert main(making(source, tmp_path, 100_000)) == 2
        assert (
            capsys.readouterr().err
            == f"aih-gen: error: {tmp_path}: expected no other run in this folder, found one that is writing\n"
        )
        assert main(making(source, tmp_path, seed=4)) == 2
        assert "another configuration; expected seed 4, found 3" in capsys.readouterr().err
    finally:
        os.killpg(first.pid, signal.SIGINT)
        assert first.wait(20) == 130
    assert read_all(tmp_path) % SHARD_SIZE == 0
    assert main(["verify", str(tmp_path)]) == 0
