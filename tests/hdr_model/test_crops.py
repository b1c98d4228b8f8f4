from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from aih_gen.compose.sample import MASK_BITS, pack_masks
from hdr_model.data.crops import Jitter, crop_hands, unpack_masks
from hdr_model.data.rng import SampleRng
from hdr_model.geometry import (
    rotate_from_crop,
    rotate_to_crop,
)
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


def test_a_left_hand_is_seen_as_the_right_hand_of_the_mirrored_scene() -> None:
    batch = batch_of(1)
    left, right = crop_hands(batch, LEFT, 48), crop_hands(mirrored(batch), RIGHT, 48)
    for name in ("image", "target", "joints_2d", "joints_3d"):
        torch.testing.assert_close(getattr(left, name), getattr(right, name), atol=1e-4, rtol=1e-4, msg=name)
    for name in ("amodal", "visible", "other_visible", "other_arm"):
        assert torch.equal(getattr(left.masks, name), getattr(right.masks, name)), name


@pytest.mark.parametrize("hand", [RIGHT, LEFT])
def test_3d_joints_turn_and_mirror_as_the_pixels_do(hand: Tensor) -> None:
    batch = batch_of(2)
    batch["joints_3d"][..., :2] = batch["joints_2d"] / 1000  # seen from far away: x and y are pixels
    crops = crop_hands(batch, hand, 64, FAR.draw(SampleRng(1, 0, 0, 1)))
    offsets = crops.joints_2d - crops.joints_2d[:, :1]
    scale = offsets.norm() / crops.joints_3d[..., :2].norm()
    torch.testing.assert_close(crops.joints_3d[..., :2] * scale, offsets, atol=1e-3, rtol=1e-3)
    back = rotate_from_crop(crops.joints_3d, crops.affine)
    relative = batch["joints_3d"][:, int(hand)] - batch["joints_3d"][:, int(hand), :1]
    torch.testing.assert_close(back, relative)
    torch.testing.assert_close(rotate_to_crop(back, crops.affine), crops.joints_3d)


def test_masks_keep_their_order_in_any_crop() -> None:
    crops = crop_hands(batch_of(*range(8)), torch.tensor([0, 1] * 4), 40, FAR.draw(SampleRng(2, 0, 0, 8)))
    assert crops.masks.amodal.any(dim=(1, 2, 3)).all()
    assert not (crops.masks.visible & ~crops.masks.amodal).any()
    assert not (crops.masks.visible & crops.masks.other_visible).any()


def test_image_and_target_are_equal_outside_the_hole_and_outside_the_photo() -> None:
    jitter = Jitter(translation=1.0).draw(SampleRng(2, 0, 0, 8))
    crops = crop_hands(batch_of(*range(8)), torch.tensor([0, 1] * 4), 64, jitter)
    whole = crops.masks.hole.float()
    # A pixel beside the hole is a mixture of both.
    near = torch.nn.functional.max_pool2d(whole, 5, stride=1, padding=2) > 0
    differs = (crops.image - crops.target).abs().amax(1, keepdim=True) > 1e-5
    assert differs.any() and not (differs & ~near).any()
