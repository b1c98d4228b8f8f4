"""Speed and memory of a long run from beginning to end, and an estimate for the whole of AIH.

python scripts/soak.py --count 20000 --workers 2 --out soak

Makes AIH_Render and then AIH_Syn from it in ``aih-gen``'s own worker processes, each in 40 shards. Writes ``soak.csv``,
a line for every finished shard (memory, open files and processor time of the parent and its workers together), and
``soak.png``, and prints what changed between the second quarter of a run, when everything is warm, and its last one.
Processor time is steadier than the clock where other programs run beside it.
"""

from __future__ import annotations

import csv
import multiprocessing
import os
import statistics
import threading
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import numpy as np
import tyro
from PIL import Image, ImageDraw, ImageFont

from aih_gen.config import DatasetConfig, RenderConfig, SynConfig
from aih_gen.factory import generate
from aih_gen.typing import Array

SHARDS = 40
MAX_GROWTH = 0.02
SPAN = 8
"""Shards over which processor time is drawn."""
POLL = 0.05
"""Seconds."""
WHOLE = {RenderConfig.subset: 700_000, SynConfig.subset: 2_200_000}
"""AIH's samples (paper, section "AIH")."""
WIDTH, HEIGHT, MARGIN = 560, 150, 34


@dataclass(frozen=True)
class Arguments:
    out: Path
    """A new folder for the shards, the table and the image."""
    count: int = 20_000
    """Samples of each subset."""
    size: int = 256
    seed: int = 0
    workers: int = 2
    cores: tuple[int, ...] = (2, 16, 64)
    """For which the time of the whole of AIH is estimated."""


@dataclass(frozen=True)
class Row:
    """The state of the process when a shard had just been finished."""

    subset: str
    samples: int
    seconds: float
    processor_seconds: float
    """Of the parent and its workers, their start included."""
    parent_mb: float
    workers_mb: float
    open_files: int

    @property
    def memory_mb(self) -> float:
        return self.parent_mb + self.workers_mb


class Watch(threading.Thread):
    """Looks at this process and its workers whenever a shard appears in a folder."""

    def __init__(self, folder: Path, subset: str, shard_size: int, workers: int) -> None:
        super().__init__(daemon=True)
        self.folder, self.subset, self.shard_size, self.workers = folder, subset, shard_size, workers
        self.rows: list[Row] = []
        self._over, self._start = threading.Event(), time.perf_counter()

    def run(self) -> None:
        made = 0
        while not self._over.wait(POLL):
            there = len(list(self.folder.glob("*.h5")))
            if there > made:
                self._look(there)
                made = there

    def finish(self) -> list[Row]:
        self._over.set()
        self.join()
        return self.rows

    def _look(self, shards: int) -> None:
        workers = [str(child.pid) for child in multiprocessing.active_children()]
        try:
            own, others = measure("self"), [measure(worker) for worker in workers]
        except (FileNotFoundError, ProcessLookupError):
            return  # a worker has just ended, as they do after the last shard
        if len(others) < self.workers:
            return
        megabytes, processor, files = (sum(column) for column in zip(own, *others, strict=True))
        seconds = time.perf_counter() - self._start
        parent = own[0]
        self.rows.append(
            Row(self.subset, shards * self.shard_size, seconds, processor, parent, megabytes - parent, int(files))
        )


def measure(process: str) -> tuple[float, float, int]:
    """Resident MB, seconds of processor time and open files of a process."""
    folder = Path("/proc", process)
    resident = int((folder / "statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    times = (folder / "stat").read_text().rpartition(")")[2].split()[11:13]
    processor = sum(map(int, times)) / os.sysconf("SC_CLK_TCK")
    return resident / 1e6, processor, len(os.listdir(folder / "fd"))  # noqa: PTH208  (a link in it may be gone)


def soak(config: DatasetConfig, folder: Path, arguments: Arguments) -> list[Row]:
    """Make the samples of a configuration, watched."""
    shard_size = arguments.count // SHARDS
    watch = Watch(folder, config.subset, shard_size, arguments.workers)
    watch.start()
    try:
        generate(config, folder, shard_size * SHARDS, workers=arguments.workers, shard_size=shard_size)
    finally:
        rows = watch.finish()
    return rows


def report(rows: Sequence[Row], folder: Path, count: int) -> tuple[float, float]:
    """Print how a run changed; returns processor seconds and bytes a sample, of its warm three quarters."""
    quarter = len(rows) // 4
    early, late = rows[quarter : 2 * quarter], rows[-quarter:]
    growth = {
        name: statistics.median(getattr(row, name) for row in late)
        / statistics.median(getattr(row, name) for row in early)
        - 1
        for name in ("parent_mb", "workers_mb", "memory_mb")
    }
    files = sorted({row.open_files for row in rows[quarter:]})
    rates = [(part[-1].samples - part[0].samples) / (part[-1].seconds - part[0].seconds) for part in (early, late)]
    costs = [cost(part) * 1e3 for part in (early, late)]
    size = sum(path.stat().st_size for path in folder.glob("*.h5"))
    met = "under" if growth["memory_mb"] < MAX_GROWTH else "NOT under"
    change = "growth {memory_mb:+.2%}; parent {parent_mb:+.2%}, workers {workers_mb:+.2%}".format(**growth)
    print(f"{rows[0].subset}, {count:,} samples; second quarter and last quarter of the run:")
    print(f"  memory      {early[0].memory_mb:,.0f} MB, {change} ({met} {MAX_GROWTH:.0%})")
    print(f"  open files  {files[0]} to {files[-1]}")
    print(f"  samples/s   {rates[0]:.2f}, then {rates[1]:.2f} by the clock")
    print(f"  processor   {costs[0]:.1f} ms, then {costs[1]:.1f} ms a sample ({costs[1] / costs[0] - 1:+.1%})")
    stored = size / count
    print(f"  disk        {stored / 1e3:.1f} KB a sample")
    return cost(rows[quarter:]), stored


def cost(rows: Sequence[Row]) -> float:
    """Processor seconds a sample."""
    return (rows[-1].processor_seconds - rows[0].processor_seconds) / (rows[-1].samples - rows[0].samples)


def draw(runs: Sequence[Sequence[Row]], path: Path) -> None:
    """Memory, open files and processor time from shard to shard, one column of charts for each run."""
    image = Image.new("RGB", (len(runs) * WIDTH, 3 * HEIGHT), "white")
    for column, rows in enumerate(runs):
        samples = np.array([row.samples for row in rows], np.float64)
        pairs = zip(rows, rows[SPAN:], strict=False)  # workers finish together: one shard alone says little
        spent = np.array([cost(pair) * 1e3 for pair in pairs])
        charts = (
            ("memory of all processes, MB", samples, np.array([row.memory_mb for row in rows])),
            ("open files of all processes", samples, np.array([row.open_files for row in rows], np.float64)),
            ("processor time, ms a sample", samples[SPAN:], spent),
        )
        for line, (title, x, y) in enumerate(charts):
            _chart(image, (column * WIDTH, line * HEIGHT), f"{rows[0].subset}: {title}", x, y)
    image.save(path)


def _chart(image: Image.Image, corner: tuple[int, int], title: str, x: Array, y: Array) -> None:
    """One line from zero to the largest value."""
    canvas, font = ImageDraw.Draw(image), ImageFont.load_default(12)
    left, top = corner[0] + MARGIN, corner[1] + MARGIN
    right, bottom = corner[0] + WIDTH - MARGIN, corner[1] + HEIGHT - MARGIN // 2
    most = float(y.max()) or 1.0
    across = left + x / x.max() * (right - left)
    down = bottom - y / most * (bottom - top)
    canvas.line([(left, top), (left, bottom), (right, bottom)], fill="grey")
    canvas.line(list(zip(across.tolist(), down.tolist(), strict=True)), fill="navy", width=2)
    canvas.text((left, corner[1] + 8), f"{title}; up to {most:,.6g}", fill="black", font=font)
    canvas.text((right, bottom), f"{int(x.max()):,} samples", fill="black", font=font, anchor="rt")


def main() -> None:
    arguments = tyro.cli(Arguments, description=__doc__)
    if arguments.count < 10 * SHARDS or arguments.workers < 2 or arguments.out.exists():
        raise SystemExit(
            f"soak: expected at least {10 * SHARDS} samples, 2 workers, and a folder that is not there yet"
        )
    rendered, composed = arguments.out / "aih_render", arguments.out / "aih_syn"
    runs = [soak(RenderConfig(size=arguments.size, seed=arguments.seed), rendered, arguments)]
    runs.append(soak(SynConfig(source=str(rendered), size=arguments.size, seed=arguments.seed), composed, arguments))
    with (arguments.out / "soak.csv").open("w", newline="") as file:
        table = csv.DictWriter(file, [field.name for field in fields(Row)])
        table.writeheader()
        table.writerows(asdict(row) for rows in runs for row in rows)
    draw(runs, arguments.out / "soak.png")
    count = arguments.count // SHARDS * SHARDS
    found = {run[0].subset: report(run, place, count) for run, place in zip(runs, (rendered, composed), strict=True)}
    hours = sum(WHOLE[subset] * seconds for subset, (seconds, _) in found.items()) / 3600
    gigabytes = {subset: WHOLE[subset] * size / 1e9 for subset, (_, size) in found.items()}
    print("The whole of AIH:", ", ".join(f"{count:,} of {subset}" for subset, count in WHOLE.items()))
    print("  disk        " + ", ".join(f"{subset} {size:,.0f} GB" for subset, size in gigabytes.items()))
    print("  time        " + ", ".join(f"{hours / cores:,.1f} hours on {cores} cores" for cores in arguments.cores))


if __name__ == "__main__":
    main()
