"""Looking at samples: a contact sheet, and a page of HTML that holds its pictures itself."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from scipy import ndimage

from aih_gen.compose.masks import hidden
from aih_gen.compose.sample import JOINT_OTHER_OCCLUDED, JOINT_OUTSIDE, JOINT_SELF_OCCLUDED, Sample
from aih_gen.config import SIDES
from aih_gen.shards.reader import AIHShards

Picture = NDArray[np.uint8]  # (H,W,3)
Mask = NDArray[np.bool_]

TITLES = ("image", "visible, hidden (hatched), arms", "joints", "right alone", "left alone", "amodal")
HAND_COLOURS = np.array([[235, 64, 52], [60, 200, 90]])
"""Right, left."""
ARM_COLOURS = np.array([[240, 170, 60], [60, 180, 200]])
FINGER_COLOURS = ((245, 130, 48), (255, 215, 60), (70, 200, 90), (70, 150, 255), (200, 100, 240))
GAP, CAPTION = 4, 18
OVERSAMPLING = 3
MOST_READ = 10_000
"""Samples that a survey of a data set looks at."""
OCCLUSION_BINS = np.linspace(0, 1, 11)


def contact_sheet(samples: Sequence[Sample], columns: int = 1) -> Image.Image:
    """Every sample as a strip of six pictures, ``columns`` strips side by side, under a line of titles.

    The pictures: the image; who is where; the joints; the right hand alone; the left hand alone; both amodal masks.
    """
    if not samples:
        raise ValueError("samples: expected at least one, found none")
    strips = [sample_strip(sample) for sample in samples]
    height, width = strips[0].shape[:2]
    rows = -(-len(strips) // columns)
    across = min(columns, len(strips))
    sheet = Image.new("RGB", (across * (width + GAP) - GAP, CAPTION + rows * (height + GAP) - GAP), "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(12)
    for column in range(across):
        for k, title in enumerate(TITLES):
            place = column * (width + GAP) + k * (samples[0].image.shape[1] + GAP)
            draw.text((place + 2, 1), title, fill="black", font=font)
    for k, strip in enumerate(strips):
        sheet.paste(Image.fromarray(strip), (k % columns * (width + GAP), CAPTION + k // columns * (height + GAP)))
    return sheet


def sample_strip(sample: Sample) -> Picture:
    """The six pictures of one sample side by side, (H, 6 W + gaps, 3)."""
    pictures = (
        sample.image,
        owners_picture(sample),
        joints_picture(sample),
        sample.target_right,
        sample.target_left,
        amodal_picture(sample),
    )
    gap = np.full((sample.image.shape[0], GAP, 3), 255, np.uint8)
    return np.concatenate([part for picture in pictures for part in (picture, gap)][:-1], 1)


def owners_picture(sample: Sample) -> Picture:
    """The image tinted by owner; hidden parts are hatched, amodal masks outlined."""
    picture = sample.image * 0.45 + 40
    rows, columns = np.indices(sample.shaded.shape)
    hatch = (rows + columns) % 6 < 3
    parts = zip(_amodal(sample), _visible(sample), (sample.arm_right, sample.arm_left), strict=True)
    for side, (amodal, visible, arm) in enumerate(parts):
        _tint(picture, visible, HAND_COLOURS[side], 0.55)
        _tint(picture, arm, ARM_COLOURS[side], 0.45)
        _tint(picture, hidden(amodal, visible) & hatch, HAND_COLOURS[side], 0.9)
        _tint(picture, amodal & ~ndimage.binary_erosion(amodal), HAND_COLOURS[side], 1.0)
    _tint(picture, sample.shaded, np.array([80, 80, 255]), 0.4)
    return picture.astype(np.uint8)


def amodal_picture(sample: Sample) -> Picture:
    """Right amodal mask in red, left in green, both in yellow."""
    picture = np.zeros(sample.image.shape)
    for side, amodal in enumerate(_amodal(sample)):
        picture += amodal[..., None] * HAND_COLOURS[side]
    return picture.clip(0, 255).astype(np.uint8)


def joints_picture(sample: Sample) -> Picture:
    """The skeletons in finger colours; hollow joints are hidden by the other hand, small ones by their own."""
    from aih_gen.hands.joints import BONES  # its package loads PyTorch, which nothing else here needs

    height, width = sample.shaded.shape
    canvas = Image.fromarray((sample.image * 0.6).astype(np.uint8)).resize(
        (width * OVERSAMPLING, height * OVERSAMPLING), Image.Resampling.NEAREST
    )
    draw, radius = ImageDraw.Draw(canvas), OVERSAMPLING * max(1.2, width / 110)
    for joints, states, colour in zip(sample.joints_2d, sample.joint_state, HAND_COLOURS, strict=True):
        known = np.isfinite(joints).all(-1)
        points = [tuple((joint + 0.5) * OVERSAMPLING) for joint in joints]
        for parent, child in BONES:
            if known[parent] and known[child]:
                finger = FINGER_COLOURS[(child - 1) // 4]
                draw.line([points[parent], points[child]], fill=finger, width=round(radius))
        for joint in np.flatnonzero(known & (states != JOINT_OUTSIDE)):
            size = radius * (0.6 if states[joint] == JOINT_SELF_OCCLUDED else 1)
            fill = None if states[joint] == JOINT_OTHER_OCCLUDED else tuple(colour.tolist())
            draw.circle(points[joint], size, fill=fill, outline="white", width=OVERSAMPLING // 2)
    return np.asarray(canvas.resize((width, height), Image.Resampling.BOX))


def _amodal(sample: Sample) -> tuple[Mask, Mask]:
    return sample.amodal_right, sample.amodal_left


def _visible(sample: Sample) -> tuple[Mask, Mask]:
    return sample.visible_right, sample.visible_left


def _tint(picture: NDArray[np.floating[Any]], mask: Mask, colour: NDArray[np.int64], share: float) -> None:
    picture[mask] = picture[mask] * (1 - share) + colour * share


@dataclass(frozen=True, eq=False)
class Survey:
    """What a data set holds, in numbers."""

    samples: int
    looked_at: int
    """Fewer than ``samples`` in a large set: evenly spaced ones."""
    shards: int
    bytes: int
    present: NDArray[np.int64]  # (2,) hands among those looked at
    occlusion: NDArray[np.int64]  # (2, len(OCCLUSION_BINS) - 1) hands by hidden share


def survey(shards: AIHShards) -> Survey:
    """Count hands by side and by how much of them is hidden."""
    positions = np.unique(np.linspace(0, len(shards) - 1, min(len(shards), MOST_READ)).astype(int)).tolist()
    read = shards.read(positions, ("present", "occlusion"))
    shares = [share[np.isfinite(share)] for share in read["occlusion"].T]
    return Survey(
        samples=len(shards),
        looked_at=len(positions),
        shards=len(shards.shards),
        bytes=sum(shard.path.stat().st_size for shard in shards.shards),
        present=read["present"].sum(0),
        occlusion=np.stack([np.histogram(share, OCCLUSION_BINS)[0] for share in shares]),
    )


STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 1560px; padding: 0 1rem; color: #222; }
h1 { font-size: 1.5rem; } figure { margin: 0 0 1.2rem; } img { width: 100%; display: block; border-radius: 4px; }
figcaption, .titles { color: #555; font-size: .85rem; }
.titles { display: grid; grid-template-columns: repeat(6, 1fr); }
table { border-collapse: collapse; } td { padding: .1rem 1.2rem .1rem 0; } .charts { display: flex; gap: 3rem; }
.titles { position: sticky; top: 0; background: #fff; padding: .3rem 0; } svg { font: 10px system-ui; }
pre { background: #f5f5f5; padding: .8rem; overflow-x: auto; font-size: .8rem; }
"""


def preview_page(shards: AIHShards, positions: Sequence[int]) -> str:
    """HTML: counts, how much is hidden, the samples at those positions, and the configuration."""
    counts, header = survey(shards), shards.shards[0].header
    height, width = shards.size
    facts = {
        "samples": f"{counts.samples:,} in {counts.shards:,} shards",
        "images": f"{width} x {height}, lossless",
        "on disk": f"{counts.bytes / 1e6:,.1f} MB, {counts.bytes / counts.samples / 1e3:,.1f} KB a sample",
        "hand model": header.hand_model,
        "seed": str(header.seed),
    }
    rows = "".join(f"<tr><td>{name}</td><td>{escape(value)}</td></tr>" for name, value in facts.items())
    charts = "".join(
        f"<div><h3>{name} hand, share hidden</h3>{_bars(counts.occlusion[side], HAND_COLOURS[side])}</div>"
        for side, name in enumerate(SIDES)
    )
    titles = "".join(f"<span>{title}</span>" for title in TITLES)
    figures = "".join(_figure(shards[position], position) for position in positions)
    config = escape(json.dumps(json.loads(header.config), indent=2, sort_keys=True))
    subset = escape(header.subset)
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{subset}</title><style>{STYLE}</style>'
        f'<h1>{subset}</h1><table>{rows}</table><div class="charts">{charts}</div>'
        f'<h2>Samples</h2><div class="titles">{titles}</div>{figures}<h2>Configuration</h2><pre>{config}</pre></html>\n'
    )


def _figure(sample: Sample, position: int) -> str:
    file = io.BytesIO()
    Image.fromarray(sample_strip(sample)).save(file, "JPEG", quality=88)
    picture = base64.b64encode(file.getvalue()).decode()
    shares = ", ".join(f"{name} {share:.0%} hidden" for name, share in zip(SIDES, sample.occlusion, strict=True))
    story = {key: value for key, value in sample.provenance.items() if isinstance(value, (str, int, float))}
    notes = ", ".join(f"{key}: {value}" for key, value in story.items())
    caption = escape(f"position {position}, index {sample.index}: {shares}. {notes}")
    return f'<figure><img src="data:image/jpeg;base64,{picture}" alt=""><figcaption>{caption}</figcaption></figure>'


def _bars(counts: NDArray[np.int64], colour: NDArray[np.int64]) -> str:
    """A histogram over OCCLUSION_BINS as SVG."""
    step, height, most = 34, 90, max(int(counts.max()), 1)
    bars = []
    for k, count in enumerate(counts.tolist()):
        tall = count / most * height
        middle = k * step + step / 2
        bars.append(
            f'<rect x="{k * step + 2}" y="{height - tall + 14:.1f}" width="{step - 4}" height="{tall:.1f}"/>'
            f'<text x="{middle}" y="{height - tall + 11:.1f}" text-anchor="middle" fill="#333">{count}</text>'
            f'<text x="{middle}" y="{height + 26}" text-anchor="middle" fill="#777">{OCCLUSION_BINS[k]:.0%}</text>'
        )
    size, fill = f'width="{step * len(counts)}" height="{height + 30}"', f"rgb{tuple(colour.tolist())}"
    return f'<svg {size} fill="{fill}">{"".join(bars)}</svg>'
