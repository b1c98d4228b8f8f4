"""Sheets and pages show the content of the samples."""

from __future__ import annotations

import base64
import dataclasses
import io
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from aih_gen.compose.sample import Sample
from aih_gen.config import SIDES
from aih_gen.reports import survey as survey_module
from aih_gen.reports.gallery import EXAMPLE_HEIGHT, EXAMPLES, STRIP_HEIGHT, preview_page
from aih_gen.reports.preview import (
    CAPTION,
    GAP,
    HAND_COLOURS,
    amodal_image,
    contact_sheet,
    joints_image,
    owners_image,
    sample_strip,
)
from aih_gen.reports.survey import MAX_GROUPS, MAX_NAME, OCCLUSION_NAMES, OTHERS, UNKNOWN, Facet, facets, survey
from aih_gen.scenes.skin import TONES
from aih_gen.shards.reader import AIHShards
from aih_gen.shards.writer import write_shard
from tests.data.samples import make_header, make_sample, write_samples


def test_a_contact_sheet_has_every_sample() -> None:
    samples = [make_sample(index) for index in range(3)]
    strip = sample_strip(samples[0])
    assert strip.shape == (64, 6 * 64 + 5 * GAP, 3)
    sheet = np.asarray(contact_sheet(samples))
    assert sheet.shape == (CAPTION + 3 * 64 + 2 * GAP, strip.shape[1], 3)
    for k, sample in enumerate(samples):
        top = CAPTION + k * (64 + GAP)
        np.testing.assert_array_equal(sheet[top : top + 64, :64], sample.image)
        np.testing.assert_array_equal(sheet[top : top + 64, 4 * (64 + GAP) : 4 * (64 + GAP) + 64], sample.target_left)
    assert contact_sheet(samples, columns=2).size == (2 * strip.shape[1] + GAP, CAPTION + 2 * 64 + GAP)
    with pytest.raises(ValueError, match="at least one"):
        contact_sheet([])


def test_hands_are_tinted_by_side() -> None:
    sample = make_sample(2)
    image, amodal = owners_image(sample).astype(int), amodal_image(sample)
    for side, visible in enumerate((sample.visible_right, sample.visible_left)):
        assert image[visible].mean(0).argmax() == np.argmax(HAND_COLOURS[side]), SIDES[side]
    np.testing.assert_array_equal(amodal[..., 0] > 200, sample.amodal_right)
    np.testing.assert_array_equal((amodal != 0).any(-1), sample.amodal_right | sample.amodal_left)


def test_joints_are_drawn_where_they_are_and_unknown_ones_are_not() -> None:
    sample = make_sample(1)
    dim = (sample.image * 0.6).astype(np.uint8)
    drawn = (np.abs(joints_image(sample).astype(int) - dim) > 8).any(-1)
    for column, row in np.rint(sample.joints_2d.reshape(-1, 2)).astype(int):
        if 0 <= column < 64 and 0 <= row < 64:
            assert drawn[row, column]
    no_tip = sample.joints_2d.copy()
    no_tip[0, 4] = np.nan
    without = (np.abs(joints_image(dataclasses.replace(sample, joints_2d=no_tip)).astype(int) - dim) > 8).any(-1)
    assert without.any() and not (without & ~drawn).any()
    nowhere = dataclasses.replace(sample, joints_2d=np.full((2, 21, 2), np.nan, np.float32))
    np.testing.assert_allclose(joints_image(nowhere), dim, atol=1)


def test_a_survey_counts_hands_by_what_is_hidden(tmp_path: Path) -> None:
    samples = write_samples(tmp_path / "a.h5", 30)
    counts = survey(AIHShards(tmp_path))
    assert (counts.samples, counts.looked_at, counts.shards) == (30, 30, 1)
    assert counts.bytes == (tmp_path / "a.h5").stat().st_size
    assert counts.present.tolist() == [30, 30]
    assert counts.occlusion.sum(1).tolist() == [30, 30]
    assert counts.occlusion[0, 5:].sum() == sum(sample.occlusion[0] >= 0.5 for sample in samples)


def write_stories(path: Path, stories: Sequence[dict[str, object]], size: int = 64) -> AIHShards:
    """A shard whose samples have these provenances."""
    samples = [dataclasses.replace(make_sample(k, size), provenance=story) for k, story in enumerate(stories)]
    return write_all(path, samples)


def write_all(path: Path, samples: Sequence[Sample]) -> AIHShards:
    write_shard(path, [samples], len(samples), make_header())
    return AIHShards(path)


def divided(facet: Facet) -> dict[str, list[int]]:
    return {group.name: list(group.positions) for group in facet.groups}


def test_samples_are_grouped_by_what_their_provenance_tells(tmp_path: Path) -> None:
    stories: list[dict[str, object]] = [
        {"interaction": "touch", "background": "photo", "tone": "tan"},
        {"interaction": "clasp", "background": "photo"},
        {"interaction": "touch", "background": "black", "tone": "very light"},
        {"interaction": 5, "background": "photo", "tone": "tan"},
    ]
    found = {facet.title: divided(facet) for facet in facets(write_stories(tmp_path / "a.h5", stories))}
    assert list(found) == ["interaction", "skin tone", "occlusion", "background"]
    assert list(found["interaction"].items()) == [("touch", [0, 2]), ("clasp", [1]), (UNKNOWN, [3])]
    assert list(found["background"].items()) == [("photo", [0, 1, 3]), ("black", [2])]
    assert list(found["skin tone"]) == [*TONES, UNKNOWN]
    assert {name: places for name, places in found["skin tone"].items() if places} == {
        "very light": [2],
        "tan": [0, 3],
        UNKNOWN: [1],
    }


def test_a_source_that_tells_nothing_is_grouped_by_occlusion_alone(tmp_path: Path) -> None:
    samples = write_samples(tmp_path / "a.h5", 3)
    assert [facet.title for facet in facets(AIHShards(tmp_path / "a.h5"))] == ["occlusion"]
    nothing = [dataclasses.replace(one, occlusion=np.full(2, np.nan, np.float32)) for one in samples]
    assert facets(write_all(tmp_path / "b.h5", nothing)) == ()
    assert "Configuration" in preview_page(AIHShards(tmp_path / "b.h5"), [0])


def test_the_more_hidden_hand_places_a_sample_among_the_occlusions(tmp_path: Path) -> None:
    shares = [(0, 0.02), (0.2, 0), (0.1, 0.5), (0.95, 0.7), (np.nan, 0.7), (np.nan, np.nan), (0.31, 0.29)]
    samples = [dataclasses.replace(make_sample(k), occlusion=np.array(two, np.float32)) for k, two in enumerate(shares)]
    (facet,) = facets(write_all(tmp_path / "a.h5", samples))
    expected = ([0], [1], [2, 6], [4], [3], [5])
    assert list(divided(facet).items()) == list(zip((*OCCLUSION_NAMES, UNKNOWN), expected, strict=True))


def test_rare_names_are_one_group_and_long_names_are_cut(tmp_path: Path) -> None:
    names = [f"{k:02}" + "x" * 50 for k in range(MAX_GROUPS + 3)]
    stories = [{"interaction": name} for name in (*names, *names[:MAX_GROUPS])]
    found = divided(facets(write_stories(tmp_path / "a.h5", stories))[0])
    assert list(found) == [*(name[:MAX_NAME] for name in names[:MAX_GROUPS]), OTHERS]
    assert found[OTHERS] == [MAX_GROUPS, MAX_GROUPS + 1, MAX_GROUPS + 2]


def test_a_large_set_is_judged_by_the_same_random_samples_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shards = write_stories(tmp_path / "a.h5", [{"interaction": "near"}] * 30)
    assert "drawn at random" not in preview_page(shards, [0])
    monkeypatch.setattr(survey_module, "MAX_READ", 12)
    monkeypatch.setattr(survey_module, "BLOCK", 5)
    chosen = divided(facets(shards)[0])["near"]
    assert len(set(chosen)) == 12 and chosen == sorted(chosen)
    assert len(set(np.diff(chosen))) > 2, "evenly spaced"
    assert chosen == divided(facets(shards)[0])["near"]
    assert (survey(shards).samples, survey(shards).looked_at, survey(shards).present.tolist()) == (30, 12, [12, 12])
    page = preview_page(shards, [0])
    assert "12 samples, drawn at random" in page and "12 of 12" in page


def test_counting_decodes_no_image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shards = write_stories(tmp_path / "a.h5", [{"interaction": "near"}] * 4)
    read: list[str] = []
    stack = AIHShards._stack
    monkeypatch.setattr(AIHShards, "_stack", lambda self, places, name: read.append(name) or stack(self, places, name))
    facets(shards)
    survey(shards)
    assert set(read) == {"occlusion", "present"}


def test_every_group_has_its_count_share_and_examples_of_its_own(tmp_path: Path) -> None:
    stories = [{"interaction": "near" if k % 4 else "clasp"} for k in range(16)]
    shards = write_stories(tmp_path / "a.h5", stories)
    page = preview_page(shards, [])
    rows = {row.split("</h4>")[0]: row for row in page.split("<h3>By occlusion")[0].split("<h4>")[1:]}
    assert list(rows) == ["near", "clasp"]
    assert "12 of 16<br>75.0%" in rows["near"] and "4 of 16<br>25.0%" in rows["clasp"]
    positions = {name: [int(k) for k in re.findall(r'title="position (\d+)', row)] for name, row in rows.items()}
    assert positions["clasp"] == [0, 4, 8, 12]
    assert len(set(positions["near"])) == EXAMPLES and all(k % 4 for k in positions["near"])
    anchors = re.findall(r'href="#([^"]*)"', page)
    assert len(anchors) == 2 + len(OCCLUSION_NAMES) and all(
        f'class="group" id="{anchor}"' in page for anchor in anchors
    )


def test_a_page_fits_phones_dark_rooms_and_readers_who_do_not_see(tmp_path: Path) -> None:
    shards = write_stories(tmp_path / "a.h5", [{"interaction": "near"}] * 2)
    page = preview_page(shards, [0])
    assert 'name="viewport"' in page and "prefers-color-scheme: dark" in page
    drawn = [re.sub('src="[^"]*"', "", image) for image in re.findall("<img[^>]*>", page)]
    assert len(drawn) > 1 and all(re.search(r'alt="[^"]+ of [^"]*position \d', image) for image in drawn)
    charts = re.findall("<svg[^>]*>", page)
    assert charts and all('role="img" aria-label="' in chart for chart in charts)


def test_an_example_holds_the_image_its_masks_and_both_targets(tmp_path: Path) -> None:
    shards = write_stories(tmp_path / "a.h5", [{"interaction": "near"}])
    sample = shards[0]
    example = embedded_images(preview_page(shards, []))[0]
    views = (sample.image, owners_image(sample), sample.target_right, sample.target_left)
    for k in range(len(views)):
        shown = example[:, k * 64 : (k + 1) * 64].astype(int)
        distances = [np.abs(shown - other).mean() for other in views]
        assert int(np.argmin(distances)) == k and distances[k] < 8


def test_large_images_are_shrunk(tmp_path: Path) -> None:
    shards = write_stories(tmp_path / "a.h5", [{}], size=320)
    example, strip = embedded_images(preview_page(shards, [0]))
    assert example.shape[:2] == (EXAMPLE_HEIGHT, 4 * EXAMPLE_HEIGHT)
    assert strip.shape[0] == STRIP_HEIGHT


def embedded_images(page: str) -> list[np.ndarray]:
    """The images embedded in a page."""
    sources = re.findall(r'src="data:image/jpeg;base64,([^"]*)"', page)
    return [np.asarray(Image.open(io.BytesIO(base64.b64decode(source)))) for source in sources]


def test_the_page_holds_everything_itself_and_nothing_of_a_shard_is_markup(tmp_path: Path) -> None:
    story = {"kind": "<script>alert(1)</script>", "interaction": '"><b>near', "tone": "<i>tan", "background": "&<u>"}
    wicked = dataclasses.replace(make_sample(0), provenance=story)
    header = dataclasses.replace(make_header(), hand_model="<b>hand</b>")
    write_shard(tmp_path / "a.h5", [[wicked, make_sample(1)]], 2, header)
    page = preview_page(AIHShards(tmp_path), [0, 1])
    assert page.count("<figure>") == 2 and "2 in 1 shards" in page
    assert "&lt;script&gt;" in page and "&lt;i&gt;tan" in page and "&amp;&lt;u&gt;" in page
    assert not re.search(r"<script|<b>|<i>|<u>|\burl\(|@import", page)
    sources = re.findall(r'(?:src|href)="([^"]{0,20})', page)
    assert len(sources) > 4 and all(source.startswith(("data:image/jpeg;", "#")) for source in sources)
