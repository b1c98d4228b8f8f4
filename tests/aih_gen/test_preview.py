"""What people look at shows what is in the samples."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import numpy as np
import pytest

from aih_gen.config import SIDES
from aih_gen.preview import (
    CAPTION,
    GAP,
    HAND_COLOURS,
    amodal_picture,
    contact_sheet,
    joints_picture,
    owners_picture,
    preview_page,
    sample_strip,
    survey,
)
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
    picture, amodal = owners_picture(sample).astype(int), amodal_picture(sample)
    for side, visible in enumerate((sample.visible_right, sample.visible_left)):
        assert picture[visible].mean(0).argmax() == HAND_COLOURS[side].argmax(), SIDES[side]
    np.testing.assert_array_equal(amodal[..., 0] > 200, sample.amodal_right)
    np.testing.assert_array_equal((amodal != 0).any(-1), sample.amodal_right | sample.amodal_left)


def test_joints_are_drawn_where_they_are_and_unknown_ones_are_not() -> None:
    sample = make_sample(1)
    dim = (sample.image * 0.6).astype(np.uint8)
    drawn = (np.abs(joints_picture(sample).astype(int) - dim) > 8).any(-1)
    for column, row in np.rint(sample.joints_2d.reshape(-1, 2)).astype(int):
        if 0 <= column < 64 and 0 <= row < 64:
            assert drawn[row, column]
    no_tip = sample.joints_2d.copy()
    no_tip[0, 4] = np.nan
    without = (np.abs(joints_picture(dataclasses.replace(sample, joints_2d=no_tip)).astype(int) - dim) > 8).any(-1)
    assert without.any() and not (without & ~drawn).any()
    nowhere = dataclasses.replace(sample, joints_2d=np.full((2, 21, 2), np.nan, np.float32))
    np.testing.assert_allclose(joints_picture(nowhere), dim, atol=1)


def test_a_survey_counts_hands_by_what_is_hidden(tmp_path: Path) -> None:
    samples = write_samples(tmp_path / "a.h5", 30)
    counts = survey(AIHShards(tmp_path))
    assert (counts.samples, counts.looked_at, counts.shards) == (30, 30, 1)
    assert counts.bytes == (tmp_path / "a.h5").stat().st_size
    assert counts.present.tolist() == [30, 30]
    assert counts.occlusion.sum(1).tolist() == [30, 30]
    assert counts.occlusion[0, 5:].sum() == sum(sample.occlusion[0] >= 0.5 for sample in samples)


def test_the_page_holds_everything_itself_and_nothing_of_a_shard_is_markup(tmp_path: Path) -> None:
    wicked = dataclasses.replace(make_sample(0), provenance={"kind": "<script>alert(1)</script>"})
    header = dataclasses.replace(make_header(), hand_model="<b>hand</b>")
    write_shard(tmp_path / "a.h5", [[wicked, make_sample(1)]], 2, header)
    page = preview_page(AIHShards(tmp_path), [0, 1])
    assert page.count("<figure>") == 2 and "2 in 1 shards" in page
    assert "<script" not in page and "<b>" not in page and "&lt;script&gt;" in page
    sources = re.findall(r'(?:src|href)="([^"]{0,20})', page)
    assert len(sources) == 2 and all(source.startswith("data:image/jpeg;") for source in sources)
