"""One batch of samples through HDR in every variant that is measured: true masks or HASM's, painted or not."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from aih_gen.compose.masks import hidden
from aih_gen.config import SIDES
from hdr_model.data.aih import Batch
from hdr_model.data.crops import HandCrops, crop_hands, unpack_masks
from hdr_model.pipeline import HDR, HandInput, cut_hands

FIELDS = ("rgb", "masks", "joints_2d", "joints_3d", "present", "occlusion")
"""What ``examine`` and the scores need of a shard."""

ALONE, TRUE, FOUND = "SHPE alone", "SHPE + HDR, true masks", "SHPE + HDR, HASM's masks"
BOUND = "SHPE on the true target"


@dataclass(frozen=True, eq=False)
class Examined:
    """A batch of B samples with their N hands (present, with some amodal pixel), and what HDR made of them."""

    true_masks: dict[str, Tensor]  # named as HASM's heads, (B,H,W) bool
    found_masks: dict[str, Tensor]  # (B,H,W) bool
    sample: Tensor  # (N,) which of the B samples a hand is in
    hand: Tensor  # (N,) 0 right, 1 left
    crops: HandCrops  # (N,...) cut around the true amodal mask, mirrored to right hands
    composites: dict[str, Tensor]  # TRUE, FOUND -> (N,3,S,S) in [0, 1], in those crops
    joints_2d: dict[str, Tensor]  # ALONE, TRUE, BOUND -> (N,21,2) px of those crops
    joints_3d: dict[str, Tensor]  # ALONE, TRUE, FOUND, BOUND -> (N,21,3) in bone units, axes as in those crops


def named_masks(bits: Tensor) -> dict[str, Tensor]:
    """The masks of a shard's bit field (B,H,W) uint8 under the names of HASM's heads: ``right_amodal``, ..."""
    masks = unpack_masks(bits)
    return {f"{side}_{kind}": masks[f"{kind}_{side}"] for side in SIDES for kind in ("amodal", "visible", "arm")}


def with_occluded(masks: dict[str, Tensor]) -> dict[str, Tensor]:
    """``masks`` and, for each side, ``right_occluded``, ...: what of the whole hand is not visible."""
    return masks | {f"{side}_occluded": hidden(masks[f"{side}_amodal"], masks[f"{side}_visible"]) for side in SIDES}


@torch.inference_mode()
def examine(hdr: HDR, batch: Batch) -> Examined:
    """Run HDR on a batch of ``FIELDS`` on its device.

    Painting with true masks fills exactly the true hole. With HASM's masks it is what HDR does on a photo, the hole
    dilated; it is done twice: in the true crop, where it can be compared with the target, and in the crop HASM's own
    mask gives (all of the image where HASM found nothing), from which the joints are estimated.
    """
    images = batch["rgb"][:, 0].permute(0, 3, 1, 2).float() / 255
    true_masks = named_masks(batch["masks"])
    found_masks = hdr.segment(images)
    amodal = torch.stack([true_masks[f"{side}_amodal"] for side in SIDES], 1)
    sample, hand = (batch["present"].bool() & amodal.flatten(2).any(2)).nonzero().unbind(1)
    of_hands = {name: batch[name][sample] for name in FIELDS}
    crops = crop_hands(of_hands, hand, hdr.hand_size)
    truth = HandInput(
        crops.image, crops.amodal, crops.visible, crops.other_visible, crops.other_arm, affine=crops.affine
    )
    found_of_hands = {name: mask[sample] for name, mask in found_masks.items()}
    in_true_crop = cut_hands(images[sample], found_of_hands, hand, hdr.hand_size, crops.affine)
    in_own_crop = cut_hands(images[sample], found_of_hands, hand, hdr.hand_size)
    composites = {TRUE: hdr.paint(truth, grow=False).composite, FOUND: hdr.paint(in_true_crop, grow=True).composite}
    shown = {ALONE: crops.image, TRUE: composites[TRUE], BOUND: crops.target}
    poses = {name: hdr.estimate(image) for name, image in shown.items()}
    joints_3d = {name: xyz for name, (_, xyz) in poses.items()}
    joints_3d[FOUND] = hdr.estimate(hdr.paint(in_own_crop, grow=True).composite)[1]
    joints_2d = {name: uv for name, (uv, _) in poses.items()}
    return Examined(true_masks, found_masks, sample, hand, crops, composites, joints_2d, joints_3d)
