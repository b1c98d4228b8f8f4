"""The preview page: HTML that says what a data set holds, shows it in groups, and carries its pictures itself."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Sequence
from html import escape

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from aih_gen.compose.sample import Sample
from aih_gen.config import SIDES
from aih_gen.preview import HAND_COLOURS, TITLES, Picture, owners_picture, sample_strip
from aih_gen.shards.reader import AIHShards
from aih_gen.survey import OCCLUSION_BINS, Facet, Group, Survey, facets, survey

EXAMPLES = 7
"""Samples shown of a group."""
VIEWS = ("image", "masks", "right alone", "left alone")
"""What an example shows, one at a time or side by side."""
EXAMPLE_HEIGHT, STRIP_HEIGHT = 160, 256
"""Pixels; larger pictures are shrunk."""

STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 1560px; padding: 0 1rem; color: #222; }
h1 { font-size: 1.5rem; } figure { margin: 0 0 1.2rem; } img { width: 100%; display: block; border-radius: 4px; }
figcaption, .titles, .group small { color: #555; font-size: .85rem; }
table { border-collapse: collapse; } td { padding: .1rem 1.2rem .1rem 0; } svg { font: 10px system-ui; }
pre { background: #f5f5f5; padding: .8rem; overflow-x: auto; font-size: .8rem; }
.charts { display: flex; flex-wrap: wrap; gap: 0 3rem; }
.shares { display: grid; grid-template-columns: auto 9rem auto; gap: 0 .7rem; align-items: center; }
.shares a { color: inherit; } .shares i { background: #7a8fb8; height: .7rem; }
.titles, .views { position: sticky; top: 0; background: #fff; padding: .3rem 0; z-index: 1; }
.titles { display: grid; grid-template-columns: repeat(6, 1fr); } .views label { margin-right: 1rem; }
.group { display: flex; gap: 1rem; margin-bottom: .6rem; scroll-margin-top: 3rem; }
.group h4 { margin: 0; } .group > :first-child { flex: 0 0 9rem; overflow-wrap: anywhere; }
.group > :last-child { display: flex; flex-wrap: wrap; gap: .4rem; }
.example { margin: 0; width: var(--side); overflow: hidden; border-radius: 4px; cursor: pointer; }
.example img { width: calc(var(--views) * 100%); transform: translateX(calc(var(--view) / var(--views) * -100%)); }
body:has(#view-0:checked) { --view: 0; } body:has(#view-1:checked) { --view: 1; }
body:has(#view-2:checked) { --view: 2; } body:has(#view-3:checked) { --view: 3; }
.example:hover { --view: 1; } body:has(#view-1:checked) .example:hover { --view: 0; }
.example:focus { width: calc(var(--views) * var(--side)); } .example:focus img { width: 100%; transform: none; }
"""


def preview_page(shards: AIHShards, positions: Sequence[int]) -> str:
    """HTML: counts, how much is hidden, examples by group, the samples at those positions, and the configuration."""
    counts, header = survey(shards), shards.shards[0].header
    divided = facets(shards)
    charts = "".join(
        f"<div><h3>{name} hand, share hidden</h3>{_bars(counts.occlusion[side], HAND_COLOURS[side])}</div>"
        for side, name in enumerate(SIDES)
    )
    shares = "".join(_shares(facet, counts.looked_at) for facet in divided)
    titles = "".join(f"<span>{title}</span>" for title in TITLES)
    figures = "".join(_figure(shards[position], position) for position in positions)
    config = escape(json.dumps(json.loads(header.config), indent=2, sort_keys=True))
    subset = escape(header.subset)
    sizes = f":root {{ --side: {EXAMPLE_HEIGHT * shards.size[1] // shards.size[0]}px; --views: {len(VIEWS)}; }}"
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{subset}</title><style>{sizes}{STYLE}</style>'
        f'<h1>{subset}</h1>{_facts(shards, counts)}<div class="charts">{charts}{shares}</div>'
        f"{_gallery(shards, divided, counts.looked_at)}"
        f'<h2>Samples</h2><div class="titles">{titles}</div>{figures}<h2>Configuration</h2><pre>{config}</pre></html>\n'
    )


def _facts(shards: AIHShards, counts: Survey) -> str:
    header, (height, width) = shards.shards[0].header, shards.size
    facts = {
        "samples": f"{counts.samples:,} in {counts.shards:,} shards",
        "images": f"{width} x {height}, lossless",
        "on disk": f"{counts.bytes / 1e6:,.1f} MB, {counts.bytes / counts.samples / 1e3:,.1f} KB a sample",
        "hand model": header.hand_model,
        "seed": str(header.seed),
    }
    if counts.looked_at < counts.samples:
        facts["counted"] = f"{counts.looked_at:,} samples, drawn at random: counts and shares below are theirs"
    rows = "".join(f"<tr><td>{name}</td><td>{escape(value)}</td></tr>" for name, value in facts.items())
    return f"<table>{rows}</table>"


def _shares(facet: Facet, looked_at: int) -> str:
    """The groups of a facet as bars that lead to their examples."""
    rows = []
    for k, group in enumerate(facet.groups):
        share = len(group.positions) / looked_at
        bar = f'<i style="width:{share:.2%}"></i>'
        rows.append(f'<a href="#{_anchor(facet, k)}">{escape(group.name)}</a>{bar}<span>{share:.1%}</span>')
    return f'<div><h3>{facet.title}</h3><div class="shares">{"".join(rows)}</div></div>'


def _gallery(shards: AIHShards, divided: Sequence[Facet], looked_at: int) -> str:
    """Every group with its count and a row of examples."""
    views = "".join(
        f'<label><input type="radio" name="view" id="view-{k}"{" checked" * (k == 0)}> {view}</label>'
        for k, view in enumerate(VIEWS)
    )
    parts = []
    for facet in divided:
        groups = (_group(shards, group, _anchor(facet, k), looked_at) for k, group in enumerate(facet.groups))
        parts.append(f"<h3>By {facet.title}</h3>{''.join(groups)}")
    hint = "Point at an example for its masks, click for all of it. Occlusion is that of the more hidden hand."
    return f'<h2>Gallery</h2><p>{hint}</p><div class="views">{views}</div>{"".join(parts)}'


def _group(shards: AIHShards, group: Group, anchor: str, looked_at: int) -> str:
    found = len(group.positions)
    shown = min(found, EXAMPLES)
    spread = [group.positions[(2 * k + 1) * found // (2 * shown)] for k in range(shown)]
    examples = "".join(_example(shards[position], position) for position in spread)
    return (
        f'<div class="group" id="{anchor}"><div><h4>{escape(group.name)}</h4>'
        f"<small>{found:,} of {looked_at:,}<br>{found / looked_at:.1%}</small></div><div>{examples}</div></div>"
    )


def _anchor(facet: Facet, k: int) -> str:
    return f"{facet.title.replace(' ', '-')}-{k}"


def _example(sample: Sample, position: int) -> str:
    """``VIEWS`` side by side behind a window one picture wide, which a click opens."""
    views = (sample.image, owners_picture(sample), sample.target_right, sample.target_left)
    source = _jpeg(np.concatenate(views, 1), EXAMPLE_HEIGHT)
    caption = escape(_caption(sample, position))
    return f'<figure class="example" tabindex="0" title="{caption}"><img src="{source}" alt=""></figure>'


def _figure(sample: Sample, position: int) -> str:
    source, caption = _jpeg(sample_strip(sample), STRIP_HEIGHT), escape(_caption(sample, position))
    return f'<figure><img src="{source}" alt=""><figcaption>{caption}</figcaption></figure>'


def _caption(sample: Sample, position: int) -> str:
    shares = ", ".join(
        f"{name} {share:.0%} hidden" for name, share in zip(SIDES, sample.occlusion, strict=True) if np.isfinite(share)
    )
    story = {key: value for key, value in sample.provenance.items() if isinstance(value, (str, int, float))}
    notes = ", ".join(f"{key}: {value}" for key, value in story.items())
    return f"position {position}, index {sample.index}: {shares}. {notes}"


def _jpeg(picture: Picture, most_high: int) -> str:
    """The picture as the address of an image."""
    image = Image.fromarray(picture)
    if image.height > most_high:
        image = image.resize((image.width * most_high // image.height, most_high), Image.Resampling.LANCZOS)
    file = io.BytesIO()
    image.save(file, "JPEG", quality=85)
    return f"data:image/jpeg;base64,{base64.b64encode(file.getvalue()).decode()}"


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
