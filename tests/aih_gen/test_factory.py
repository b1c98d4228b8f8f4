"""The laws of the factory: a sample depends on its index alone, a shard is absent or whole, a folder has one writer."""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from aih_gen import engines
from aih_gen.compose.sample import Sample
from aih_gen.config import RenderConfig, SynConfig
from aih_gen.engines import one_thread_each
from aih_gen.errors import AIHError, ShardError
from aih_gen.factory import generate
from aih_gen.shards.disk import DeferredErrorFile
from aih_gen.shards.folder import sole_writer
from aih_gen.shards.inspect import inspect_shard
from aih_gen.shards.manifest import read_manifest
from aih_gen.shards.reader import AIHShards
from aih_gen.shards.verify import verify
from aih_gen.shards.writer import write_shard
from tests.data.samples import make_header, make_sample, write_samples
from tests.waiting import until

PROOF = os.environ.get("AIH_PROOF") == "1"
"""All of it, which takes minutes: AIH_PROOF=1 python -m pytest -s tests/aih_gen/test_factory*.py"""
COUNT = 1000 if PROOF else 21
SHARD_SIZES = (100, 64, 1000) if PROOF else (5, 8, 21)


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> SynConfig:
    folder = tmp_path_factory.mktemp("source")
    write_samples(folder / "aih_render-00000.h5", 40)
    return SynConfig(source=str(folder), seed=1, size=64)


def contents(folder: Path) -> dict[str, str]:
    """Every file that is not a lock, with its SHA-256."""
    files = (path for path in folder.rglob("*") if path.is_file() and not path.name.startswith(".lock"))
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def sample_hashes(folder: Path) -> list[str]:
    """SHA-256 of everything that each sample holds, in order."""
    hashes = []
    for sample in AIHShards(folder):
        total = hashlib.sha256()
        for name, value in sorted(vars(sample).items()):
            total.update(name.encode() + (value.tobytes() if isinstance(value, np.ndarray) else repr(value).encode()))
        hashes.append(total.hexdigest())
    return hashes


def assert_whole(folder: Path, count: int) -> None:
    manifest = read_manifest(folder)
    assert manifest is not None
    assert sum(entry.samples for entry in manifest.shards) == count
    assert [problem for found in verify(folder) for problem in found] == []
    assert sorted(AIHShards(folder).read(range(count), ("index",))["index"]) == list(range(count))


@pytest.mark.parametrize("look", ["pasted", "full_look"] if PROOF else ["pasted"])  # the latter draws 8,000 samples
def test_workers_shards_tasks_order_and_restarts_change_no_sample(
    tmp_path: Path, config: SynConfig | RenderConfig, look: str
) -> None:
    if look == "full_look":
        config = RenderConfig(seed=5, size=64)
    size, *other_sizes = SHARD_SIZES
    first = f"{config.subset.lower()}-00000.h5"
    generate(config, tmp_path / "plain", COUNT, shard_size=size)
    for workers in (2, 4) if PROOF else (4,):
        generate(config, tmp_path / f"{workers} workers", COUNT, shard_size=size, workers=workers)
    shards = -(-COUNT // size)
    for task in reversed(range(shards)):
        generate(config, tmp_path / "reversed", COUNT, shard_size=size, num_tasks=shards, task_index=task)
    for count in (COUNT // 3, COUNT // 2, COUNT):
        generate(config, tmp_path / "resumed", count, shard_size=size)
        (tmp_path / "resumed" / first).unlink()
    generate(config, tmp_path / "resumed", COUNT, shard_size=size)
    expected = contents(tmp_path / "plain")
    for folder in tmp_path.iterdir():
        assert contents(folder) == expected, folder
    for other in other_sizes:
        generate(config, tmp_path / str(other), COUNT, shard_size=other)
    hashes = sample_hashes(tmp_path / "plain")
    assert len(set(hashes)) == COUNT
    for folder in tmp_path.iterdir():
        assert_whole(folder, COUNT)
        assert sample_hashes(folder) == hashes, folder
    print(f"{COUNT} samples, the same hashes in {', '.join(sorted(path.name for path in tmp_path.iterdir()))}")


@pytest.mark.parametrize(("count", "workers"), [(40, 3), (5, 4), (2, 8)])
def test_all_workers_make_one_shard(
    tmp_path: Path, config: SynConfig, monkeypatch: pytest.MonkeyPatch, count: int, workers: int
) -> None:
    """Parts of batches come from every worker, and the writer puts them in order: the file is the same to the byte."""
    made: list[int] = []
    join = engines.join_rows
    monkeypatch.setattr(
        engines, "join_rows", lambda parts: (made.extend(len(p.provenance) for p in parts), join(parts))[1]
    )
    generate(config, tmp_path / "one", count)
    generate(config, tmp_path / "many", count, workers=workers)
    assert contents(tmp_path / "many") == contents(tmp_path / "one")
    assert len(made) >= min(count, workers) and sum(made) == count


def test_workers_write_whole_shards_and_share_what_is_left() -> None:
    jobs = [SimpleNamespace(count=count) for count in (8, 8, 8, 8, 8, 3)]
    alone, shared = engines._divided(jobs, 2)  # type: ignore[arg-type]
    assert (alone, shared) == (jobs[:4], [jobs[5], jobs[4]])
    assert engines._divided(jobs[5:], 2) == ([], jobs[5:])  # type: ignore[arg-type]
    assert [engines._part_size(shared, workers) for workers in (1, 2, 16)] == [3, 2, 1]  # type: ignore[arg-type]


def test_no_more_is_under_way_than_memory_is_meant_for() -> None:
    """However slow the writer is."""
    taken = itertools.count()
    with ThreadPoolExecutor(4) as threads:
        crew = SimpleNamespace(submit=threads.submit, done=lambda futures: [f for f in futures if not f.exception()])
        results = engines._Workers.in_order(crew, lambda k: k, ((next(taken),) for _ in range(100)), 6)  # type: ignore[arg-type]
        begun = [next(results) for _ in range(10)]
        assert begun == list(range(10))
        assert next(taken) == 6 + 9  # the tenth is still with the writer
        assert len(list(results)) == 100 - 10


def test_rendered_samples_keep_the_law_too(tmp_path: Path) -> None:
    config, count, size = RenderConfig(seed=5, size=64, look="plain"), 64 if PROOF else 4, 16 if PROOF else 2
    generate(config, tmp_path / "plain", count, shard_size=size, depth=True)
    generate(config, tmp_path / "workers", count, shard_size=size // 2, depth=True, workers=2)
    for task in (1, 0):
        generate(config, tmp_path / "tasks", count, shard_size=size, depth=True, num_tasks=2, task_index=task)
    assert contents(tmp_path / "tasks") == contents(tmp_path / "plain")
    assert sample_hashes(tmp_path / "plain") == sample_hashes(tmp_path / "workers")
    assert_whole(tmp_path / "plain", count)
    assert AIHShards(tmp_path / "plain").shards[0].header.hand_model == "free"


WHERE = """
import os, torch
from aih_gen.engines import ONE_THREAD
print(torch.get_num_threads(), *(os.environ.get(name) for name in ONE_THREAD))
"""


def test_worker_processes_compute_in_one_thread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As many threads as the environment asks for; afterwards it asks for as many again."""
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    monkeypatch.delenv("LP_NUM_THREADS", raising=False)
    with one_thread_each():
        said = subprocess.run([sys.executable, "-c", WHERE], capture_output=True, text=True, check=True).stdout
    assert said == "1 1 1 1 0\n"
    assert os.environ["OMP_NUM_THREADS"] == "2" and "LP_NUM_THREADS" not in os.environ


def test_shards_are_named_and_described(tmp_path: Path, config: SynConfig) -> None:
    generate(config, tmp_path, 5, shard_size=3, codec="gzip")
    assert set(contents(tmp_path)) == {"aih_syn-00000.h5", "aih_syn-00001.h5", "manifest.json"}
    manifest = read_manifest(tmp_path)
    assert manifest is not None and (manifest.codec, manifest.shard_size, manifest.depth) == ("gzip", 3, False)
    assert manifest.config["source"] == {"sha256": AIHShards(config.source).digest(), "samples": 40}
    header = inspect_shard(tmp_path / "aih_syn-00001.h5").header
    assert (header.subset, header.seed, header.hand_model) == ("AIH_Syn", 1, "ellipses")
    assert header.config_sha256 == manifest.config_sha256


def test_a_second_run_makes_only_what_is_missing(tmp_path: Path, config: SynConfig) -> None:
    generate(config, tmp_path, 9, shard_size=3)
    before = contents(tmp_path)
    (tmp_path / "aih_syn-00001.h5").unlink()
    kept = (tmp_path / "aih_syn-00002.h5").stat().st_mtime_ns
    (tmp_path / ".aih_syn-00001.h5.0123456789abcdef.tmp").write_text("of a run that was killed")
    generate(config, tmp_path, 9, shard_size=3)
    assert contents(tmp_path) == before
    assert (tmp_path / "aih_syn-00002.h5").stat().st_mtime_ns == kept


def test_a_larger_count_adds_and_a_smaller_one_keeps(tmp_path: Path, config: SynConfig) -> None:
    generate(config, tmp_path / "grown", 4, shard_size=3)
    early = (tmp_path / "grown" / "manifest.json").read_bytes()
    generate(config, tmp_path / "grown", 8, shard_size=3, workers=2)
    (tmp_path / "grown" / "manifest.json").write_bytes(early)  # as if killed before it was written
    generate(config, tmp_path / "grown", 2, shard_size=3, workers=2)
    generate(config, tmp_path / "at_once", 8, shard_size=3)
    assert_whole(tmp_path / "grown", 8)
    assert contents(tmp_path / "grown") == contents(tmp_path / "at_once")


def test_the_source_may_move_but_not_change(tmp_path: Path, config: SynConfig) -> None:
    generate(config, tmp_path / "out", 2)
    moved = tmp_path / "moved"
    write_samples(moved / "aih_render-00000.h5", 40)
    generate(dataclasses.replace(config, source=str(moved)), tmp_path / "out", 2)
    write_samples(moved / "aih_render-00001.h5", 1)
    with pytest.raises(ShardError, match="another configuration; expected source"):
        generate(dataclasses.replace(config, source=str(moved)), tmp_path / "out", 2)


@pytest.mark.parametrize("manifest", [True, False])
def test_a_folder_of_another_configuration_is_left_alone(tmp_path: Path, config: SynConfig, manifest: bool) -> None:
    generate(config, tmp_path, 4, shard_size=2)
    if not manifest:
        (tmp_path / "manifest.json").unlink()
    for lock in tmp_path.glob(".lock*"):
        lock.unlink()
    before = {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in tmp_path.iterdir()}
    for other, options, sentence in (
        (dataclasses.replace(config, seed=2), {}, "expected seed 2, found 1"),
        (dataclasses.replace(config, max_occlusion=0.5), {}, "expected max_occlusion 0.5, found 0.9"),
        (config, {"codec": "gzip"}, "expected codec 'gzip', found 'zstd'"),
        (
            config,
            {"shard_size": 3},
            "expected shard_size 3, found 2" if manifest else "expected at most 3 samples from",
        ),
    ):
        with pytest.raises(ShardError, match=sentence):
            generate(other, tmp_path, 4, **{"shard_size": 2, **options})  # type: ignore[arg-type]
    assert {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in tmp_path.iterdir()} == before


def test_one_folder_has_one_writer(tmp_path: Path, config: SynConfig) -> None:
    with (
        sole_writer(tmp_path, 1, 0),
        pytest.raises(AIHError, match="expected no other run in this folder, found one that is writing"),
    ):
        generate(config, tmp_path, 2)
    with sole_writer(tmp_path, 2, 1):
        for num_tasks, task in ((1, 0), (2, 1)):
            with pytest.raises(AIHError, match="expected no other run in this folder, found one that is writing"):
                generate(config, tmp_path, 4, shard_size=2, num_tasks=num_tasks, task_index=task)
        generate(config, tmp_path, 4, shard_size=2, num_tasks=2, task_index=0)
    assert set(contents(tmp_path)) == {"aih_syn-00000.h5", "manifest.json"}


def test_two_writers_of_one_shard_do_not_share_a_file(tmp_path: Path) -> None:
    path, samples = tmp_path / "aih_render-00000.h5", [make_sample(k) for k in range(4)]

    def interleaved() -> Iterator[list[Sample]]:
        yield samples[:2]
        write_shard(path, [samples], 4, make_header())
        yield samples[2:]

    write_shard(path, interleaved(), 4, make_header())
    assert [problem for found in verify(path) for problem in found] == []
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


def test_tasks_of_another_number_wait_until_no_task_writes(tmp_path: Path, config: SynConfig) -> None:
    with (
        sole_writer(tmp_path, 2, 0),
        sole_writer(tmp_path, 2, 1),
        pytest.raises(AIHError, match="expected no other run in this folder, found one that is writing"),
    ):
        generate(config, tmp_path, 6, shard_size=2, num_tasks=3, task_index=2)
    assert not contents(tmp_path)
    for task in range(3):
        generate(config, tmp_path, 6, shard_size=2, num_tasks=3, task_index=task)
    assert_whole(tmp_path, 6)


def test_a_lock_follows_no_planted_link(tmp_path: Path, config: SynConfig) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / ".lock").symlink_to(tmp_path / "victim")
    with pytest.raises(AIHError, match="expected a folder that can be written to"):
        generate(config, tmp_path / "out", 2)
    assert not (tmp_path / "victim").exists()


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"count": 0}, "count: expected 1 to"),
        ({"workers": 0}, "workers: expected 1 to"),
        ({"shard_size": 0}, "shard_size: expected 1 to"),
        ({"num_tasks": 2, "task_index": 2}, "task_index: expected 0 to 1, found 2"),
        ({"engine": "spark"}, "engine: expected local or ray, found 'spark'"),
        ({"codec": "jpeg"}, "codec: expected zstd or gzip, found 'jpeg'"),
        ({"depth": True}, "depth: expected a RenderConfig, whose hands alone have depths, found SynConfig"),
        ({"seed": -1}, "seed: expected 0 to"),
        ({"seed": 2**63}, "seed: expected 0 to"),
        ({"size": 100}, "size: expected a multiple of 32"),
        ({"left_in_front": 1.5}, "left_in_front: expected 0 to 1"),
        ({"min_occlusion": 0.95}, "min_occlusion: expected 0 to max_occlusion"),
    ],
)
def test_a_value_out_of_range_is_named_and_nothing_is_made(
    tmp_path: Path, config: SynConfig, changes: dict[str, Any], sentence: str
) -> None:
    fields = {field.name for field in dataclasses.fields(config)}
    other = dataclasses.replace(config, **{k: v for k, v in changes.items() if k in fields})
    options = {"count": 2, **{k: v for k, v in changes.items() if k not in fields}}
    with pytest.raises(AIHError, match=sentence):
        generate(other, tmp_path / "out", **options)
    assert not (tmp_path / "out").exists()


def test_an_output_that_cannot_be_a_folder_is_named(tmp_path: Path, config: SynConfig) -> None:
    (tmp_path / "file").write_text("")
    for out in ("file", "file/below"):
        with pytest.raises(AIHError, match="file"):
            generate(config, tmp_path / out, 2)


def test_a_missing_ray_is_one_sentence(tmp_path: Path, config: SynConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)  # so Python finds none, installed or not
    with pytest.raises(AIHError, match="expected the package ray, found it missing; pip install"):
        generate(config, tmp_path / "out", 2, engine="ray")
    assert not (tmp_path / "out").exists()


def start(
    config: SynConfig, out: Path, count: int, shard_size: int, workers: int, awaited: str
) -> subprocess.Popen[str]:
    """Making far more than there is time for; returns when the shard ``awaited`` is there."""
    process = subprocess.Popen(
        [
            sys.executable, "-m", "aih_gen.cli", "syn", "--source", config.source, "--out", str(out), "--seed", "1",
            "--count", str(count), "--shard-size", str(shard_size), "--workers", str(workers),
        ],
        stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    deadline = time.monotonic() + 60
    while not (out / awaited).exists() and time.monotonic() < deadline:
        assert process.poll() is None, process.stderr.read() if process.stderr else ""
        time.sleep(0.02)
    return process


def interrupt(process: subprocess.Popen[str]) -> None:
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does
    _, said = process.communicate(timeout=20)
    assert process.returncode == 130
    assert "interrupted" in said and "Traceback" not in said


def test_ctrl_c_leaves_only_whole_shards(tmp_path: Path, config: SynConfig) -> None:
    interrupt(start(config, tmp_path, 100_000, 20, workers=1, awaited="aih_syn-00002.h5"))
    made = len(AIHShards(tmp_path))
    assert_whole(tmp_path, made)
    assert 60 <= made < 100_000 and made % 20 == 0
    assert not list(tmp_path.glob(".*.tmp"))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_is_heard_while_hdf5_writes(
    tmp_path: Path, config: SynConfig, monkeypatch: pytest.MonkeyPatch, number: signal.Signals
) -> None:
    """HDF5 calls the file's ``write``, and an exception raised in there goes no further."""
    write, written = DeferredErrorFile.write, itertools.count()

    def write_and_signal(file: DeferredErrorFile, data: bytes) -> int:
        if next(written) == 5:
            os.kill(os.getpid(), number)
        return write(file, data)

    monkeypatch.setattr(DeferredErrorFile, "write", write_and_signal)
    with pytest.raises(KeyboardInterrupt):
        generate(config, tmp_path, 8)
    assert set(contents(tmp_path)) <= {"manifest.json"}
    assert not list(tmp_path.glob(".*.tmp"))


def test_ctrl_c_stops_busy_and_idle_workers_at_once(tmp_path: Path, config: SynConfig) -> None:
    """One worker has made the short last shard and waits; the other is at the first one for hours."""
    process = start(config, tmp_path, 1_000_008, 1_000_000, workers=2, awaited="aih_syn-00001.h5")
    time.sleep(0.5)  # until that worker waits for more
    interrupt(process)
    assert set(contents(tmp_path)) == {"aih_syn-00001.h5", "manifest.json"}
    assert AIHShards(tmp_path).read(range(8), ("index",))["index"].tolist() == list(range(1_000_000, 1_000_008))
    assert [problem for found in verify(tmp_path) for problem in found] == []


def test_the_workers_of_a_killed_run_write_no_more(tmp_path: Path, config: SynConfig) -> None:
    process = start(config, tmp_path, 1_000_008, 1_000_000, workers=2, awaited="aih_syn-00001.h5")
    until(lambda: any(tmp_path.glob(".aih_syn-00000*.tmp")))  # the other worker may have been slower to start
    process.kill()
    process.communicate(timeout=20)
    (unfinished,) = tmp_path.glob(".*.tmp")
    size = unfinished.stat().st_size
    time.sleep(1)
    assert unfinished.stat().st_size == size, "a worker outlived the run"
    assert len(AIHShards(tmp_path)) == 8


def test_the_slurm_script_shares_the_work_among_the_tasks(tmp_path: Path) -> None:
    (tmp_path / "aih-gen").write_text('#!/bin/sh\necho "$@"\n')
    (tmp_path / "aih-gen").chmod(0o755)
    script = Path(__file__).parents[2] / "docs" / "slurm_render.sh"
    path = {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    array = {"SLURM_ARRAY_TASK_COUNT": "8", "SLURM_ARRAY_TASK_ID": "3", "SLURM_CPUS_PER_TASK": "4"}
    for environment, tasks in ((array, 8), (array | {"TASKS": "100"}, 100)):
        command = [script, "/shared/out", "1000", "--size", "512"]
        done = subprocess.run(command, env=path | environment, capture_output=True, text=True, check=True)
        assert done.stdout == (
            f"render --out /shared/out --count 1000 --size 512 --workers 4 --num-tasks {tasks} --task-index 3\n"
        )
    done = subprocess.run([script, "/shared/out", "9"], env=path, capture_output=True, text=True, check=False)
    assert done.returncode != 0 and "submit with --array=0-N" in done.stderr
