"""One batch of samples through HDR in every variant that is measured: true masks or HASM's, painted or not."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from aih_gen.compose.masks import hidden
from aih_gen.config import SIDES
from hdr_model.data.batch import Batch
from hdr_model.data.crops import HandCrops, crop_hands, unpack_masks
from hdr_model.geometry import from_crop, mask_boxes, rotate_from_crop
from hdr_model.inference.hands import HandEstimator
from hdr_model.inference.pipeline import HDR
from hdr_model.nets.hasm import HAND_MASKS, swap_hands
from hdr_model.painting import HandInput, cut_hands

FIELDS = ("rgb", "masks", "joints_2d", "joints_3d", "present", "occlusion", "camera", "target_valid")
"""Fields of a shard that ``predict`` and the scores need."""

ALONE, TRUE, FOUND = "SHPE alone", "SHPE + HDR, true masks", "SHPE + HDR, HASM's masks"
UNPAINTED = "SHPE in HASM's crops, nothing painted"
BOUND = "SHPE on the true target"


@dataclass(frozen=True, eq=False)
class Predictions:
    """A batch of B samples with their N hands (present, at a place that is known), and HDR's predictions for them."""

    true_masks: dict[str, Tensor]  # named as HASM's heads, (B,H,W) bool
    found_masks: dict[str, Tensor]  # (B,H,W) bool
    sample: Tensor  # (N,) which of the B samples a hand is in
    hand: Tensor  # (N,) 0 right, 1 left
    masked: Tensor  # (N,) bool, its masks are known
    crops: HandCrops  # (N,...) cut around the true amodal mask, else around the joints; mirrored to right hands
    composites: dict[str, Tensor]  # TRUE, FOUND -> (N,3,S,S) in [0, 1], in those crops
    target_valid: Tensor  # (N,) bool, masked, and the crop's target truly shows the hand alone
    joints_2d: dict[str, Tensor]  # ALONE, TRUE, UNPAINTED, FOUND, BOUND -> (N,21,2) px of the image
    joints_3d: dict[str, Tensor]  # the same -> (N,21,3) in bone units, in the camera's axes
    # TRUE is NaN where not masked, BOUND where the target is not valid
    joint_confidence: dict[str, Tensor] = field(default_factory=dict)  # the same -> (N,21) 0 to 1
    other_masks: dict[str, dict[str, Tensor]] = field(default_factory=dict)  # other methods -> as found_masks


def named_masks(bits: Tensor) -> dict[str, Tensor]:
    """The masks of a shard's bit field (B,H,W) uint8 under the names of HASM's heads: ``right_amodal``, ..."""
    masks = unpack_masks(bits)
    return {f"{side}_{kind}": masks[f"{kind}_{side}"] for side in SIDES for kind in ("amodal", "visible", "arm")}


def with_occluded(masks: dict[str, Tensor]) -> dict[str, Tensor]:
    """``masks`` and, for each side, ``right_occluded``, ...: the hidden part of each hand."""
    return masks | {f"{side}_occluded": hidden(masks[f"{side}_amodal"], masks[f"{side}_visible"]) for side in SIDES}


def name_margin(guess: Mapping[str, Tensor], true: Mapping[str, Tensor]) -> Tensor:
    """(B,) pixels of the hands' masks (B,H,W) that would be wrong in addition if right and left were swapped.

    Negative where fewer would be: that guess has the wrong handedness.
    """
    exchanged, named = (
        torch.stack([(masks[n] ^ true[n]).sum((1, 2)) for n in HAND_MASKS]).sum(0)
        for masks in (swap_hands(guess), guess)
    )
    return exchanged - named


def known_hands(batch: Batch) -> tuple[Tensor, Tensor]:
    """Hands of a batch (B,2) that are present and masked, and those (B,2) with no mask but two joints or more."""
    masks = named_masks(batch["masks"])
    amodal = torch.stack([masks[f"{side}_amodal"] for side in SIDES], 1).flatten(2).any(2)
    annotated = batch["joints_2d"].isfinite().all(-1).sum(-1) > 1
    present = batch["present"].bool()
    return present & amodal, present & ~amodal & annotated


def cut_true_hands(batch: Batch, chosen: Tensor, size: int) -> tuple[Tensor, Tensor, HandCrops]:
    """The N hands of a batch that are ``chosen`` (B,2), some of ``known_hands``: sample (N,), hand (N,), crops.

    A hand without a mask is cut around the box of its joints, padded as one of a mask is: the authors' way on Tzionas.
    """
    sample, hand = chosen.nonzero().unbind(1)
    amodal = torch.stack([named_masks(batch["masks"])[f"{side}_amodal"] for side in SIDES], 1)[sample, hand]
    masked = amodal.flatten(1).any(1)
    mask_centre, mask_side = mask_boxes(amodal)
    joint_centre, joint_side = joint_boxes(batch["joints_2d"][sample, hand])
    squares = torch.where(masked[:, None], mask_centre, joint_centre), torch.where(masked, mask_side, joint_side)
    cut = ("rgb", "masks", "joints_2d", "joints_3d")
    return sample, hand, crop_hands({name: batch[name][sample] for name in cut}, hand, size, squares=squares)


def joint_boxes(joints: Tensor) -> tuple[Tensor, Tensor]:
    """Centre (N,2) and side (N,), in px, of the square around the known ones of joints (N,21,2) px."""
    unknown = ~joints.isfinite()
    low, high = joints.masked_fill(unknown, torch.inf).amin(1), joints.masked_fill(unknown, -torch.inf).amax(1)
    return (low + high) / 2, (high - low).amax(1).clamp_min(1.0)


def true_input(crops: HandCrops) -> HandInput:
    """Crops as HDRM takes them, with the true masks."""
    return HandInput(crops.image, crops.masks, crops.affine)


def estimate_in_image(estimator: HandEstimator, crops: Tensor, affine: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Joints of hands in crops (N,3,S,S): (N,21,2) px of the image, (N,21,3) in bone units and the camera's axes, and
    their confidence (N,21).
    """  # fmt: skip
    uv, xyz, peaks = estimator.estimate(crops)
    return from_crop(uv, affine), rotate_from_crop(xyz, affine), peaks


@torch.inference_mode()
def predict(hdr: HDR, batch: Batch) -> Predictions:
    """Run HDR on a batch of ``FIELDS`` on its device.

    Painting with true masks fills exactly the true hole. With HASM's masks it is what HDR does on a photo, the hole
    dilated; it is done twice: in the true crop, where it can be compared with the target, and in the crop HASM's own
    mask gives (all of the image where HASM found nothing), from which the joints are estimated. Hands without masks
    have no joints after painting with true ones.
    """
    images = batch["rgb"][:, 0].permute(0, 3, 1, 2).float() / 255
    found_masks = hdr.segment(images)
    with_mask, without = known_hands(batch)
    sample, hand, crops = cut_true_hands(batch, with_mask | without, hdr.hand_size)
    masked = with_mask[sample, hand]
    target_valid = batch["target_valid"][sample, hand] & masked
    found_of_hands = {name: mask[sample] for name, mask in found_masks.items()}
    in_true_crop = cut_hands(images[sample], found_of_hands, hand, hdr.hand_size, crops.affine)
    in_own_crop = cut_hands(images[sample], found_of_hands, hand, hdr.hand_size)
    painted = {TRUE: hdr.paint(true_input(crops), dilate_hole=False), FOUND: hdr.paint(in_true_crop, dilate_hole=True)}
    composites = {name: painting.composite for name, painting in painted.items()}
    views = {ALONE: (crops.image, crops.affine), TRUE: (composites[TRUE], crops.affine)}
    views |= {FOUND: (hdr.paint(in_own_crop, dilate_hole=True).composite, in_own_crop.affine)}
    views |= {UNPAINTED: (in_own_crop.image, in_own_crop.affine)}
    views |= {BOUND: (crops.target, crops.affine)}
    joints = {name: estimate_in_image(hdr, *view) for name, view in views.items()}
    joints_2d, joints_3d, confidence = ({name: found[k] for name, found in joints.items()} for k in range(3))
    for of_method in (joints_2d, joints_3d):
        for method, known in ((TRUE, masked), (BOUND, target_valid)):
            of_method[method] = of_method[method].masked_fill(~known[:, None, None], torch.nan)
    masks = named_masks(batch["masks"])
    return Predictions(
        masks, found_masks, sample, hand, masked, crops, composites, target_valid, joints_2d, joints_3d, confidence
    )
