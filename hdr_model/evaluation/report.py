"""The page: what was made, how training went, what came out, in one ``index.html`` beside the pictures it shows.

Run ``python -m hdr_model.evaluation.report ROOT`` on a folder with any of ``aih_render``, ``aih_syn``, ``runs``,
``eval``, ``infer`` and ``times.tsv`` in it; what is not there is left out.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path
from urllib.parse import quote

import tyro

from aih_gen.errors import AIHError
from aih_gen.preview import contact_sheet
from aih_gen.shards.reader import AIHShards
from hdr_model.evaluation.table import HEADINGS, Evaluation, Row

Curve = Sequence[tuple[float, float]]

SHEET_SAMPLES = 6
_NOT_LOSSES = ("step", "epoch", "time", "seconds", "learning_rate", "samples_per_second")
_LINE_COLOURS = ("#222222", "#d1495b", "#2e86ab", "#3fa34d", "#e09f3e", "#7b4fa3", "#8a6d5a", "#5c7c7d")
_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #222; max-width: 1180px; margin: 0 auto; padding: 16px 20px 60px }
h1 { margin: 8px 0 } h2 { border-bottom: 2px solid #eee; margin: 40px 0 12px } h3 { margin: 18px 0 6px }
nav a { margin-right: 16px } a { color: #1a66b8; text-decoration: none }
img { max-width: 100%; display: block; margin: 6px 0 18px }
table { border-collapse: collapse; font-variant-numeric: tabular-nums }
th, td { text-align: left; padding: 3px 12px 3px 0; border-bottom: 1px solid #eee } td.n { text-align: right }
.win { color: #18794e; font-weight: 600 } .lose { color: #c1272d; font-weight: 600 } .quiet { color: #777 }
.tiles, .charts { display: flex; flex-wrap: wrap; gap: 14px }
.tile { border: 1px solid #ddd; border-radius: 8px; padding: 10px 16px } .tile b { font-size: 26px; display: block }
"""


def build_report(root: Path) -> Path:
    """Write ``root/index.html`` (and ``root/page``, pictures it needs) and return its path.

    Raises:
        AIHError: ``root`` is not a folder, or a file in it cannot be read as what it should be.
    """
    if not root.is_dir():
        raise AIHError(f"{root}: expected a folder with aih_render, runs, eval or infer in it, found no folder")
    evaluation = Evaluation.read(root / "eval") if (root / "eval" / "metrics.json").exists() else None
    sections = {
        "Photo": _photos(root),
        "Figures": _figures(root, evaluation),
        "Before and after": _before_after(root),
        "Training": _training(root),
        "Data": _data(root),
        "Times": _times(root),
    }
    sections = {title: body for title, body in sections.items() if body}
    links = "".join(f'<a href="#{_anchor(title)}">{title}</a>' for title in sections)
    body = "".join(f'<h2 id="{_anchor(title)}">{title}</h2>{part}' for title, part in sections.items())
    page = (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>AIH and HDR</title>'
        f"<style>{_STYLE}</style></head>"
        f"<body><h1>AIH made, HDR trained on it</h1><nav>{links}</nav>{_headlines(evaluation)}{body}</body></html>\n"
    )
    path = root / "index.html"
    path.write_text(page, encoding="utf-8")
    return path


def curves_svg(curves: dict[str, Curve], title: str, width: int = 560, height: int = 300) -> str:
    """Curves over training steps as an inline SVG, values on a logarithmic scale.

    Args:
        curves: name -> (step, value) points; points that are not positive and finite are left out.
    """
    clean = {n: [(s, v) for s, v in c if math.isfinite(v) and v > 0] for n, c in curves.items()}
    clean = {name: curve for name, curve in clean.items() if curve}
    if not clean:
        return ""
    steps = [s for c in clean.values() for s, _ in c]
    logs = [math.log10(v) for c in clean.values() for _, v in c]
    low, high = min(logs), max(max(logs), min(logs) + 0.1)
    first, last = min(steps), max(max(steps), min(steps) + 1)
    left, right, top, bottom = 56, width - 130, 30, height - 30

    def place(step: float, log: float) -> str:
        x = left + (step - first) / (last - first) * (right - left)
        return f"{x:.1f},{bottom - (log - low) / (high - low) * (bottom - top):.1f}"

    parts = [f'<text x="{left}" y="18" font-weight="600">{escape(title)}</text>']
    for k in range(5):
        log = low + k / 4 * (high - low)
        y = place(first, log).split(",")[1]
        parts.append(f'<line x1="{left}" x2="{right}" y1="{y}" y2="{y}" stroke="#eee"/>')
        parts.append(f'<text x="{left - 6}" y="{y}" text-anchor="end" dominant-baseline="middle">{10**log:.3g}</text>')
    for step, anchor in ((first, "start"), (last, "end")):
        x = place(step, low).split(",")[0]
        parts.append(f'<text x="{x}" y="{bottom + 18}" text-anchor="{anchor}">{step:g}</text>')
    parts.append(f'<text x="{(left + right) / 2}" y="{bottom + 18}" text-anchor="middle">step</text>')
    for k, (name, curve) in enumerate(clean.items()):
        colour = _LINE_COLOURS[k % len(_LINE_COLOURS)]
        points = " ".join(place(s, math.log10(v)) for s, v in _thin(curve, 400))
        parts.append(f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="1.5"/>')
        parts.append(f'<text x="{right + 10}" y="{top + 8 + 16 * k}" fill="{colour}">{escape(name)}</text>')
    size = f'width="{width}" height="{height}" viewBox="0 0 {width} {height}"'
    return f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-size="11">{"".join(parts)}</svg>'


def read_curves(path: Path) -> dict[str, Curve]:
    """The numeric terms of a ``metrics.jsonl``: one JSON object a line, with "step".

    Raises:
        AIHError: a line is not such an object.
    """
    curves: dict[str, list[tuple[float, float]]] = {}
    for number, line in enumerate(path.read_text().splitlines(), 1):
        try:
            entry = json.loads(line)
            step = float(entry["step"])
        except (ValueError, TypeError, KeyError) as error:
            raise AIHError(f'{path}, line {number}: expected a JSON object with "step", found {line[:60]!r}') from error
        for name, value in entry.items():
            if name not in _NOT_LOSSES and isinstance(value, int | float):
                curves.setdefault(name, []).append((step, float(value)))
    return dict(curves)


def _headlines(evaluation: Evaluation | None) -> str:
    if evaluation is None:
        return ""
    tiles = []
    for row in evaluation.rows:
        if row.headline:
            unit = f" {row.unit}" if row.unit in ("dB", "mm") else ""
            tiles.append(
                f'<div class="tile"><span class="quiet">{escape(row.metric)}</span>'
                f'<b class="{_verdict(row)}">{row.shown(row.ours)}{unit}</b>'
                f"{escape(row.baseline_name)}: {row.shown(row.baseline)}{unit}; {row.better} is better</div>"
            )
    return f'<p>On held-out samples:</p><div class="tiles">{"".join(tiles)}</div>' if tiles else ""


def _figures(root: Path, evaluation: Evaluation | None) -> str:
    if evaluation is None:
        return ""
    head = "".join(f"<th>{heading}</th>" for heading in HEADINGS)
    lines = []
    for row in evaluation.rows:
        group, metric, ours, *rest = (escape(cell) for cell in row.cells)
        plain = "".join(f"<td>{cell}</td>" for cell in rest)
        lines.append(f'<tr><td>{group}</td><td>{metric}</td><td class="n {_verdict(row)}">{ours}</td>{plain}</tr>')
    notes = "".join(f"<li>{escape(note)}</li>" for note in evaluation.notes)
    files = '<a href="eval/metrics.csv">CSV</a> · <a href="eval/metrics.json">JSON</a>'
    return f"<table><tr>{head}</tr>{''.join(lines)}</table><p>{files}</p><ul>{notes}</ul>"


def _before_after(root: Path) -> str:
    titles = {"masks": "Masks", "images": "De-occlusion and removal", "pose": "Joints"}
    return "".join(
        f"<h3>{title}</h3>{_image(root, picture)}"
        for name, title in titles.items()
        if (picture := root / "eval" / "pictures" / f"{name}.png").exists()
    )


def _training(root: Path) -> str:
    files = sorted((root / "runs").glob("*/metrics.jsonl"))
    charts = "".join(curves_svg(read_curves(file), file.parent.name) for file in files)
    pictures = [max((file.parent / "pictures").glob("*.png"), default=None) for file in files]
    shown = "".join(f"<h3>{escape(p.parts[-3])}, last picture</h3>{_image(root, p)}" for p in pictures if p)
    return f'<div class="charts">{charts}</div>{shown}' if charts else ""


def _photos(root: Path) -> str:
    overviews = sorted((root / "infer").glob("*/overview.png"))
    return "".join(f"<h3>{escape(path.parent.name)}</h3>{_image(root, path)}" for path in overviews)


def _data(root: Path) -> str:
    parts = []
    for name in ("aih_render", "aih_syn"):
        if (root / name).is_dir():
            shards = AIHShards(root / name)
            sheet = contact_sheet([shards[k] for k in range(min(SHEET_SAMPLES, len(shards)))])
            path = root / "page" / f"{name}.png"
            path.parent.mkdir(exist_ok=True)
            sheet.save(path)
            parts.append(f"<h3>{name}: {len(shards):,} samples</h3>{_image(root, path)}")
    return "".join(parts)


def _times(root: Path) -> str:
    path = root / "times.tsv"
    if not path.exists():
        return ""
    lines, total = [], 0.0
    for number, line in enumerate(path.read_text().splitlines(), 1):
        name, _, seconds = line.rpartition("\t")
        try:
            total += float(seconds)
        except ValueError as error:
            raise AIHError(f"{path}, line {number}: expected a name, a tab and seconds, found {line[:60]!r}") from error
        lines.append((name, float(seconds)))
    lines.append(("together", total))
    rows = (f'<tr><td><code>{escape(n)}</code></td><td class="n">{s:.0f} s</td></tr>' for n, s in lines)
    return f"<table>{''.join(rows)}</table>"


def _image(root: Path, path: Path) -> str:
    link = quote(path.relative_to(root).as_posix())
    return f'<a href="{link}"><img src="{link}" alt="{escape(path.parent.name)} {escape(path.stem)}"></a>'


def _verdict(row: Row) -> str:
    return {True: "win", False: "lose", None: ""}[row.wins]


def _anchor(title: str) -> str:
    return title.lower().replace(" ", "-")


def _thin(curve: Curve, most: int) -> Iterable[tuple[float, float]]:
    return [curve[k] for k in sorted({round(i * (len(curve) - 1) / (most - 1)) for i in range(most)})]


def main(root: Path) -> None:
    """Build ROOT/index.html from what ROOT holds."""
    print(build_report(root))


if __name__ == "__main__":
    try:
        tyro.cli(main, config=(tyro.conf.PositionalRequiredArgs,))
    except AIHError as error:
        print(error, file=sys.stderr)
        sys.exit(2)
