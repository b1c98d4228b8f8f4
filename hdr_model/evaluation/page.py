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

EXAMPLES = {
    "images": (
        "De-occlusion and removal",
        "each as crop, hole, painted with true masks and with HASM's, truth",
    ),
    "masks": ("Masks", "each as image, true masks and HASM's"),
    "pose": ("Joints", "each as crop, true joints, SHPE alone, SHPE after HDR, and in 3D from two sides"),
}
"""Best, middle and worst samples of each, as ``hdr eval`` draws them: file in ``pictures``, title, what is in a row."""


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
            {"title": title, "columns": columns, "png": base64.b64encode(file.read_bytes()).decode()}
            for name, (title, columns) in EXAMPLES.items()
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
