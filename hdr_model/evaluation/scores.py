"""Scores of masks, images and joints, gathered over the held-out set batch after batch."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn import functional as F

from aih_gen.config import SIDES
from aih_gen.typing import Float32, Mask
from hdr_model.data.aih import AIHDataset
from hdr_model.data.batch import Batch
from hdr_model.evaluation.counts import Counted, count_hands
from hdr_model.evaluation.metrics import Overlap, RegionError, ssim_map
from hdr_model.evaluation.perceptual import PerceptualMetrics
from hdr_model.evaluation.pose import MEAN_POSE, PoseScores
from hdr_model.evaluation.predict import Predictions, known_hands, name_margin, with_occluded
from hdr_model.evaluation.prior import Prior
from hdr_model.inference.pipeline import MEAN_BONE_LENGTH
from hdr_model.nets.hasm import swap_hands_where

MASK_PARTS = ("amodal", "occluded", "visible")
HASM, COPY, MEAN_MASK, AS_VISIBLE = ("HASM", "copy the input", "the mean training mask", "amodal = true visible")
TARGET = "the true target"
NO_PERCEPTUAL = PerceptualMetrics()


@dataclass
class Scores:
    """Everything gathered so far."""

    overlap: defaultdict[tuple[str, str], Overlap] = field(default_factory=lambda: defaultdict(Overlap))
    """(part, method) -> right and left masks of each sample in turn"""
    unnamed: defaultdict[tuple[str, str], Overlap] = field(default_factory=lambda: defaultdict(Overlap))
    """The same, right and left exchanged in the samples that fit better so."""
    named: defaultdict[str, list[bool]] = field(default_factory=lambda: defaultdict(list))
    """method -> of each pair of known hands: whether its masks fit better under their names than exchanged."""
    counted: list[Counted] = field(default_factory=list)
    """Of each sample whose masks are known."""
    region: defaultdict[tuple[str, str], RegionError] = field(default_factory=lambda: defaultdict(RegionError))
    """(region, method) -> hands with a true target"""
    lpips: defaultdict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    """method -> hands with a true target and a hole; empty without the network"""
    features: defaultdict[str, list[Float32]] = field(default_factory=lambda: defaultdict(list))
    """method, or ``TARGET`` -> Inception's features (2048,) of the same hands; empty without the network"""
    pose: PoseScores = field(default_factory=lambda: PoseScores(MEAN_BONE_LENGTH))
    targets: list[tuple[int, int]] = field(default_factory=list)
    """Sample and side of each hand with a true target."""
    samples: list[int] = field(default_factory=list)
    missed: int = 0
    """Hands in which HASM found nothing."""
    unmasked: int = 0
    """Hands of which no mask is known, but joints: they have figures of joints alone."""
    unknown: int = 0
    """Hands that are present, but of which neither is known: they are not measured."""


@dataclass(frozen=True)
class SampleMeta:
    """Facts of a sample that its source states."""

    interacting: bool
    """It is of interacting hands: as the source says (``hand_type``), else where both are present."""
    pixel: float = 1.0
    """Pixels of the photo that it was cut from in one of its own."""


def read_sample_meta(dataset: AIHDataset, indices: Sequence[int], batch: Batch) -> list[SampleMeta]:
    """The facts of the samples ``indices``, which ``batch`` holds."""
    provenance = dataset.shards.read(indices, ("provenance",))["provenance"]
    both, side = batch["present"].bool().all(1).tolist(), batch["rgb"].shape[2]
    return [
        SampleMeta(
            facts["hand_type"] == "interacting" if "hand_type" in facts else b, facts.get("crop_side", side) / side
        )
        for facts, b in zip(provenance, both, strict=True)
    ]


def add_scores(
    scores: Scores,
    indices: Sequence[int],
    batch: Batch,
    predicted: Predictions,
    prior: Prior | None,
    metas: Sequence[SampleMeta],
    perceptual: PerceptualMetrics = NO_PERCEPTUAL,
) -> None:
    """Take in the predictions of a batch, the samples ``indices``."""
    masked = known_hands(batch)[0]
    _add_masks(scores, predicted, prior, ~batch["present"].bool() | masked, masked.all(1))
    _add_images(scores, predicted, perceptual)
    _add_joints(scores.pose, indices, batch, predicted, prior, metas)
    scores.samples += indices
    hands = list(zip(predicted.sample.tolist(), predicted.hand.tolist(), strict=True))
    scores.targets += [
        (indices[s], hand) for (s, hand), true in zip(hands, predicted.target_valid.tolist(), strict=True) if true
    ]
    scores.missed += sum(
        not bool(predicted.found_masks[f"{SIDES[hand]}_amodal"][sample].any()) for sample, hand in hands
    )
    scores.unmasked += int((~predicted.masked).sum())
    scores.unknown += int(batch["present"].sum()) - len(hands)


def _add_masks(scores: Scores, predicted: Predictions, prior: Prior | None, known: Tensor, pairs: Tensor) -> None:
    """``known`` (B,2): the masks, empty ones too, are true; predictions elsewhere are not scored.

    ``pairs`` (B,): both hands are there, and masked.
    """
    true, found = with_occluded(predicted.true_masks), with_occluded(predicted.found_masks)
    visible = {f"{side}_{kind}": true[f"{side}_visible"] for side in SIDES for kind in ("amodal", "visible")}
    guesses = {HASM: found, AS_VISIBLE: with_occluded(visible)}
    guesses |= {method: with_occluded(masks) for method, masks in predicted.other_masks.items()}
    if prior:
        named = (name for name in prior.masks if name.endswith(MASK_PARTS))
        guesses[MEAN_MASK] = {name: _resized(prior.masks[name], true[name]) for name in named}
    where = known.flatten()[:, None, None]
    margins = {method: name_margin(guess, true) for method, guess in guesses.items()}
    for method, guess in guesses.items():
        unnamed = swap_hands_where(guess, (margins[method] < 0) & known.all(1))
        for part in MASK_PARTS:
            truth = _both_hands(true, part)
            scores.overlap[part, method].add(_both_hands(guess, part) & where, truth)
            scores.unnamed[part, method].add(_both_hands(unnamed, part) & where, truth)
    for method in (HASM, *predicted.other_masks):
        scores.named[method] += (margins[method] > 0)[pairs].tolist()
    whole = known.all(1)
    scores.counted += count_hands(*({name: mask[whole] for name, mask in masks.items()} for masks in (true, found)))


@torch.inference_mode()
def _add_images(scores: Scores, predicted: Predictions, perceptual: PerceptualMetrics) -> None:
    crops, known = predicted.crops, predicted.target_valid
    covered, removed = (region[known, 0] for region in (crops.masks.hidden, crops.masks.removal))
    holes = covered | removed
    whole = holes.flatten(1).any(1)[:, None, None].expand_as(holes)
    regions = {"hole": holes, "hidden": covered, "removal": removed, "whole": whole}
    target = crops.target[known]
    with_hole = whole[:, 0, 0]
    for method, images in {COPY: crops.image, **predicted.composites}.items():
        image = images[known]
        similarity = ssim_map(image, target)
        for name, region in regions.items():
            scores.region[name, method].add(image, target, region, similarity)
        _add_perceptual(scores, method, image[with_hole], target[with_hole], perceptual)
    if perceptual.inception and bool(with_hole.any()):
        scores.features[TARGET] += list(perceptual.inception(target[with_hole]).cpu().numpy())


def _add_perceptual(scores: Scores, method: str, image: Tensor, target: Tensor, perceptual: PerceptualMetrics) -> None:
    if perceptual.lpips and len(image):
        scores.lpips[method] += perceptual.lpips(image, target).tolist()
    if perceptual.inception and len(image):
        scores.features[method] += list(perceptual.inception(image).cpu().numpy())


def _add_joints(
    pose: PoseScores,
    indices: Sequence[int],
    batch: Batch,
    predicted: Predictions,
    prior: Prior | None,
    metas: Sequence[SampleMeta],
) -> None:
    touching = (predicted.true_masks["right_amodal"] & predicted.true_masks["left_amodal"]).flatten(1).any(1).tolist()
    rows = predicted.sample.tolist()
    pose.sample += [indices[row] for row in rows]
    pose.hand += predicted.hand.tolist()
    pose.interacting += [metas[row].interacting for row in rows]
    pose.pixel += [metas[row].pixel for row in rows]
    pose.touching += [touching[row] for row in rows]
    pose.occlusion += (
        batch["occlusion"][predicted.sample, predicted.hand].masked_fill(~predicted.masked, torch.nan).tolist()
    )
    pose.camera += list(batch["camera"][predicted.sample].cpu().numpy())
    pose.true += list(batch["joints_3d"][predicted.sample, predicted.hand].cpu().numpy())
    pose.true_2d += list(batch["joints_2d"][predicted.sample, predicted.hand].cpu().numpy())
    for method, joints in predicted.joints_3d.items():
        pose.joints_3d[method] += list(joints.float().cpu().numpy())
        pose.joints_2d[method] += list(predicted.joints_2d[method].float().cpu().numpy())
    if prior:
        pose.joints_3d[MEAN_POSE] += [prior.pose * (-1 if hand else 1, 1, 1) for hand in predicted.hand.tolist()]


def _both_hands(masks: Mapping[str, Tensor], part: str) -> Tensor:
    """Right and left masks of each sample in turn, (2B,H,W)."""
    return torch.stack([masks[f"{side}_{part}"] for side in SIDES], 1).flatten(0, 1)


def _resized(mask: Mask, like: Tensor) -> Tensor:
    """One mask (H,W) at the size of masks (B,h,w), once for each of them, on their device."""
    pixels = torch.from_numpy(mask)[None, None].float().to(like.device)
    return (F.interpolate(pixels, like.shape[-2:], mode="bilinear", antialias=True)[0] > 0.5).expand_as(like)
