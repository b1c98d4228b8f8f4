"""Damaged files of every kind: refused in one sentence or read as before, in bounded time and memory."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.torture.children import start
from tests.torture.conftest import Tally, times
from tests.torture.readers import KINDS, OPERATIONS, SECONDS, Kind, make_files, probe
from tests.torture.workshop import Workshop

COUNTS = {"flip": 2000, "truncate": 500, "mutate": 2000}
COSTLY = 10
"""So many times fewer attacks on files that take a command to read."""
GIB = 2.0


@pytest.fixture(scope="module")
def files(workshop: Workshop) -> Path:
    folder = workshop.folder / "files"
    made = {"run": workshop.made("train"), "shards": workshop.made("syn"), "weights": workshop.folder / "weights/hasm"}
    made |= {name: workshop.folder / name for name in ("interhand", "hands")}
    without = {name: workshop.commands[name].without("--out", "--root") for name in ("train", "annotate")}
    make_files(folder, without, made)
    return folder


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_damaged(kind: Kind, operation: str, files: Path, tally: Tally) -> None:
    count = times(COUNTS[operation] if kind.cheap else COUNTS[operation] // COSTLY)
    seed, log = 0, files / f"{kind.name}-{operation}.log"
    while seed < count:
        child = start(probe, files / kind.name, kind.name, operation, range(seed, count), log, gib=GIB)
        outcome = child.outcome(SECONDS * (count - seed) + 60)
        assert log.exists(), str(outcome)
        for line in log.read_text().splitlines(keepends=True):
            number, fault = line.rstrip("\n").split("\t")
            if not line.endswith("\n"):
                fault = f"the reader ended, {outcome}"
            tally.expect(not fault, f"{kind.name}, {operation} {number}: {fault}")
            seed = int(number) + 1
        log.unlink()
