import hashlib
import io
import json
import re
import subprocess
import sys
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from aih_gen.compose.sample import Sample
from aih_gen.errors import AIHError
from aih_gen.shards.schema import Header
from aih_gen.shards.writer import write_shard
from hdr_model.evaluation.charts import curves_svg
from hdr_model.evaluation.page import write_page
from hdr_model.evaluation.predict import ALONE, FOUND, UNPAINTED
from hdr_model.evaluation.report import build_report, read_curves
from hdr_model.evaluation.row import Row
from hdr_model.evaluation.table import Evaluation, Grid, Line
from hdr_model.evaluation.verdict import verdict, wins

ROWS = (
    Row("masks", "IoU, whole hand", "", 0.61, "the mean training mask", 0.41, "higher", 600, headline=True),
    Row("images", "PSNR in the hole", "dB", 12.0, "copy the input", 12.5, "higher", 580),
    Row("pose", "MPJPE, <all>", "mm", 21.5, "the mean pose", float("nan"), "lower", 600),
    Row("pose", "MPJPE, some", "mm", 21.5, "the mean pose", 30.0, "lower", 300),
)
GRID = Grid("PCK", ("10 mm",), (Line("HDR", (0.5,)),))
EVALUATION = Evaluation(ROWS, ("IoU: sum of intersections / sum of unions",), {"samples": "300"})


class Links(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.files: list[str] = []
        self.anchors: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name in ("href", "src") and value:
                self.files.append(unquote(value))
            if name == "id" and value:
                self.anchors.add(value)


def grey_sample() -> Sample:
    images = dict.fromkeys(("image", "target_right", "target_left"), np.full((32, 32, 3), 90, np.uint8))
    hand = np.zeros((32, 32), bool)
    hand[8:24, 8:24] = True
    masks = dict.fromkeys(("amodal_right", "visible_right", "amodal_left", "visible_left"), hand)
    masks |= dict.fromkeys(("arm_right", "arm_left", "shaded"), np.zeros((32, 32), bool))
    shapes = {"joints_3d": (2, 21, 3), "joints_2d": (2, 21, 2), "pose": (2, 48), "betas": (2, 10), "transl": (2, 3)}
    return Sample(
        **images,
        **masks,
        **{name: np.ones(shape, np.float32) for name, shape in shapes.items()},
        joint_state=np.ones((2, 21), np.uint8),
        camera=np.eye(3, dtype=np.float32),
        present=np.ones(2, bool),
        occlusion=np.zeros(2, np.float32),
        index=0,
    )


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for folder in ("eval/pictures", "runs/hasm", "infer/my photo"):
        (tmp_path / folder).mkdir(parents=True)
    EVALUATION.write(tmp_path / "eval")
    (tmp_path / "runs" / "hasm" / "pictures").mkdir()
    training = [f"runs/hasm/pictures/{step:07d}.png" for step in (250, 1000)]
    for image in ("eval/pictures/masks.png", "infer/my photo/overview.png", *training):
        Image.new("RGB", (8, 8)).save(tmp_path / image)
    terms = [{"step": s, "loss": 1 / s, "left_amodal": 0.5 / s, "learning_rate": 1e-3} for s in (20, 40, 60)]
    lines = [json.dumps(entry) for entry in terms]
    (tmp_path / "runs" / "hasm" / "metrics.jsonl").write_text("\n".join(lines) + "\n")
    (tmp_path / "times.tsv").write_text("render\t61.4\ntrain <HASM>\t120\n")
    return tmp_path


def page(root: Path) -> str:
    return build_report(root).read_text()


def test_every_link_of_the_page_leads_somewhere(root: Path) -> None:
    links = Links()
    links.feed(page(root))
    assert len(links.files) >= 6
    for link in links.files:
        assert link[1:] in links.anchors if link.startswith("#") else (root / link).is_file(), link


def test_the_page_shows_figures_with_their_baselines(root: Path) -> None:
    text = page(root)
    assert re.search(r"0\.610.*the mean training mask.*0\.410", text)
    assert re.search(r'class="n win">0\.610', text)
    assert re.search(r'class="n lose">12\.00', text)
    assert "sum of intersections / sum of unions" in text


def test_the_last_training_picture_is_shown(root: Path) -> None:
    text = page(root)
    assert "runs/hasm/pictures/0001000.png" in text
    assert "0000250.png" not in text


def test_samples_are_shown_with_their_number(root: Path) -> None:
    header = Header("AIH_Render", "{}", hashlib.sha256(b"{}").hexdigest(), 0, "free", "test")
    (root / "aih_render").mkdir()
    write_shard(root / "aih_render" / "a-00000.h5", [[grey_sample()] * 8], 8, header)
    assert "aih_render: 8 samples" in page(root)
    with Image.open(root / "page" / "aih_render.png") as sheet:
        assert sheet.height > 6 * 32


def test_only_headline_rows_are_tiles(root: Path) -> None:
    assert page(root).count('class="tile"') == 1


def test_names_are_escaped(root: Path) -> None:
    text = page(root)
    assert "train &lt;HASM&gt;" in text
    assert "<HASM>" not in text
    assert "MPJPE, &lt;all&gt;" in text


def test_times_are_added_up(root: Path) -> None:
    assert re.search(r"together</code></td><td[^>]*>181 s", page(root))


def test_an_empty_folder_gives_a_page_without_sections(tmp_path: Path) -> None:
    assert "<h2" not in page(tmp_path)


def test_a_missing_folder_is_one_sentence_and_exit_code_2(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "hdr_model.evaluation.report", str(tmp_path / "none")]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ran.returncode == 2
    assert "none" in ran.stderr
    assert "Traceback" not in ran.stderr


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("times.tsv", "render sixty\n"),
        ("runs/hasm/metrics.jsonl", '{"loss": 1}\n'),
        ("runs/hasm/metrics.jsonl", "[1]\n"),
        ("eval/metrics.json", '{"rows": [{"metric": "IoU"}], "notes": [], "settings": {}}'),
        ("eval/metrics.json", "nothing"),
        ("eval/metrics.json", "{}"),
    ],
)
def test_damaged_files_are_named(root: Path, path: str, text: str) -> None:
    (root / path).write_text(text)
    with pytest.raises(AIHError, match=Path(path).name):
        build_report(root)


def test_curves_are_the_losses_by_name(root: Path) -> None:
    curves = read_curves(root / "runs" / "hasm" / "metrics.jsonl")
    assert set(curves) == {"loss", "left_amodal"}
    assert curves["left_amodal"][1] == (40.0, 0.5 / 40)


def points(svg: str) -> np.ndarray:
    line = next(e for e in ElementTree.fromstring(svg).iter() if e.tag.endswith("polyline"))
    return np.array([[float(v) for v in point.split(",")] for point in line.attrib["points"].split()])


def test_a_falling_loss_falls_on_the_chart_and_equal_ratios_are_equal_steps() -> None:
    x, y = points(curves_svg({"loss": [(0, 100.0), (10, 10.0), (20, 1.0)]}, "run")).T
    assert np.diff(x)[0] == pytest.approx(np.diff(x)[1], abs=0.2)
    assert np.diff(y)[0] == pytest.approx(np.diff(y)[1], abs=0.2)
    assert np.diff(y)[0] > 0, "down"


def test_long_curves_are_thinned_but_keep_their_ends() -> None:
    curve = [(float(step), 1.0 + step) for step in range(5000)]
    x, _ = points(curves_svg({"loss": curve}, "run")).T
    short, _ = points(curves_svg({"loss": [curve[0], curve[-1]]}, "run")).T
    assert len(x) <= 400
    assert (x[0], x[-1]) == (short[0], short[-1])


def test_zero_and_infinite_losses_have_no_point() -> None:
    assert len(points(curves_svg({"loss": [(0, 1.0), (1, 0.0), (2, float("inf")), (3, 0.5)]}, "run"))) == 2
    assert curves_svg({"loss": [(0, 0.0)]}, "run") == ""


def test_a_table_comes_back_as_it_was_written(tmp_path: Path) -> None:
    EVALUATION.write(tmp_path)
    back = Evaluation.read(tmp_path)
    assert back.rows[:2] == ROWS[:2]
    assert np.isnan(back.rows[2].baseline)
    assert (back.notes, back.settings) == (EVALUATION.notes, EVALUATION.settings)


def test_the_terminal_shows_what_is_no_detail_and_the_verdict_last() -> None:
    console = Console(record=True, width=200, file=io.StringIO())
    detail = Row("images", "PSNR, somewhere else", "dB", 13.0, "copy the input", 12.5, "higher", 580, detail=True)
    unknown = Row("masks", "IoU, unknown", "", float("nan"), "a coin", 0.5, "higher", 0)
    replace(EVALUATION, rows=(*ROWS, detail, unknown, *pose_rows(50.0, 51.0, 36.0)), grids=(GRID,)).print(console)
    text = console.export_text()
    for row in ROWS:
        assert all(cell in text for cell in row.cells[:5])
    assert "somewhere else" not in text and "unknown" not in text and GRID.title not in text
    assert "HDR helps by 15.00 mm" in text.splitlines()[-1]


def test_a_row_wins_in_its_own_direction_and_without_baseline_not_at_all() -> None:
    assert [row.wins for row in ROWS] == [True, False, None, True]


def pose_rows(alone: float, unpainted: float, hdr: float) -> list[Row]:
    errors = {ALONE: alone, UNPAINTED: unpainted, FOUND: hdr}
    return [
        Row("pose", f"MPJPE, {name}, all hands", "mm", error, "the mean pose", 95.0, "lower", 9, headline=True)
        for name, error in errors.items()
    ]


def test_the_verdict_says_how_much_hdr_helps_or_hurts_against_each() -> None:
    alone, same_crops = verdict(pose_rows(71.57, 90.0, 81.97))
    assert alone.helps is False and alone.sentence == (
        "HDR hurts by 10.40 mm (15%) against SHPE alone (in the true crops): MPJPE 81.97 mm instead of 71.57 mm."
    )
    assert same_crops.helps is True and same_crops.sentence == (
        "HDR helps by 8.03 mm (9%) against SHPE in the same crops, nothing painted: MPJPE 81.97 mm instead of 90.00 mm."
    )
    (equal,) = verdict(pose_rows(80.001, float("nan"), 80.0))
    assert equal.helps is None and equal.sentence.startswith("HDR neither helps nor hurts against SHPE alone")
    assert verdict(ROWS) == ()


def test_a_figure_that_is_worse_than_one_beside_it_is_never_marked_as_better() -> None:
    def marks(*errors: float) -> list[bool | None]:
        rows = pose_rows(*errors)
        return [wins(row, rows) for row in rows]

    assert marks(71.57, 90.0, 81.97) == [True, None, None]
    assert marks(90.0, 90.0, 81.97) == [None, None, True]
    assert marks(90.0, 90.0, 99.0) == [True, True, False]
    assert [wins(row, ROWS) for row in ROWS] == [True, False, None, True]


def test_the_verdict_and_the_pictures_come_before_the_tables_which_are_folded(root: Path) -> None:
    evaluation = Evaluation((*ROWS, *pose_rows(71.57, 90.0, 81.97)), ("a note",), {"samples": "300"}, (GRID,))
    evaluation.write(root / "eval")
    for path in (build_report(root), write_page(evaluation, root / "eval")):
        page = path.read_text()
        places = [page.index(text) for text in ("HDR hurts by 10.40 mm", "best, middle and worst", "<table")]
        assert places == sorted(places), path
        assert not re.search("win[^>]*>81.97", page) and "HDR helps by 8.03 mm" in page
        outside = re.sub("<details>.*?</details>", "", page, flags=re.S)
        assert "a note" in page and "PCK" in page and "a note" not in outside and "PCK" not in outside


def test_pages_fit_phones_dark_rooms_and_readers_who_do_not_see(root: Path) -> None:
    for path in (build_report(root), write_page(EVALUATION, root / "eval")):
        page = path.read_text()
        assert 'name="viewport"' in page and "prefers-color-scheme: dark" in page
        alternatives = re.findall("<img[^>]*>", page)
        assert alternatives and all(re.search('alt="[^"]{12,}"', image) for image in alternatives)


def test_an_evaluation_of_before_has_the_names_of_today(tmp_path: Path) -> None:
    row = Row("masks", "handedness accuracy of pairs", "", 0.9, "a coin", 0.5, "higher", 3)
    Evaluation((row,), ()).write(tmp_path)
    path = tmp_path / "metrics.json"
    path.write_text(path.read_text().replace(row.metric, "pairs under the right names"))
    assert Evaluation.read(tmp_path).rows == (row,)
