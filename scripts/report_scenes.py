"""The distribution of sampled scenes: ``python scripts/report_scenes.py --count 300 --out report.png``.

Prints a table of occlusion, joint angles against their limits, depth before and after hands were moved apart, poses
that were drawn again, and shares of numbers of hands, of interactions and of what else scenes show, and draws
histograms. True occlusion comes from rendered samples of two hands.
"""

from __future__ import annotations

import multiprocessing
import statistics
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tyro
from PIL import Image, ImageDraw, ImageFont

from aih_gen.compose.rendered import RenderedSource
from aih_gen.config import RenderConfig, sample_rng
from aih_gen.engines import one_thread_each
from aih_gen.hands.anatomy import MAX_ANGLES, MIN_ANGLES
from aih_gen.hands.joints import FINGERS
from aih_gen.scenes.poses import Pair, PairSampler
from aih_gen.scenes.sampler import APPEARANCE_STREAM, MAX_GAP, MAX_PENETRATION
from aih_gen.scenes.skin import TONES, sample_skin
from aih_gen.typing import Array

FINGER_ANGLES, THUMB_ANGLES = ("spread", "mcp", "pip", "dip"), ("oppose", "adduct", "mcp", "ip")
WIDTH, HEIGHT, MARGIN = 420, 200, 34
BATCH, TIMED, ROUNDS = 16, 100, 5


@dataclass(frozen=True)
class Report:
    """Sample scenes and print their distribution."""

    out: Path
    """PNG or JPEG with histograms."""
    count: int = 300
    """Scenes rendered; a third as many pairs are resolved for depths."""
    seed: int = 0
    size: int = 128


def rendered(source: RenderedSource, count: int) -> tuple[Array, dict[str, Counter[str]]]:
    """(N,2) hidden shares of right and left hand where both are, and counts of words by their subject."""
    shares: list[Array] = []
    words: dict[str, Counter[str]] = {"hands": Counter(), "shows": Counter(), "interaction": Counter()}
    for first in range(0, count, BATCH):
        for sample in source.samples(range(first, min(first + BATCH, count))):
            if sample.present.all():
                shares.append(sample.occlusion.astype(np.float64))
            story = sample.provenance
            words["hands"][story["hand_type"]] += 1
            words["shows"].update(story["shows"])
            words["shows"]["some of a person"] += any("person" in name for name in story["shows"])
            words["interaction"][story["interaction"]] += 1
    return np.stack(shares), words


def resolved_pairs(pairs: PairSampler, seed: int, count: int) -> list[Pair]:
    """Proposed pairs after contact is resolved, rejected ones included."""
    return [pairs.resolve_contact(pairs.propose(sample_rng(seed, index))) for index in range(count)]


def scene_rate(seed: int, contact: bool) -> float:
    """Scenes a second of CPU time, median of ``ROUNDS`` through the same ones; in a process like the factory's."""
    scenes = RenderedSource(RenderConfig(seed=seed, contact=contact)).scenes
    scenes.sample(0)
    seconds = []
    for _ in range(ROUNDS):
        started = time.process_time()
        for index in range(TIMED):
            scenes.sample(index)
        seconds.append(time.process_time() - started)
    return TIMED / statistics.median(seconds)


def histogram(values: Array, edges: Array, title: str) -> Image.Image:
    """One labelled chart of counts."""
    image = Image.new("RGB", (WIDTH, HEIGHT), "white")
    draw, font = ImageDraw.Draw(image), ImageFont.load_default(12)
    counts = np.histogram(np.clip(values, edges[0], edges[-1]), edges)[0]
    step, most = (WIDTH - 2 * MARGIN) / len(counts), max(int(counts.max()), 1)
    draw.text((MARGIN, 6), title, fill="black", font=font)
    for k, count in enumerate(counts.tolist()):
        left, top = MARGIN + k * step, HEIGHT - MARGIN - count / most * (HEIGHT - 2.4 * MARGIN)
        draw.rectangle((left + 1, top, left + step - 1, HEIGHT - MARGIN), fill=(70, 120, 190))
        draw.text((left + 2, top - 13), str(count), fill=(90, 90, 90), font=ImageFont.load_default(9))
    for k in range(0, len(edges), max(1, len(edges) // 6)):
        draw.text((MARGIN + k * step - 8, HEIGHT - MARGIN + 4), f"{edges[k]:.3g}", fill=(90, 90, 90), font=font)
    return image


def percentiles(name: str, values: Array, unit: str = "") -> None:
    """One row of the table."""
    low, quarter, middle, upper, high = np.percentile(values, [0, 25, 50, 75, 100])
    print(f"{name:34} {low:8.2f} {quarter:8.2f} {middle:8.2f} {upper:8.2f} {high:8.2f} {unit}")


def charts(images: Sequence[Image.Image], columns: int = 3) -> Image.Image:
    """All charts on one sheet."""
    rows = -(-len(images) // columns)
    sheet = Image.new("RGB", (columns * WIDTH, rows * HEIGHT), "white")
    for k, image in enumerate(images):
        sheet.paste(image, (k % columns * WIDTH, k // columns * HEIGHT))
    return sheet


def main(report: Report) -> None:
    source = RenderedSource(RenderConfig(seed=report.seed, size=report.size))
    shares, words = rendered(source, report.count)
    resolved = resolved_pairs(source.scenes.pairs, report.seed, max(report.count // 3, 1))
    qualities = [pair.quality for pair in resolved if pair.quality]
    fits = 1000 * np.array([(quality.depth_before, quality.depth, quality.gap) for quality in qualities])
    angles = np.stack([hand.angles for pair in resolved for hand in pair.hands])
    wrists = np.concatenate([pair.angles for pair in resolved])
    kept = (fits[:, 1] <= 1000 * MAX_PENETRATION) & (fits[:, 2] <= 1000 * MAX_GAP)

    print(f"{'':34} {'least':>8} {'25 %':>8} {'median':>8} {'75 %':>8} {'most':>8}")
    percentiles("occlusion, right hand", 100.0 * shares[:, 0], "%")
    percentiles("occlusion, left hand", 100.0 * shares[:, 1], "%")
    percentiles("occlusion, more hidden hand", 100.0 * shares.max(1), "%")
    percentiles("depth before", fits[:, 0], "mm")
    percentiles("depth after", fits[:, 1], "mm")
    percentiles("depth after, kept pairs", fits[kept, 1], "mm")
    percentiles("gap of contacts, kept pairs", fits[kept, 2], "mm")
    for k, name in enumerate(("flexion", "deviation", "pronation", "elbow swivel")):
        percentiles(f"wrist: {name}", wrists[:, k], "degrees")
    for row, finger in enumerate(FINGERS):
        for k, joint in enumerate(THUMB_ANGLES if row == 0 else FINGER_ANGLES):
            percentiles(
                f"{finger} {joint} in {MIN_ANGLES[row, k]:g}..{MAX_ANGLES[row, k]:g}", angles[:, row, k], "degrees"
            )
    print(f"\nright hand more hidden in {(shares[:, 0] > shares[:, 1]).mean():.0%} of scenes of two")
    print(
        f"{1 - kept.mean():.0%} of {len(fits)} resolved pairs are deeper than 2 mm or apart by over 5 mm, and rejected"
    )
    for reason, number in source.scenes.rejected.most_common():
        print(f"rejected for {reason:18} {number / report.count:8.2f} times a scene")
    for about, counted in words.items():
        for name, number in counted.most_common():
            print(f"{f'{about}: {name}':34} {number / report.count:8.1%}")
    tones = Counter(
        sample_skin(sample_rng(report.seed, index, APPEARANCE_STREAM)).tone for index in range(report.count)
    )
    for tone in TONES:
        print(f"skin: {tone:28} {tones[tone] / report.count:8.1%}")
    classes = np.repeat(np.arange(len(TONES)), [tones[tone] for tone in TONES]).astype(np.float64)
    with one_thread_each(), ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as worker:
        for contact in (False, True):
            rate = worker.submit(scene_rate, report.seed, contact).result()
            print(f"{rate:.1f} scenes a second of one core, contact {contact}")

    tenths = np.linspace(0, 1, 11)
    images = [
        histogram(shares[:, 0], tenths, "occlusion, right hand"),
        histogram(shares[:, 1], tenths, "occlusion, left hand"),
        histogram(shares.max(1), tenths, "occlusion, more hidden hand"),
        histogram(fits[:, 0], np.linspace(0, 12, 13), "depth before, mm"),
        histogram(fits[:, 1], np.linspace(0, 6, 13), "depth after, mm"),
        histogram(fits[kept, 2], np.linspace(0, 6, 13), "gap of contacts, mm"),
        *(
            histogram(angles[:, 1:, k].ravel(), np.linspace(MIN_ANGLES[1:, k].min(), MAX_ANGLES[1:, k].max(), 13), n)
            for k, n in enumerate(FINGER_ANGLES)
        ),
        histogram(wrists[:, 0], np.linspace(-60, 65, 13), "wrist flexion, degrees"),
        histogram(classes, np.arange(len(TONES) + 1.0), "skin tones"),
        histogram(wrists[:, 1], np.linspace(-30, 20, 13), "wrist deviation, degrees"),
    ]
    charts(images).save(report.out)
    print(report.out)


if __name__ == "__main__":
    main(tyro.cli(Report))
