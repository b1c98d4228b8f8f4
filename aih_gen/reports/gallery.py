"""The preview page: one HTML file with counts, examples by group, and its images embedded."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Sequence

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined
from PIL import Image

from aih_gen.compose.sample import Sample
from aih_gen.config import SIDES
from aih_gen.io.images import encoded
from aih_gen.reports.paint import HAND_COLOURS
from aih_gen.reports.preview import TITLES, owners_image, sample_strip
from aih_gen.reports.survey import OCCLUSION_BINS, Facet, Group, Survey, facets, survey
from aih_gen.shards.reader import AIHShards
from aih_gen.typing import UInt8

EXAMPLES = 7
"""Samples shown of a group."""
VIEWS = ("image", "masks", "right alone", "left alone")
"""Of an example, one at a time or side by side."""
EXAMPLE_HEIGHT, STRIP_HEIGHT = 160, 256
"""Pixels; larger images are shrunk."""
TEMPLATE = "page.html.jinja"


def preview_page(shards: AIHShards, positions: Sequence[int]) -> str:
    """HTML: counts, how much is hidden, examples by group, the samples at those positions, and the configuration."""
    counts, header = survey(shards), shards.shards[0].header
    templates = Environment(
        loader=PackageLoader("aih_gen.reports", ""),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    templates.filters |= {
        "percent": lambda share, digits: f"{share:.{digits}%}",
        "thousands": lambda count: f"{count:,}",
        "share": lambda group: len(group.positions) / counts.looked_at,
        "anchor": _anchor,
        "examples": lambda group: _examples(shards, group),
        "caption": _caption,
        "views_image": _views_image,
        "strip_image": lambda sample: _jpeg(sample_strip(sample), STRIP_HEIGHT),
    }
    return templates.get_template(TEMPLATE).render(
        subset=header.subset,
        side=EXAMPLE_HEIGHT * shards.size[1] // shards.size[0],
        views=VIEWS,
        facts=_facts(shards, counts),
        charts=[(name, HAND_COLOURS[side], counts.occlusion[side].tolist()) for side, name in enumerate(SIDES)],
        bins=OCCLUSION_BINS.tolist(),
        facets=facets(shards),
        looked_at=counts.looked_at,
        titles=TITLES,
        samples=((position, shards[position]) for position in positions),
        config=json.dumps(json.loads(header.config), indent=2, sort_keys=True),
    )


def _facts(shards: AIHShards, counts: Survey) -> dict[str, str]:
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
    return facts


def _examples(shards: AIHShards, group: Group) -> Iterator[tuple[int, Sample]]:
    """Samples of a group with their positions, spread over it."""
    found = len(group.positions)
    shown = min(found, EXAMPLES)
    for k in range(shown):
        position = group.positions[(2 * k + 1) * found // (2 * shown)]
        yield position, shards[position]


def _anchor(facet: Facet, k: int) -> str:
    return f"{facet.title.replace(' ', '-')}-{k}"


def _caption(sample: Sample, position: int) -> str:
    shares = ", ".join(
        f"{name} {share:.0%} hidden" for name, share in zip(SIDES, sample.occlusion, strict=True) if np.isfinite(share)
    )
    notes = ", ".join(
        f"{key}: {value}" for key, value in sample.provenance.items() if isinstance(value, str | int | float)
    )
    return f"position {position}, index {sample.index}: {shares}. {notes}"


def _views_image(sample: Sample) -> str:
    views = (sample.image, owners_image(sample), sample.target_right, sample.target_left)
    return _jpeg(np.concatenate(views, 1), EXAMPLE_HEIGHT)


def _jpeg(pixels: UInt8, max_height: int) -> str:
    """The address of an image that a page carries itself."""
    image = Image.fromarray(pixels)
    if image.height > max_height:
        image = image.resize((image.width * max_height // image.height, max_height), Image.Resampling.LANCZOS)
    return f"data:image/jpeg;base64,{base64.b64encode(encoded(image, 'JPEG', quality=85)).decode()}"
