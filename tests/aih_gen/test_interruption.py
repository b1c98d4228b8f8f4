"""Processes that end with the one that started them, or by its signal."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from aih_gen.compose.sample import Sample
from aih_gen.interruption import die_with_parent
from aih_gen.shards.writer import write_shard
from tests.data.samples import make_header, make_sample
from tests.waiting import until


def wait_for_long(place: Path) -> None:
    die_with_parent()
    place.write_text(str(os.getpid()))
    time.sleep(600)


def start_one_and_wait(place: Path) -> None:
    multiprocessing.get_context("forkserver").Process(target=wait_for_long, args=(place,)).start()
    time.sleep(600)


def test_behind_a_fork_server_too_a_process_ends_when_its_starter_is_killed(tmp_path: Path) -> None:
    """The operating system takes the fork server for its parent, which lives on."""
    place = tmp_path / "pid"
    starter = multiprocessing.get_context("spawn").Process(target=start_one_and_wait, args=(place,))
    starter.start()
    until(lambda: place.exists() and place.read_text() != "", 60)
    process = Path("/proc") / place.read_text()
    assert process.exists()
    starter.kill()
    starter.join()
    until(lambda: not process.exists(), 60)


def test_a_shard_whose_makers_a_signal_has_ended_is_interrupted_not_broken(tmp_path: Path) -> None:
    def broken() -> Iterator[list[Sample]]:
        yield [make_sample(0, 64)]
        os.kill(os.getpid(), signal.SIGTERM)
        raise RuntimeError("the workers have ended")

    with pytest.raises(KeyboardInterrupt):
        write_shard(tmp_path / "a.h5", broken(), 2, make_header())
    assert list(tmp_path.iterdir()) == []
