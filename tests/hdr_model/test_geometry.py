from __future__ import annotations

import pytest
import torch
from torch import Tensor

from hdr_model.data.crops import Jitter
from hdr_model.data.rng import SampleRng
from hdr_model.geometry import (
    crop_affine,
    from_crop,
    invert,
    mask_boxes,
    nearest_bits,
    rotate_from_crop,
    rotate_to_crop,
    sample,
    sample_masks,
    to_crop,
)

RIGHT, LEFT = torch.tensor([0]), torch.tensor([1])
FAR = Jitter(rotation=60.0, scale=0.3, translation=0.3)


def test_the_crop_is_the_square_around_the_amodal_mask_twice_as_large() -> None:
    mask = torch.zeros(1, 64, 64, dtype=torch.bool)
    mask[0, 20:30, 10:26] = True  # 16 wide, 10 high
    centre, side = mask_boxes(mask)
    assert centre.tolist() == [[17.5, 24.5]] and side.tolist() == [16.0]
    affine = crop_affine(centre, side, 64, torch.tensor([False]))
    inside = sample_masks(mask[:, None], affine, 64)[0, 0].nonzero()
    assert inside.min(0).values.tolist() == [22, 16] and inside.max(0).values.tolist() == [41, 47]


def test_without_a_mask_the_crop_is_the_whole_image() -> None:
    affine = crop_affine(*mask_boxes(torch.zeros(1, 32, 32, dtype=torch.bool)), 32, torch.tensor([False]))
    torch.testing.assert_close(affine, torch.tensor([[[1.0, 0, 0], [0, 1, 0]]]))


@pytest.mark.parametrize("hand", [RIGHT, LEFT])
def test_a_mark_in_the_image_and_its_coordinates_move_together(hand: Tensor) -> None:
    torch.manual_seed(0)
    mark = torch.tensor([[[40.0, 22.0]]])
    image = torch.zeros(1, 1, 64, 64)
    image[0, 0, 21:24, 39:42] = 1
    affine = crop_affine(
        torch.tensor([[36.0, 25.0]]), torch.tensor([30.0]), 96, hand == 1, FAR.draw(SampleRng(0, 0, 0, 1))
    )
    crop = sample(image, affine, 96, "zeros")[0, 0]
    y, x = torch.meshgrid(torch.arange(96.0), torch.arange(96.0), indexing="ij")
    found = torch.stack([(x * crop).sum(), (y * crop).sum()]) / crop.sum()
    torch.testing.assert_close(found, to_crop(mark, affine)[0, 0], atol=0.2, rtol=0)
    torch.testing.assert_close(from_crop(to_crop(mark, affine), affine), mark)


def test_outside_the_photo_pixels_and_masks_of_the_border_go_on() -> None:
    image = torch.arange(16.0).expand(1, 1, 16, 16)
    affine = torch.tensor([[[1.0, 0, -8], [0, 1, 0]]])
    crop = sample(image, affine, 16)
    assert (crop[..., :9] == 0).all() and crop[0, 0, 0, 15] == 7
    assert sample_masks(image < 3, affine, 16)[0, 0, 0].tolist() == [True] * 11 + [False] * 5


def test_bits_under_a_crop_are_those_of_the_nearest_pixels() -> None:
    bits = torch.arange(64, dtype=torch.uint8).view(1, 8, 8)
    affine = torch.tensor([[[2.0, 0, 2.8], [0, 2, -0.9]]])  # every second pixel, from (3, -1) on
    found = nearest_bits(bits, affine, 4)
    assert found.tolist() == [[[3, 5, 7, 7], [11, 13, 15, 15], [27, 29, 31, 31], [43, 45, 47, 47]]]


def test_thin_lines_do_not_fall_between_the_pixels_of_a_small_crop() -> None:
    lines = torch.zeros(2, 1, 128, 128)
    lines[:, :, :, ::4] = 1  # a quarter of each row
    affine = torch.tensor([[[8.0, 0, 3.5], [0, 8, 3.5]], [[1.0, 0, 0], [0, 1, 0]]])
    small, unchanged = sample(lines, affine, 16, "border")
    torch.testing.assert_close(small, torch.full_like(small, 0.25))
    assert torch.equal(unchanged, lines[1, :, :16, :16])


def test_a_small_crop_stands_where_its_affine_map_says() -> None:
    ramp = torch.arange(128.0).expand(1, 1, 128, 128)
    small = sample(ramp, torch.tensor([[[5.0, 0, 9], [0, 5, 9]]]), 16, "border")
    torch.testing.assert_close(small[0, 0, 0], 9 + 5 * torch.arange(16.0))


def test_places_are_as_exact_where_networks_compute_in_bfloat16() -> None:
    torch.manual_seed(0)
    affine = crop_affine(
        torch.full((2, 2), 130.0),
        torch.full((2,), 77.0),
        64,
        torch.tensor([False, True]),
        FAR.draw(SampleRng(0, 0, 0, 2)),
    )
    points, joints, image = 200 * torch.rand(2, 21, 2), torch.rand(2, 21, 3), torch.rand(2, 3, 256, 256)

    def all_of_it() -> list[Tensor]:
        places = [to_crop(points, affine), from_crop(points, affine), invert(affine)]
        return [*places, rotate_to_crop(joints, affine), rotate_from_crop(joints, affine), sample(image, affine, 64)]

    exact = all_of_it()
    with torch.autocast("cpu", torch.bfloat16):
        assert (points @ affine[:, :, :2]).dtype == torch.bfloat16
        assert all(torch.equal(*pair) for pair in zip(all_of_it(), exact, strict=True))
