"""The page: what was made, how training went, what came out, in one ``index.html`` beside the pictures it shows.

Run ``python -m hdr_model.evaluation.report ROOT`` on a folder with any of ``aih_render``, ``aih_syn``, ``runs``,
``eval``, ``infer`` and ``times.tsv`` in it; what is not there is left out.
"""

from __future__ import annotations

from html import escape
from pathlib import Path
from urllib.parse import quote

from aih_gen.arguments import run_script
from aih_gen.errors import AIHError
from aih_gen.io.write import atomic_path, write_text
from aih_gen.preview import contact_sheet
from aih_gen.shards.reader import AIHShards
from hdr_model.evaluation.charts import Points, curves_svg
from hdr_model.evaluation.page import PICTURES, STYLE, grid_html, notes_html, rows_html, tiles_html
from hdr_model.evaluation.table import Evaluation
from hdr_model.files import read_metrics

SHEET_SAMPLES = 6
_NOT_LOSSES = ("step", "epoch", "time", "seconds", "learning_rate", "samples_per_second")


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
        "Figures": _figures(evaluation),
        "Before and after": _before_after(root),
        "Training": _training(root),
        "Data": _data(root),
        "Times": _times(root),
    }
    sections = {title: body for title, body in sections.items() if body}
    links = "".join(f'<a href="#{_anchor(title)}">{title}</a>' for title in sections)
    body = "".join(f'<h2 id="{_anchor(title)}">{title}</h2>{part}' for title, part in sections.items())
    tiles = tiles_html(evaluation.rows) if evaluation else ""
    page = (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>AIH and HDR</title>'
        f"<style>{STYLE}</style></head>"
        f"<body><h1>AIH made, HDR trained on it</h1><nav>{links}</nav>{tiles}{body}</body></html>\n"
    )
    path = root / "index.html"
    write_text(path, page)
    return path


def read_curves(path: Path) -> dict[str, Points]:
    """The numeric terms of a ``metrics.jsonl`` by name, as points of step and value.

    Raises:
        AIHError: it is damaged.
    """
    curves: dict[str, list[tuple[float, float]]] = {}
    for row in read_metrics(path):
        for name, value in row.items():
            if name not in _NOT_LOSSES and isinstance(value, int | float):
                curves.setdefault(name, []).append((float(row["step"]), float(value)))
    return dict(curves)


def _figures(evaluation: Evaluation | None) -> str:
    if evaluation is None:
        return ""
    files = '<a href="eval/metrics.csv">CSV</a> · <a href="eval/metrics.json">JSON</a>'
    grids = "".join(map(grid_html, evaluation.grids))
    return f"{rows_html(evaluation.rows)}<p>{files}</p>{notes_html(evaluation.notes)}{grids}"


def _before_after(root: Path) -> str:
    return "".join(
        f"<h3>{title}</h3>{_image(root, picture)}"
        for name, title in PICTURES.items()
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
            with atomic_path(path) as temporary:
                sheet.save(temporary, "PNG")
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


def _anchor(title: str) -> str:
    return title.lower().replace(" ", "-")


def main(root: Path) -> None:
    """Build ROOT/index.html from what ROOT holds."""
    print(build_report(root))


if __name__ == "__main__":
    run_script(main)
