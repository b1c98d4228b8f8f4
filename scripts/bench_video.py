"""Hands followed through drawn videos, beside each frame by itself: speed, jitter, and error to the truth.

python scripts/bench_video.py --weights assets/weights --clips 4 --frames 60
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from tqdm import tqdm

from aih_gen.arguments import run_script
from aih_gen.compose.rendered import RenderedSource
from aih_gen.compose.sample import Sample
from aih_gen.config import SIDES, RenderConfig
from aih_gen.scenes.scene import Hand, Scene
from hdr_model.evaluation.table import Grid, Line
from hdr_model.inference.pipeline import HDR
from hdr_model.inference.result import Result
from hdr_model.inference.smoothing import SMOOTH
from hdr_model.inference.tracking import HandTracker
from hdr_model.inference.views import VIDEO_VIEWS

SEED = 5_101
RATE = 30
FARTHER = 1.6
"""Distance of the hands / that of the drawn scene, whose hands fill the image."""
Way = Callable[[NDArray[np.uint8], float], Result]


def main(
    weights: Path | None = None, clips: int = 4, frames: int = 60, size: int = 512, smooth: float = SMOOTH
) -> None:
    """Print a table of ways to work on videos of two moving hands, ``frames`` at 30 a second in each of ``clips``."""
    hdr = HDR.from_pretrained(weights, views=VIDEO_VIEWS)
    source = RenderedSource(RenderConfig(seed=SEED, size=size, hands=(1.0, 0.0, 0.0)))
    scores: dict[str, Score] = {}
    for scene in plain_scenes(source, clips):
        ways: dict[str, Way] = {
            "each frame by itself": lambda image, _: hdr(image),
            "tracked": HandTracker(hdr, smooth=0),
            "tracked and smoothed": HandTracker(hdr, smooth=smooth),
        }
        seen: dict[str, list[Result]] = {name: [] for name in ways}
        truth = []
        for k in tqdm(range(frames), desc=f"scene {scene.index}", unit="frame"):
            (sample,) = source.compose_scenes([moved(scene, k / RATE, k)])
            truth.append(sample)
            for name, way in ways.items():
                started = time.process_time()
                seen[name].append(way(sample.image, k / RATE))
                scores.setdefault(name, Score()).seconds.append(time.process_time() - started)
        for name, results in seen.items():
            scores[name].add(results, truth)
    base = next(iter(scores.values()))
    lines = [Line(name, score.figures(base)) for name, score in scores.items()]
    columns = (
        "CPU s a frame", "times as fast", "jitter, px", "jitter, mm", "error, px", "error, mm", "found", "names",
    )  # fmt: skip
    note = (
        "Processor time, median (with OMP_NUM_THREADS=1 what one quiet core takes). "
        f"{clips} drawn clips of {frames} frames of {size} x {size} at {RATE} a second. Jitter: mean second difference "
        "of joints over three frames in which the hand is found. Error: mean distance to the true joints, of hands "
        "found where they are; in 3D from the wrist, in the true hand's size. Names: share of hands found of "
        "which the true hand of that name is the nearer one."
    )
    Grid("Videos", columns, tuple(lines), note, digits=3).print(Console(width=120))


class Score:
    """Results of a method on the clips."""

    def __init__(self) -> None:
        self.seconds: list[float] = []
        self.jitter_2d: list[float] = []
        self.jitter_3d: list[float] = []
        self.error_2d: list[float] = []
        self.error_3d: list[float] = []
        self.found: list[bool] = []
        self.named: list[bool] = []

    def add(self, results: list[Result], truth: list[Sample]) -> None:
        """Take in a clip."""
        flat, deep = (np.stack([r.arrays()[name] for r in results]) for name in ("joints_2d", "joints_3d"))
        true_2d, true_3d = np.stack([s.joints_2d for s in truth]), np.stack([s.joints_3d for s in truth])
        true_3d = true_3d - true_3d[:, :, :1]
        deep = deep * (_bone(true_3d) / _bone(deep))
        self.jitter_2d += _jitter(flat)
        self.jitter_3d += [1000 * value for value in _jitter(deep)]
        for side in range(len(SIDES)):
            found = np.isfinite(flat[:, side, 0, 0])
            own = np.linalg.norm(flat[:, side] - true_2d[:, side], axis=-1).mean(1)
            other = np.linalg.norm(flat[:, side] - true_2d[:, 1 - side], axis=-1).mean(1)
            named = found & (own <= other)
            self.found += found.tolist()
            self.named += named[found].tolist()
            self.error_2d += own[named].tolist()
            off = np.linalg.norm(deep[:, side] - true_3d[:, side], axis=-1).mean(1)
            self.error_3d += (1000 * off[named]).tolist()

    def figures(self, base: Score) -> tuple[float, ...]:
        """The columns; ``base``: of each frame by itself."""
        seconds = float(np.median(self.seconds))
        parts = (self.jitter_2d, self.jitter_3d, self.error_2d, self.error_3d, self.found, self.named)
        return seconds, float(np.median(base.seconds)) / seconds, *(float(np.mean(part)) for part in parts)


def plain_scenes(source: RenderedSource, count: int) -> Iterator[Scene]:
    """The first scenes of two hands and nothing else."""
    index = 0
    while count:
        scene = source.scenes.sample(index)
        index += 1
        if all(scene.hands) and not scene.props and not scene.shows:
            count -= 1
            yield scene


def moved(scene: Scene, seconds: float, frame: int) -> Scene:
    """A scene some time later: both hands wander, turn, come nearer, part, and bend their fingers; new noise."""
    away = (FARTHER - 1) * np.mean([hand.transl for hand in scene.hands if hand], 0)
    hands = (_moved(scene.hands[0], away, seconds, 1.0), _moved(scene.hands[1], away, seconds, -1.0))
    return replace(scene, hands=hands, sensor=replace(scene.sensor, seed=scene.sensor.seed + frame))


def _moved(hand: Hand | None, away: NDArray[np.float32], seconds: float, outwards: float) -> Hand | None:
    if hand is None:
        return None
    wave = np.sin(2 * np.pi * seconds * np.array([0.5, 0.37, 0.29, 0.8, 0.6]))
    path = np.array([0.06 * wave[0] + outwards * 0.015 * wave[3], 0.04 * wave[1], 0.06 * wave[2]], np.float32)
    pose = hand.pose.copy()
    pose[:3] += 0.2 * np.array([wave[3], wave[4], wave[1]], np.float32)
    pose[3:] *= np.float32(1 + 0.25 * wave[4])
    return replace(hand, pose=pose, transl=hand.transl + away + path)


def _bone(joints: NDArray[np.floating]) -> NDArray[np.floating]:
    return np.linalg.norm(joints[..., 9:10, :] - joints[..., :1, :], axis=-1, keepdims=True)


def _jitter(joints: NDArray[np.floating]) -> list[float]:
    bends = np.linalg.norm(joints[2:] - 2 * joints[1:-1] + joints[:-2], axis=-1).mean(-1)
    return bends[np.isfinite(bends)].tolist()


if __name__ == "__main__":
    run_script(main)
