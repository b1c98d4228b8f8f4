"""Processor time of the networks and of the whole of HDR by torch and by onnxruntime, one thread each, turn by turn.

OMP_NUM_THREADS=1 python scripts/bench_engines.py
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch
from rich.console import Console

from aih_gen.arguments import run_script
from aih_gen.assets import asset_path
from hdr_model.config import Engine
from hdr_model.evaluation.table import Grid, Line
from hdr_model.inference.photos import read_photo
from hdr_model.inference.pipeline import HDR
from hdr_model.inference.views import ONE_VIEW, SEVERAL_VIEWS

ENGINES: tuple[Engine, ...] = ("torch", "onnxruntime")


def main(weights: Path | None = None, photo: Path | None = None, repeats: int = 15) -> None:
    """Print a table of both engines, by default of the shipped weights and the demo's photo."""
    torch.set_num_threads(1)
    image = read_photo(photo or asset_path("demo") / "two_hands.png")
    jobs: dict[str, list[Callable[[], object]]] = {}
    for engine in ENGINES:
        for name, views in (("the usual views", SEVERAL_VIEWS), ("one view", ONE_VIEW)):
            hdr = HDR.from_pretrained(weights, views=views, engine=engine)
            jobs.setdefault(f"HDR, {name}", []).append(lambda hdr=hdr: hdr(image))  # type: ignore[misc]
        for batch in (1, 4):
            for name, job in networks(hdr, batch).items():
                jobs.setdefault(f"{name}, batch {batch}", []).append(job)
    lines = []
    for name, both in jobs.items():
        spent: list[list[float]] = [[], []]
        for k in range(repeats + 2):
            for times, job in zip(spent, both, strict=True):
                started = time.process_time()
                job()
                times += [1000 * (time.process_time() - started)] * (k > 1)
        ratios = [first / second for first, second in zip(*spent, strict=True)]
        lines.append(Line(name, (*map(statistics.median, spent), statistics.median(ratios), min(ratios), max(ratios))))
    columns = ("torch, ms", "onnxruntime, ms", "times as fast", "least", "most")
    height, width = image.shape[:2]
    note = f"Processor time, medians of {repeats} turns; one thread, float32. HDR: a photo of {width} x {height}."
    Grid("Engines", columns, tuple(lines), note, digits=2).print(Console(width=120))


def networks(hdr: HDR, batch: int) -> dict[str, Callable[[], object]]:
    """Each network at the size that HDR calls it with."""
    scene = torch.rand(batch, 3, hdr.segmentation_size, hdr.segmentation_size)
    crop = torch.rand(batch, 3, hdr.hand_size, hdr.hand_size)
    x = torch.rand(batch, 8, hdr.hand_size, hdr.hand_size)
    scene, crop, x = (tensor.contiguous(memory_format=torch.channels_last) for tensor in (scene, crop, x))
    called = {"HASM": (hdr.hasm, scene), "HDRM": (hdr.hdrm, x, torch.ones_like(x)), "SHPE": (hdr.shpe, crop)}
    return {name: lambda call=call: run(*call) for name, call in called.items()}  # type: ignore[misc]


@torch.inference_mode()
def run(network: torch.nn.Module, *inputs: torch.Tensor) -> None:
    """Once."""
    network(*inputs)


if __name__ == "__main__":
    run_script(main)
