"""Data, three networks and their packed weights within a time; build_weights.sh is the way in."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import tyro

from aih_gen.errors import AIHError
from hdr_model.config import HDRMLossWeights, Preset, Task, training_preset
from scripts.pack_weights import pack_weights

SHARES: dict[str, float] = {"aih_render": 0.15, "aih_syn": 0.05, "hasm": 0.4, "hdrm": 0.15, "shpe": 0.25}
"""Of the minutes. Later parts share what earlier ones leave."""
MIN_SECONDS = 30.0
"""For each part, however long the earlier ones took."""
FIRST, SHARD = 25, 250
"""Samples of each worker that are made before the clock is looked at, and samples of a shard."""
MAX_SAMPLES = 100_000
PLAN = "plan.json"


@dataclass(frozen=True, kw_only=True)
class Build:
    """Make weights within a time."""

    work: Path
    """Folder of data and runs."""
    minutes: float
    """For data and training; what is resumed counts on."""
    out: Path = Path("assets/weights")
    preset: Preset = "light"
    seed: int = 11
    held_out: int = 2000
    """Samples of a seed of their own to measure on; made and measured on top of the minutes."""
    start_from: Path | None = None
    """Weights to go on from."""
    device: str = "auto"

    def run(self) -> None:
        """Make data, train, pack and measure."""
        if not 0 < self.minutes < 1e6:
            raise AIHError(f"--minutes: expected a time above 0, found {self.minutes:g}")
        self.work.mkdir(parents=True, exist_ok=True)
        self._check_plan()
        clock = Clock(self.work, 60 * self.minutes)
        workers = str(os.cpu_count() or 1)
        rendered, pasted = self.work / "aih_render", self.work / "aih_syn"
        render = ["aih_gen.cli", "render", "--out", str(rendered), "--seed", str(self.seed), "--workers", workers]
        syn = ["aih_gen.cli", "syn", "--source", str(rendered), "--out", str(pasted), "--seed", str(self.seed)]
        self._make_data(clock, "aih_render", render)
        self._make_data(clock, "aih_syn", [*syn, "--workers", workers])
        for task in ("hasm", "hdrm", "shpe"):
            self._train(clock, task, [rendered, pasted])
        held_out = self.work / "aih_heldout"
        arguments = ["--out", str(held_out), "--count", str(self.held_out), "--seed", str(self.seed + 1000)]
        run(self.work, ["aih_gen.cli", "render", *arguments, "--workers", workers])
        pack_weights(self.work, self.out)

    def _check_plan(self) -> None:
        """A second run goes on with the first one's settings."""
        kept = ("minutes", "preset", "seed")
        plan = {name: value for name, value in asdict(self).items() if name in kept}
        path = self.work / PLAN
        if path.is_file() and (found := json.loads(path.read_text())) != plan:
            raise AIHError(f"{path}: expected the settings of the run that is to go on, {found}, found {plan}")
        path.write_text(json.dumps(plan) + "\n")

    def _make_data(self, clock: Clock, name: str, command: list[str]) -> None:
        """As many samples as the time allows: the time of a first shard for each worker gives their number."""
        if clock.done(name):
            return
        count = FIRST * (os.cpu_count() or 1)
        budget, began = clock.budget(name), time.monotonic()
        while True:
            run(self.work, [*command, "--count", str(count), "--shard-size", str(SHARD)])
            spent = time.monotonic() - began
            more = int(count * budget / spent)
            if more < 1.2 * count or count == MAX_SAMPLES:
                break
            count = min(more, MAX_SAMPLES)
        clock.finish(name)

    def _train(self, clock: Clock, task: Task, data: list[Path]) -> None:
        if clock.done(task):
            return
        runs = self.work / "runs"
        command = ["hdr_model.cli", "train", task, "--data", *map(str, data), "--out", str(runs / task)]
        command += ["--preset", self.preset, "--seed", str(self.seed), "--device", self.device, "--resume"]
        command += ["--workers", "1", "--minutes", f"{clock.budget(task) / 60:.3f}"]
        if task != "hasm":
            command += ["--chain", str(runs)]
        losses = training_preset(task, self.preset).losses
        if isinstance(losses, HDRMLossWeights) and (losses.perceptual or losses.style):
            command += ["--features", str(runs / "hasm")]
        if self.start_from:
            command += ["--start-from", str(self.start_from)]
        run(self.work, command)
        clock.finish(task)


class Clock:
    """The seconds that are left, over all runs in a folder."""

    def __init__(self, work: Path, seconds: float) -> None:
        self.path, self.seconds = work / "clock.json", seconds
        self.spent: dict[str, float] = json.loads(self.path.read_text()) if self.path.is_file() else {}
        self.began = time.monotonic()

    def done(self, part: str) -> bool:
        """True where this part was finished, now or in an earlier run."""
        return part in self.spent

    def budget(self, part: str) -> float:
        """Seconds for this part: its share of what is left for it and those after it, or the least it can do with."""
        self.began = time.monotonic()
        names = list(SHARES)
        rest = names[names.index(part) :]
        left = self.seconds - sum(self.spent.values())
        return max(left * SHARES[part] / sum(SHARES[name] for name in rest), MIN_SECONDS)

    def finish(self, part: str) -> None:
        """Record its seconds."""
        self.spent[part] = time.monotonic() - self.began
        self.path.write_text(json.dumps(self.spent) + "\n")


def run(work: Path, arguments: list[str]) -> None:
    """Run a command of the project; it and its seconds go into the model card, once it has succeeded."""
    print("\n== " + " ".join(arguments), flush=True)
    began = time.monotonic()
    ended = subprocess.run([sys.executable, "-m", *arguments], check=False)
    if ended.returncode:
        sys.exit(ended.returncode)
    with (work / "commands.tsv").open("a") as file:
        file.write(f"{' '.join(arguments)}\t{time.monotonic() - began:.0f}\n")


if __name__ == "__main__":
    try:
        tyro.cli(Build).run()
    except AIHError as error:
        print(error, file=sys.stderr)
        sys.exit(2)
