"""The page of an evaluation: one file of HTML that carries its curves and examples itself."""

from __future__ import annotations

import base64
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

from aih_gen.io.write import write_text
from hdr_model.evaluation.charts import Points, curves_svg
from hdr_model.evaluation.table import HEADINGS, Curve, Evaluation
from hdr_model.evaluation.templates import render

EXAMPLES = {"masks": "Masks", "images": "De-occlusion and removal", "pose": "Joints"}
"""Best, middle and worst samples of each, as ``hdr eval`` draws them: file in ``pictures`` and title."""


def write_page(evaluation: Evaluation, folder: Path) -> Path:
    """Write ``folder/index.html`` from an evaluation and the examples in ``folder/pictures``; return its path."""
    path = folder / "index.html"
    page = render(
        "evaluation.html.jinja",
        title="HDR on held-out samples",
        headings=HEADINGS,
        evaluation=evaluation,
        charts=list(_charts(evaluation.curves)),
        examples=[
            {"title": title, "png": base64.b64encode(file.read_bytes()).decode()}
            for name, title in EXAMPLES.items()
            if (file := folder / "pictures" / f"{name}.png").exists()
        ],
    )
    write_text(path, page)
    return path


def _charts(curves: Sequence[Curve]) -> Iterator[str]:
    """Curves of one chart together."""
    charts: defaultdict[str, dict[str, Points]] = defaultdict(dict)
    for curve in curves:
        charts[curve.chart][curve.name] = curve.points
    for title, of_chart in charts.items():
        yield curves_svg(of_chart, title, width=680, logarithmic=False, across="mm")
