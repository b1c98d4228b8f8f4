"""Processes that end with the one that started them."""

from __future__ import annotations

import multiprocessing
import os
import time
from pathlib import Path

from aih_gen.interruption import die_with_parent
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
