"""The report: data set, training curves and results in one ``index.html`` beside the images it shows.

Run ``python -m hdr_model.evaluation.report ROOT`` on a folder with any of ``aih_render``, ``aih_syn``, ``runs``,
``eval``, ``infer`` and ``times.tsv`` in it; what is not there is left out.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from aih_gen.arguments import run_script
from aih_gen.errors import AIHError
from aih_gen.io.images import encoded
from aih_gen.io.write import write_bytes, write_text
from aih_gen.reports.preview import TITLES, contact_sheet
from aih_gen.shards.reader import AIHShards
from hdr_model.evaluation.charts import Points, curves_svg
from hdr_model.evaluation.page import EXAMPLES
from hdr_model.evaluation.table import HEADINGS, Evaluation
from hdr_model.evaluation.templates import render
from hdr_model.files import read_metrics

SHEET_SAMPLES = 6
_NOT_LOSSES = ("step", "epoch", "time", "seconds", "learning_rate", "samples_per_second")


@dataclass(frozen=True)
class Shown:
    """An image on the page."""

    title: str
    link: str
    """Of the file, from the page's folder."""
    alt: str


def build_report(root: Path) -> Path:
    """Write ``root/index.html`` (and ``root/page``, images it needs) and return its path.

    Raises:
        AIHError: ``root`` is not a folder, or a file in it cannot be read as what it should be.
    """
    if not root.is_dir():
        raise AIHError(f"{root}: expected a folder with aih_render, runs, eval or infer in it, found no folder")
    has_evaluation = (root / "eval" / "metrics.json").exists()
    charts, progress = _training(root)
    content = {
        "Photo": _photos(root),
        "Before and after": _before_after(root),
        "Figures": Evaluation.read(root / "eval") if has_evaluation else None,
        "Training": charts,
        "Data": _data(root),
        "Times": _times(root),
    }
    names = ("photos", "examples", "evaluation", "charts", "data", "times")
    page = render(
        "report.html.jinja",
        title="AIH and HDR",
        heading="AIH made, HDR trained on it",
        headings=HEADINGS,
        sections=[title for title, part in content.items() if part],
        progress=progress,
        **dict(zip(names, content.values(), strict=True)),
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


def _before_after(root: Path) -> list[Shown]:
    files = ((root / "eval" / "pictures" / f"{name}.png", *words) for name, words in EXAMPLES.items())
    return [
        _shown(root, file, title, f"{title}: best, middle and worst samples, {columns}")
        for file, title, columns in files
        if file.exists()
    ]


def _training(root: Path) -> tuple[list[str], list[Shown]]:
    """A chart, and the last image of the predictions, of each run."""
    files = sorted((root / "runs").glob("*/metrics.jsonl"))
    charts = [chart for file in files if (chart := curves_svg(read_curves(file), file.parent.name))]
    images = [max((file.parent / "pictures").glob("*.png"), default=None) for file in files]
    runs = [(image, image.parts[-3]) for image in images if image]
    return charts, [_shown(root, image, f"{run}, last image", f"Predictions of {run}") for image, run in runs]


def _photos(root: Path) -> list[Shown]:
    content = "the photo, its masks, each hand alone, and the joints"
    files = sorted((root / "infer").glob("*/overview.png"))
    return [_shown(root, file, file.parent.name, f"{file.parent.name}: {content}") for file in files]


def _data(root: Path) -> list[Shown]:
    parts = []
    for name in ("aih_render", "aih_syn"):
        if (root / name).is_dir():
            shards = AIHShards(root / name)
            sheet = contact_sheet([shards[k] for k in range(min(SHEET_SAMPLES, len(shards)))])
            path = root / "page" / f"{name}.png"
            path.parent.mkdir(exist_ok=True)
            write_bytes(path, encoded(sheet))
            content = f"The first samples of {name}, each as {'; '.join(TITLES)}"
            parts.append(_shown(root, path, f"{name}: {len(shards):,} samples", content))
    return parts


def _times(root: Path) -> list[tuple[str, float]]:
    """Names and seconds, and their sum."""
    path = root / "times.tsv"
    if not path.exists():
        return []
    times = []
    for number, line in enumerate(path.read_text().splitlines(), 1):
        name, _, seconds = line.rpartition("\t")
        try:
            times.append((name, float(seconds)))
        except ValueError as error:
            raise AIHError(f"{path}, line {number}: expected a name, a tab and seconds, found {line[:60]!r}") from error
    return [*times, ("together", sum(seconds for _, seconds in times))]


def _shown(root: Path, path: Path, title: str, alt: str) -> Shown:
    return Shown(title, quote(path.relative_to(root).as_posix()), alt)


def main(root: Path) -> None:
    """Build ROOT/index.html from the files in ROOT."""
    print(build_report(root))


if __name__ == "__main__":
    run_script(main)
