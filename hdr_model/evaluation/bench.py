"""Times of the networks and of the whole of HDR on this machine, beside the paper's on a Tesla P40."""

from __future__ import annotations

import json
import os
import platform
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from tqdm import tqdm

from aih_gen.errors import AIHError
from aih_gen.io.write import check_writable, write_text
from hdr_model.config import TASKS, Preset, preset, training_preset
from hdr_model.device import choose_device
from hdr_model.evaluation.published import NAN, P40_MILLISECONDS
from hdr_model.evaluation.table import Grid, Line, without_nan
from hdr_model.inference.detection import find_hands
from hdr_model.inference.pipeline import HDR
from hdr_model.inference.views import SEVERAL_VIEWS
from hdr_model.nets.hasm import HASM
from hdr_model.nets.hdrm import HDRM
from hdr_model.nets.shpe import SHPE

PHOTO = 512
"""Side of the photo that the whole of HDR is timed on."""
MAX_BATCH, MAX_SECONDS = 1024, 3600.0
MIN_RUNS = 3
MAX_FIRST_SECONDS = 60.0
"""Seconds of a first run after which there is no other."""
WHOLE = f"HDR, photo of {PHOTO} x {PHOTO}, two hands"


def bench(size: Preset, device: str, batch_sizes: Sequence[int], seconds: float, out: Path | None) -> Grid:
    """Time everything in float32 and bfloat16 at each batch size; print, and write to ``out`` where it is given.

    Raises:
        AIHError: a number that nothing can be timed with, or no such device.
    """
    for number in batch_sizes:
        if not 1 <= number <= MAX_BATCH:
            raise AIHError(f"--batch-sizes: expected 1 to {MAX_BATCH}, found {number}")
    if not batch_sizes:
        raise AIHError("--batch-sizes: expected a number, found none")
    if not 0 < seconds <= MAX_SECONDS:
        raise AIHError(f"--seconds: expected a time above 0 and up to an hour, found {seconds:g}")
    if out is not None:
        check_writable(out)
    where = choose_device(device)
    lines = []
    for bfloat16 in (False, True):
        hdr = _untrained(size, where, bfloat16)
        for number in batch_sizes:
            for name, run in tqdm(_jobs(hdr, number).items(), desc=f"{hdr.precision}, batch {number}", unit="job"):
                times = measure(run, where, seconds)
                name_and_size = f"{name}, {hdr.precision}, batch {number}"
                middle, spread = statistics.median(times), max(times) - min(times)
                shares = (1000 * middle / number, 1000 * spread / number, P40_MILLISECONDS.get(name, NAN))
                lines.append(Line(name_and_size, shares))
                tqdm.write(f"{name_and_size}: {shares[0]:.1f} ms a photo")
    sizes = ", ".join(f"{task} {training_preset(task, size).size}" for task in TASKS)
    note = (
        f"Preset {size} (input sides {sizes}), {machine(where)}, PyTorch {torch.__version__}, "
        f"{torch.get_num_threads()} threads. Medians of at least {MIN_RUNS} runs after one to warm up (a first one "
        f"of more than {MAX_FIRST_SECONDS:.0f} s is the only one), each waited for, divided by the batch; the P40's "
        "are the paper's, of preset paper, and its HDRM's was probably not waited for. Two hands a photo, "
        "taken from drawn masks."
    )
    columns = ("ms a photo, median", "ms, slowest - fastest", "paper, Tesla P40, ms")
    grid = Grid("Time", columns, tuple(lines), note)
    grid.print(Console())
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
        write_text(out / "bench.json", json.dumps(without_nan(asdict(grid)), indent=1) + "\n")
        write_text(out / "bench.md", f"{grid.markdown()}\n{note}\n")
    return grid


def measure(run: Callable[[], object], device: torch.device, seconds: float) -> list[float]:
    """Seconds of each of several runs after a first one, for ``seconds`` in all; synchronised with the device.

    A first run of more than ``MAX_FIRST_SECONDS`` seconds is the only one.
    """
    first = _seconds(run, device)
    if first > MAX_FIRST_SECONDS:
        return [first]
    times: list[float] = []
    while len(times) < MIN_RUNS or sum(times) < seconds:
        times.append(_seconds(run, device))
    return times


def _seconds(run: Callable[[], object], device: torch.device) -> float:
    _wait(device)
    started = time.perf_counter()
    run()
    _wait(device)
    return time.perf_counter() - started


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _untrained(size: Preset, device: torch.device, bfloat16: bool) -> HDR:
    torch.manual_seed(0)
    networks = HASM(preset("hasm", size)), HDRM(preset("hdrm", size)), SHPE(preset("shpe", size))
    sides = training_preset("hasm", size).size, training_preset("hdrm", size).size
    return HDR(
        *networks, segmentation_size=sides[0], hand_size=sides[1], device=device, bfloat16=bfloat16, views=SEVERAL_VIEWS
    )


def _jobs(hdr: HDR, number: int) -> dict[str, Callable[[], object]]:
    scene = torch.rand(number, 3, hdr.segmentation_size, hdr.segmentation_size, device=hdr.device)
    crop = torch.rand(number, 3, hdr.hand_size, hdr.hand_size, device=hdr.device)
    x = torch.rand(number, 8, hdr.hand_size, hdr.hand_size, device=hdr.device)
    x = x.contiguous(memory_format=torch.channels_last)
    photos = [np.random.default_rng(k).integers(0, 255, (PHOTO, PHOTO, 3), np.uint8) for k in range(number)]
    pixels = torch.rand(1, 3, PHOTO, PHOTO, device=hdr.device)
    masks = _drawn_masks(hdr.device)

    @torch.inference_mode()
    def alone(network: Callable[..., object], *inputs: torch.Tensor) -> None:
        with hdr.autocast:
            network(*inputs)

    @torch.inference_mode()
    def whole() -> None:
        for _ in photos:
            hdr.segment(pixels, find_hands(hdr, pixels))
        hdr.separate(photos, [masks] * number)

    return {
        "HASM": lambda: alone(hdr.hasm, scene),
        "HDRM": lambda: alone(hdr.hdrm, x, torch.ones_like(x)),
        "SHPE": lambda: alone(hdr.shpe, crop),
        WHOLE: whole,
    }


def _drawn_masks(device: torch.device) -> dict[str, torch.Tensor]:
    """Two square hands of which the left one covers the right one."""
    amodal = torch.zeros(2, 1, PHOTO, PHOTO, dtype=torch.bool, device=device)
    amodal[0, :, 150:350, 100:300] = True
    amodal[1, :, 150:350, 250:450] = True
    right, left = amodal
    return {"right_amodal": right, "left_amodal": left, "right_visible": right & ~left, "left_visible": left}


def machine(device: torch.device) -> str:
    """The name of the GPU, or of the processor and how many cores it has."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    info = Path("/proc/cpuinfo")
    names = (
        [line.split(":")[1].strip() for line in info.read_text().splitlines() if line.startswith("model name")]
        if (info.exists())
        else []
    )
    return f"{names[0] if names else platform.processor()}, {os.cpu_count()} cores"
