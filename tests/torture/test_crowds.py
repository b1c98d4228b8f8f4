"""Many processes in one folder: one of them works, or they share the work; no reader sees a part of a file."""

from __future__ import annotations

import json
import time
from pathlib import Path

from aih_gen.errors import AIHError
from aih_gen.shards.reader import AIHShards
from tests.torture.children import Child, start, start_command
from tests.torture.conftest import Tally, times
from tests.torture.workshop import Workshop, tree


def test_eight_writers_of_the_same_samples(workshop: Workshop, tally: Tally) -> None:
    for _ in range(times(20)):
        out = workshop.new_folder()
        outcomes = [child.outcome() for child in [start_command(workshop.commands["syn"].at(out)) for _ in range(8)]]
        fault = workshop.fault("syn", out)
        wrong = [str(one) for one in outcomes if not one.clean]
        tally.expect(not wrong and not fault, "; ".join([*wrong, fault]))


def test_writers_of_other_samples_in_the_same_folder(workshop: Workshop, tally: Tally) -> None:
    for _ in range(times(20)):
        out = workshop.new_folder()
        jobs = [[*workshop.commands["syn"].at(out), "--seed", str(seed)] for seed in range(8)]
        outcomes = [child.outcome() for child in [start_command(job) for job in jobs]]
        made = [seed for seed, outcome in enumerate(outcomes) if outcome.code == 0]
        configurations = {json.dumps(shard.header.config) for shard in AIHShards(out).shards}
        tally.expect(
            all(one.clean for one in outcomes) and len(made) == 1 and len(configurations) == 1,
            f"{made} of 8 succeeded, {len(configurations)} configurations: {[str(one) for one in outcomes]}",
        )


def test_tasks_of_two_and_of_three_in_one_folder(workshop: Workshop, tally: Tally) -> None:
    for _ in range(times(20)):
        out = workshop.new_folder()
        base = workshop.commands["syn"].at(out)
        jobs = [(count, index) for count in (2, 3) for index in range(count)]
        children = [start_command([*base, "--num-tasks", str(n), "--task-index", str(k)]) for n, k in jobs]
        outcomes = [child.outcome() for child in children]
        fault = workshop.fault("syn", out)
        wrong = [str(one) for one in outcomes if not one.clean]
        tally.expect(not wrong and not fault, "; ".join([*wrong, fault]))


def test_two_trainers_in_one_folder(workshop: Workshop, tally: Tally) -> None:
    for _ in range(times(20)):
        out = workshop.new_folder()
        outcomes = [child.outcome() for child in [start_command(workshop.commands["train"].at(out)) for _ in range(2)]]
        steps = [json.loads(line)["step"] for line in (out / "metrics.jsonl").read_text().splitlines()]
        fault = workshop.fault("train", out)
        holds = all(one.clean for one in outcomes) and steps == sorted(set(steps)) and not fault
        tally.expect(holds, f"{fault}; steps {steps}; {[str(one) for one in outcomes]}")


def test_readers_while_a_writer_writes(workshop: Workshop, tally: Tally) -> None:
    for _ in range(times(10)):
        out = workshop.new_folder()
        out.mkdir(parents=True)
        readers: list[Child] = [start(read_until_complete, out, 12) for _ in range(10)]
        written = start_command(workshop.commands["syn"].at(out)).outcome()
        for reader in readers:
            outcome = reader.outcome()
            tally.expect(outcome.code == 0 and written.code == 0, str(outcome))
        assert tree(out) == workshop.expected("syn").tree


def read_until_complete(folder: Path, samples: int) -> None:
    """Read all that is there again and again, until there are so many samples."""
    known: dict[int, bytes] = {}
    deadline = time.monotonic() + 50
    while len(known) < samples and time.monotonic() < deadline:
        if not any(folder.glob("*.h5")):
            continue
        try:
            shards = AIHShards([str(path) for path in folder.glob("*.h5")])
        except AIHError as error:
            raise SystemExit(f"a shard that is not whole: {error}") from error
        for sample in shards:
            image = sample.image.tobytes()
            assert known.setdefault(sample.index, image) == image
        shards.close()
    assert len(known) == samples
