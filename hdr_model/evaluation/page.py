"""The page of an evaluation: one file of HTML that carries its curves and pictures itself."""

from __future__ import annotations

import base64
from collections import defaultdict
from collections.abc import Sequence
from html import escape
from pathlib import Path

from aih_gen.io.write import write_text
from hdr_model.evaluation.charts import Points, curves_svg
from hdr_model.evaluation.table import HEADINGS, Curve, Evaluation, Grid, Row

STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #222; max-width: 1180px; margin: 0 auto; padding: 16px 20px 60px }
h1 { margin: 8px 0 } h2 { border-bottom: 2px solid #eee; margin: 40px 0 12px } h3 { margin: 18px 0 6px }
nav a { margin-right: 16px } a { color: #1a66b8; text-decoration: none }
img { max-width: 100%; display: block; margin: 6px 0 18px }
table { border-collapse: collapse; font-variant-numeric: tabular-nums }
th, td { text-align: left; padding: 3px 12px 3px 0; border-bottom: 1px solid #eee } td.n { text-align: right }
tr.quiet td { color: #777; font-style: italic }
.win { color: #18794e; font-weight: 600 } .lose { color: #c1272d; font-weight: 600 } .quiet { color: #777 }
.tiles, .charts { display: flex; flex-wrap: wrap; gap: 14px }
.tile { border: 1px solid #ddd; border-radius: 8px; padding: 10px 16px } .tile b { font-size: 26px; display: block }
"""

PICTURES = {"masks": "Masks", "images": "De-occlusion and removal", "pose": "Joints"}
"""What ``hdr eval`` draws, best, middle and worst samples of each."""


def write_page(evaluation: Evaluation, folder: Path) -> Path:
    """Write ``folder/index.html`` from an evaluation and the pictures in ``folder/pictures``; return its path."""
    pictures = "".join(
        f"<h2>{title}: best, middle and worst samples</h2>{embedded(path)}"
        for name, title in PICTURES.items()
        if (path := folder / "pictures" / f"{name}.png").exists()
    )
    settings = "".join(f"<tr><td>{escape(k)}</td><td>{escape(v)}</td></tr>" for k, v in evaluation.settings.items())
    body = (
        f"{tiles_html(evaluation.rows)}<h2>Curves</h2>{charts_html(evaluation.curves)}"
        f"<h2>Joints</h2>{''.join(map(grid_html, evaluation.grids))}"
        f"<h2>Beside trivial guesses</h2>{rows_html(evaluation.rows)}{notes_html(evaluation.notes)}"
        f"{pictures}<h2>Settings</h2><table>{settings}</table>"
    )
    path = folder / "index.html"
    write_text(path, whole_page("HDR on held-out samples", body))
    return path


def whole_page(title: str, body: str) -> str:
    """A page with the house style."""
    head = f'<meta charset="utf-8"><title>{escape(title)}</title><style>{STYLE}</style>'
    return f'<!doctype html><html lang="en"><head>{head}</head><body><h1>{escape(title)}</h1>{body}</body></html>\n'


def grid_html(grid: Grid) -> str:
    """A grid under its title; published lines are grey."""
    head = "".join(f"<th>{escape(column)}</th>" for column in ("", *grid.columns))
    lines = []
    for line in grid.lines:
        cells = "".join(f'<td class="n">{grid.shown(value)}</td>' for value in line.values)
        quiet = ' class="quiet"' if line.published else ""
        lines.append(f"<tr{quiet}><td>{escape(line.name)}</td>{cells}</tr>")
    note = f'<p class="quiet">{escape(grid.note)}</p>' if grid.note else ""
    return f"<h3>{escape(grid.title)}</h3><table><tr>{head}</tr>{''.join(lines)}</table>{note}"


def rows_html(rows: Sequence[Row]) -> str:
    """Rows as a table; ours is green where it is better than the guess, red where worse."""
    head = "".join(f"<th>{heading}</th>" for heading in HEADINGS)
    lines = []
    for row in rows:
        group, metric, ours, *rest = (escape(cell) for cell in row.cells)
        plain = "".join(f"<td>{cell}</td>" for cell in rest)
        lines.append(f'<tr><td>{group}</td><td>{metric}</td><td class="n {_verdict(row)}">{ours}</td>{plain}</tr>')
    return f"<table><tr>{head}</tr>{''.join(lines)}</table>"


def tiles_html(rows: Sequence[Row]) -> str:
    """The headlines among the rows, large."""
    tiles = []
    for row in rows:
        if row.headline:
            unit = f" {row.unit}" if row.unit in ("dB", "mm") else ""
            tiles.append(
                f'<div class="tile"><span class="quiet">{escape(row.metric)}</span>'
                f'<b class="{_verdict(row)}">{row.shown(row.ours)}{unit}</b>'
                f"{escape(row.baseline_name)}: {row.shown(row.baseline)}{unit}; {row.better} is better</div>"
            )
    return f'<p>On held-out samples:</p><div class="tiles">{"".join(tiles)}</div>' if tiles else ""


def charts_html(curves: Sequence[Curve]) -> str:
    """Curves of one chart together."""
    charts: defaultdict[str, dict[str, Points]] = defaultdict(dict)
    for curve in curves:
        charts[curve.chart][curve.name] = curve.points
    drawn = (curves_svg(c, title, width=680, logarithmic=False, across="mm") for title, c in charts.items())
    return f'<div class="charts">{"".join(drawn)}</div>'


def notes_html(notes: Sequence[str]) -> str:
    """Notes as a list."""
    return f"<ul>{''.join(f'<li>{escape(note)}</li>' for note in notes)}</ul>"


def embedded(path: Path) -> str:
    """A PNG inside the page."""
    data = base64.b64encode(path.read_bytes()).decode()
    return f'<img src="data:image/png;base64,{data}" alt="{escape(path.stem)}">'


def _verdict(row: Row) -> str:
    return {True: "win", False: "lose", None: ""}[row.wins]
