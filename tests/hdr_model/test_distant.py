"""Hands that are small in the image, over another sample's background."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from aih_gen.compose.sample import Sample
from hdr_model.data.aih import AIHDataset
from hdr_model.data.batch import Batch
from hdr_model.data.distant import WIDTHS, Distant, chosen, clean_images, distant_jitter
from hdr_model.data.rng import SampleRng
from hdr_model.training.hasm import HASMTask, scenes
from tests.data.samples import NUMBERS, write_numbers

COUNT, SIZE = 8, 64
STILL = torch.tensor([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
PAIRS = [index for index in range(COUNT) if len(NUMBERS[index % len(NUMBERS)]) == 2]


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[Sample], Path]:
    folder = tmp_path_factory.mktemp("mixed")
    return write_numbers(folder / "aih-00000.h5", COUNT, SIZE), folder


@pytest.fixture
def batch(written: tuple[list[Sample], Path]) -> Batch:
    return AIHDataset(written[1], HASMTask.fields)[list(range(COUNT))]


def test_clean_are_images_without_hands_and_targets_of_the_absent_one(batch: Batch) -> None:
    plane, clean = clean_images(batch)
    cleaned = batch["rgb"][torch.arange(COUNT), plane]
    assert clean.tolist() == [index not in PAIRS for index in range(COUNT)]
    shown = (batch["masks"] & 0b111100) != 0
    for index in clean.nonzero()[:, 0].tolist():
        image, clean_image = batch["rgb"][index, 0].int(), cleaned[index].int()
        assert torch.equal(image[~shown[index]], clean_image[~shown[index]])
        assert not shown[index].any() or (image - clean_image)[shown[index]].abs().float().mean() > 5


def test_a_target_that_still_shows_the_hand_is_not_clean(batch: Batch) -> None:
    batch["rgb"][:, 1:] = batch["rgb"][:, :1]  # nothing was taken away
    assert clean_images(batch)[1].tolist() == [not NUMBERS[index % len(NUMBERS)] for index in range(COUNT)]


def test_every_clean_one_is_chosen_as_often() -> None:
    clean = torch.tensor([False, True, False, True, True])
    counts = chosen(clean, torch.arange(0, 0.999, 0.001)).bincount(minlength=5)
    assert counts[[0, 2]].sum() == 0 and counts[[1, 3, 4]].min() > 330
    assert chosen(clean & False, torch.tensor([0.5])).tolist() == [4]


def test_moves_keep_the_photo_inside_unless_it_turns() -> None:
    jitter = distant_jitter(SampleRng(0, 1, 0, 500))
    width = jitter[:, 1].exp()
    assert width.min() > WIDTHS[0] - 1e-3 and width.max() < WIDTHS[1] + 1e-3
    assert width.min() < 1.3 and width.max() > 3.8
    assert (jitter[:, 2:].abs() <= (width[:, None] - 1) / 2 + 1e-6).all()


@pytest.mark.parametrize("whole", [True, False])
def test_what_is_pasted_is_the_photo_or_its_hands_and_arms_and_all_else_the_background(
    batch: Batch, whole: bool
) -> None:
    rows = torch.arange(COUNT)
    half = torch.tensor([[2.0, 0.0, -SIZE / 2], [0.0, 2.0, -SIZE / 2]]).expand(COUNT, 2, 3)
    backgrounds = batch["rgb"][3, 0].expand(COUNT, -1, -1, -1)
    kinds = torch.full((COUNT,), whole)
    plan = Distant(half, torch.ones(COUNT, dtype=torch.bool), rows, backgrounds, STILL.expand(COUNT, 2, 3), kinds)
    red = torch.zeros(COUNT, 3, SIZE, SIZE)
    red[:, 0] = 1
    pasted = plan.over_backgrounds(red, batch["masks"])
    alone = backgrounds[0].permute(2, 0, 1) / 255
    inner = slice(SIZE // 4 + 3, 3 * SIZE // 4 - 3)
    for index in range(COUNT):
        if whole:
            assert (pasted[index, 0, inner, inner] == 1).all() and not pasted[index, 1:, inner, inner].any()
        shown = ((batch["masks"][index] & 0b111100) != 0)[::2, ::2]
        share = 1 - pasted[index, 1] / alone[1]  # there is no green in what is pasted
        expected = 1.0 if whole else float(shown.float().mean())
        assert 4 * share.mean() == pytest.approx(expected, rel=0.1, abs=0.01)
        torch.testing.assert_close(pasted[index, :, : SIZE // 8], alone[:, : SIZE // 8])


def test_masks_end_with_the_photo(batch: Batch) -> None:
    far = torch.tensor([[3.0, 0.0, -SIZE], [0.0, 3.0, -SIZE]]).expand(COUNT, 2, 3)
    every = torch.ones(COUNT, dtype=torch.bool)
    plan = Distant(far, every, torch.arange(COUNT), batch["rgb"][:, 0], far, every)
    bits = torch.full((COUNT, SIZE, SIZE), 255, dtype=torch.uint8)
    ended = plan.without_repeats(bits, far) != 0
    third = SIZE / 3
    rows, columns = (np.flatnonzero(ended[0].any(axis).numpy()) for axis in (1, 0))
    assert [rows.min(), rows.max()] == pytest.approx([third, 2 * third - 1], abs=1)
    assert [columns.min(), columns.max()] == pytest.approx([third, 2 * third - 1], abs=1)
    assert ended[0].sum() == pytest.approx(third**2, rel=0.1)


def test_hands_are_smaller_where_there_is_a_background_for_them(batch: Batch) -> None:
    def areas(of: Batch, distant: float) -> torch.Tensor:
        found = []
        for seed in range(6):
            masks = scenes(of, SIZE, SampleRng(seed, 1, 0, len(of["masks"])), distant=distant).masks
            found.append((masks["right_amodal"] | masks["left_amodal"]).float().mean((1, 2)))
        return torch.cat(found)

    usual, small = areas(batch, 0.0), areas(batch, 1.0)
    assert small.max() < usual.max() and small.mean() < 0.5 * usual.mean()
    pairs = {name: tensor[PAIRS] for name, tensor in batch.items()}
    assert torch.equal(areas(pairs, 1.0), areas(pairs, 0.0)), "no image of this batch is free of hands"
