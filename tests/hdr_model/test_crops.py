from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from aih_gen.compose.masks import hole
from aih_gen.compose.sample import MASK_BITS, pack_masks
from hdr_model.data.crops import (
    Jitter,
    crop_affine,
    crop_hands,
    from_crop,
    mask_boxes,
    nearest_bits,
    rotate_from_crop,
    rotate_to_crop,
    sample,
    sample_masks,
    to_crop,
    unpack_masks,
)
from hdr_model.data.draws import Draws
from tests.data.samples import make_sample

RIGHT, LEFT = torch.tensor([0]), torch.tensor([1])
FAR = Jitter(rotation=60.0, scale=0.3, translation=0.3)


def batch_of(*indices: int) -> dict[str, Tensor]:
    samples = [make_sample(index) for index in indices]
    rgb = [np.stack([s.image, s.target_right, s.target_left]) for s in samples]
    return {
        "rgb": torch.from_numpy(np.stack(rgb)),
        "masks": torch.from_numpy(np.stack([pack_masks(s) for s in samples])),
        "joints_2d": torch.from_numpy(np.stack([s.joints_2d for s in samples])),
        "joints_3d": torch.from_numpy(np.stack([s.joints_3d for s in samples])),
    }


def mirrored(batch: dict[str, Tensor]) -> dict[str, Tensor]:
    """The same scenes in a mirror: right hands are left hands there."""
    masks = unpack_masks(batch["masks"].flip(-1))
    bits = torch.zeros_like(batch["masks"])
    for name, mask in masks.items():
        other = name.replace("right", "?").replace("left", "right").replace("?", "left")
        bits |= mask.byte() * MASK_BITS[other]
    width = batch["masks"].shape[-1]
    flip_2d, flip_3d = torch.tensor([-1.0, 1.0]), torch.tensor([-1.0, 1.0, 1.0])
    return {
        "rgb": batch["rgb"].flip(3)[:, [0, 2, 1]],
        "masks": bits,
        "joints_2d": batch["joints_2d"].flip(1) * flip_2d + torch.tensor([width - 1.0, 0.0]),
        "joints_3d": batch["joints_3d"].flip(1) * flip_3d,
    }


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


def test_a_left_hand_is_seen_as_the_right_hand_of_the_mirrored_scene() -> None:
    batch = batch_of(1)
    left, right = crop_hands(batch, LEFT, 48), crop_hands(mirrored(batch), RIGHT, 48)
    for name in ("image", "target", "joints_2d", "joints_3d"):
        torch.testing.assert_close(getattr(left, name), getattr(right, name), atol=1e-4, rtol=1e-4, msg=name)
    for name in ("amodal", "visible", "other_visible", "other_arm"):
        assert torch.equal(getattr(left, name), getattr(right, name)), name


@pytest.mark.parametrize("hand", [RIGHT, LEFT])
def test_a_mark_in_the_image_and_its_coordinates_move_together(hand: Tensor) -> None:
    torch.manual_seed(0)
    mark = torch.tensor([[[40.0, 22.0]]])
    image = torch.zeros(1, 1, 64, 64)
    image[0, 0, 21:24, 39:42] = 1
    affine = crop_affine(torch.tensor([[36.0, 25.0]]), torch.tensor([30.0]), 96, hand == 1, FAR.draw(Draws(0, 0, 0, 1)))
    crop = sample(image, affine, 96, "zeros")[0, 0]
    y, x = torch.meshgrid(torch.arange(96.0), torch.arange(96.0), indexing="ij")
    found = torch.stack([(x * crop).sum(), (y * crop).sum()]) / crop.sum()
    torch.testing.assert_close(found, to_crop(mark, affine)[0, 0], atol=0.2, rtol=0)
    torch.testing.assert_close(from_crop(to_crop(mark, affine), affine), mark)


@pytest.mark.parametrize("hand", [RIGHT, LEFT])
def test_3d_joints_turn_and_mirror_as_the_pixels_do(hand: Tensor) -> None:
    batch = batch_of(2)
    batch["joints_3d"][..., :2] = batch["joints_2d"] / 1000  # seen from far away: x and y are pixels
    crops = crop_hands(batch, hand, 64, FAR.draw(Draws(1, 0, 0, 1)))
    offsets = crops.joints_2d - crops.joints_2d[:, :1]
    scale = offsets.norm() / crops.joints_3d[..., :2].norm()
    torch.testing.assert_close(crops.joints_3d[..., :2] * scale, offsets, atol=1e-3, rtol=1e-3)
    back = rotate_from_crop(crops.joints_3d, crops.affine)
    relative = batch["joints_3d"][:, int(hand)] - batch["joints_3d"][:, int(hand), :1]
    torch.testing.assert_close(back, relative)
    torch.testing.assert_close(rotate_to_crop(back, crops.affine), crops.joints_3d)


def test_masks_keep_their_order_in_any_crop() -> None:
    crops = crop_hands(batch_of(*range(8)), torch.tensor([0, 1] * 4), 40, FAR.draw(Draws(2, 0, 0, 8)))
    assert crops.amodal.any(dim=(1, 2, 3)).all()
    assert not (crops.visible & ~crops.amodal).any()
    assert not (crops.visible & crops.other_visible).any()


def test_outside_the_photo_pixels_and_masks_of_the_border_go_on() -> None:
    image = torch.arange(16.0).expand(1, 1, 16, 16)
    affine = torch.tensor([[[1.0, 0, -8], [0, 1, 0]]])
    crop = sample(image, affine, 16)
    assert (crop[..., :9] == 0).all() and crop[0, 0, 0, 15] == 7
    assert sample_masks(image < 3, affine, 16)[0, 0, 0].tolist() == [True] * 11 + [False] * 5


def test_image_and_target_are_equal_outside_the_hole_and_outside_the_photo() -> None:
    moves = Jitter(translation=1.0).draw(Draws(2, 0, 0, 8))
    crops = crop_hands(batch_of(*range(8)), torch.tensor([0, 1] * 4), 64, moves)
    whole = hole(crops.amodal, crops.visible, crops.other_visible, crops.other_arm).float()
    # A pixel beside the hole is a mixture of both.
    near = torch.nn.functional.max_pool2d(whole, 5, stride=1, padding=2) > 0
    differs = (crops.image - crops.target).abs().amax(1, keepdim=True) > 1e-5
    assert differs.any() and not (differs & ~near).any()


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
