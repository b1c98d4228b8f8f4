"""Speed and accuracy of the hand model beside ``smplx.MANO``, on one file and in one run.

python scripts/bench_hands.py                 # the free hand, as both read it from an exported file
python scripts/bench_hands.py --mano FOLDER   # a licensed MANO, of which smplx gets the same arrays

Prints, for each batch size, the median of many alternating calls (float32): million vertices per second of both, and
how many times faster ours is; then both float32 results' largest distance from a float64 one. Needs the extra ``dev``.
"""

from __future__ import annotations

import contextlib
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import smplx
import torch
import tyro
from scipy.sparse import csc_matrix
from torch import Tensor

from aih_gen.hands import HandModel, export_free_hand, load_hand_model
from aih_gen.hands.mano import read_mano

BATCHES = {1: 400, 16: 150, 256: 25}
"""Hands in a batch, and how many times each layer is called."""

Layer = Callable[[Tensor, Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Arguments:
    mano: Path | None = None
    """A MANO file, or the folder with them; the free hand when absent."""
    threads: int = 1
    """PyTorch's threads."""


def main() -> None:
    arguments = tyro.cli(Arguments, description=__doc__)
    torch.set_num_threads(arguments.threads)
    with tempfile.TemporaryDirectory() as folder:
        path = arguments.mano or export_free_hand(folder, "right")
        exact = load_hand_model(path, "right", dtype=torch.float64)
        layers = {"ours": _ours(load_hand_model(path, "right")), "smplx": _smplx(path)}
    print(f"{exact.num_vertices} vertices, {arguments.threads} thread(s), torch {torch.__version__}, float32")
    print(f"{'batch':>5} {'pass':<18} {'ours':>12} {'smplx':>12}  faster by")
    for batch, repeats in BATCHES.items():
        for backward in (False, True):
            ours, theirs = _medians(list(layers.values()), batch, repeats, backward)
            rates = [batch * exact.num_vertices / seconds / 1e6 for seconds in (ours, theirs)]
            label = "forward + backward" if backward else "forward"
            print(f"{batch:>5} {label:<18} {rates[0]:>6.2f} Mvert/s {rates[1]:>6.2f} Mvert/s  {theirs / ours:.2f}")
    for name, millimetres in _errors(exact, layers).items():
        print(f"largest distance from float64, {name}: {millimetres:.1e} mm")


def _ours(hand: HandModel) -> Layer:
    return lambda pose, betas, transl: hand(pose, betas, transl).vertices


def _smplx(path: Path) -> Layer:
    file = read_mano(path, "right")
    data = smplx.utils.Struct(**(vars(file) | {"J_regressor": csc_matrix(file.J_regressor)}))
    with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere):  # it warns of ten shape components
        layer = smplx.MANO("", data_struct=data, use_pca=False, flat_hand_mean=True)
    return lambda pose, betas, transl: (
        layer(betas=betas, global_orient=pose[:, :3], hand_pose=pose[:, 3:], transl=transl).vertices
    )


def _inputs(batch: int, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    pose, betas, transl = (torch.randn(batch, width, generator=generator) for width in (48, 10, 3))
    return 0.5 * pose, betas, transl


def _medians(layers: list[Layer], batch: int, repeats: int, backward: bool) -> list[float]:
    """Median seconds of one call of each layer; they take turns, so that a busy machine slows both."""
    inputs = [tensor.requires_grad_(backward) for tensor in _inputs(batch)]
    seconds: list[list[float]] = [[] for _ in layers]
    for repeat in range(-3, repeats):  # the first three warm up
        for layer, times in zip(layers, seconds, strict=True):
            start = time.perf_counter()
            vertices = layer(*inputs)
            if backward:
                torch.autograd.grad(vertices.sum(), inputs)
            if repeat >= 0:
                times.append(time.perf_counter() - start)
    return [statistics.median(times) for times in seconds]


def _errors(exact: HandModel, layers: dict[str, Layer]) -> dict[str, float]:
    pose, betas, transl = _inputs(256, seed=1)
    with torch.no_grad():
        reference = exact(pose.double(), betas.double(), transl.double()).vertices
        found = {name: layer(pose, betas, transl) for name, layer in layers.items()}
    return {name: float((vertices - reference).norm(dim=-1).max()) * 1e3 for name, vertices in found.items()}


if __name__ == "__main__":
    main()
