"""How HDR is measured on held-out shards: what is compared with what, and the trivial guesses it is held against."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F
from tqdm import tqdm

from aih_gen.compose.masks import hidden, removal
from aih_gen.config import SIDES
from aih_gen.errors import AIHError
from aih_gen.hands.joints import MIDDLE_MCP, WRIST
from hdr_model.data.aih import AIHDataset, Batch
from hdr_model.evaluation.examine import (
    ALONE,
    BOUND,
    FIELDS,
    FOUND,
    TRUE,
    Examined,
    examine,
    named_masks,
    with_occluded,
)
from hdr_model.evaluation.metrics import Overlap, RegionError, best_threshold, joint_errors, mpjpe, ssim_map
from hdr_model.evaluation.pictures import image_row, look, mask_row, pose_row, ranked, save_rows
from hdr_model.evaluation.table import Evaluation, Row
from hdr_model.pipeline import HDR
from hdr_model.training.loop import choose_device, use_bfloat16

BATCH = 16
PARTS = {"amodal": "whole hand (amodal)", "occluded": "occluded part alone", "visible": "visible part"}
REGIONS = {
    "hole": "in the hole",
    "hidden": "in the de-occlusion region",
    "removal": "in the removal region",
    "whole": "whole crop",
}
OCCLUSION_BINS = (0.0, 0.2, 0.4, 0.6, 1.0)
"""Edges of the bins; a share that is an edge belongs to the bin below it, and unoccluded hands are apart."""

HASM, COPY, MEAN_MASK, AS_VISIBLE, MEAN_POSE = (
    "HASM", "copy the input", "the mean training mask", "amodal = true visible", "the mean pose",
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class Prior:
    """What can be guessed without looking: means over the training set."""

    masks: dict[str, NDArray[np.bool_]]  # right_amodal, right_occluded, right_visible, left_...: (H,W)
    pose: NDArray[np.float64]  # (21,3) of a right hand, wrist-relative, in bone units


@dataclass
class Scores:
    """What is gathered over the held-out set."""

    overlap: defaultdict[tuple[str, str], Overlap] = field(default_factory=lambda: defaultdict(Overlap))
    """(part, method) -> right and left masks of each sample in turn"""
    region: defaultdict[tuple[str, str], RegionError] = field(default_factory=lambda: defaultdict(RegionError))
    """(region, method) -> hands"""
    errors: defaultdict[str, list[NDArray[np.float64]]] = field(default_factory=lambda: defaultdict(list))
    """method -> joint errors (21,) of each hand in mm"""
    occlusion: list[float] = field(default_factory=list)
    places: list[tuple[int, int]] = field(default_factory=list)
    """Sample and side of each hand."""
    samples: list[int] = field(default_factory=list)
    missed: int = 0
    """Hands in which HASM found nothing."""


def evaluate(
    data: Path, weights: Path, out: Path, train_data: list[Path], device: str, limit: int | None
) -> Evaluation:
    """Measure the networks in ``weights`` on the shards in ``data``; print the table, write it and pictures to ``out``.

    Args:
        train_data: the shards trained on, for the guesses that know their mean; with none those are left out ("-").
        limit: at most so many samples, spread evenly.

    Raises:
        AIHError: a folder or a number is not what it should be.
    """
    if out.exists() and not out.is_dir():
        raise AIHError(f"{out} is a file; --out needs a folder")
    if limit is not None and limit < 1:
        raise AIHError(f"--limit should be at least 1, found {limit}")
    dataset = AIHDataset(data, FIELDS)
    where = choose_device(device)
    hdr = HDR.from_pretrained(weights, device=where, bfloat16=use_bfloat16(True, "auto", where))
    prior = training_prior(train_data) if train_data else None
    count = min(len(dataset), limit or len(dataset))
    chosen = np.linspace(0, len(dataset) - 1, count).round().astype(int).tolist()
    scores = Scores()
    for indices in tqdm(list(_portions(chosen, BATCH)), desc="evaluate", unit="batch"):
        batch = {name: value.to(hdr.device) for name, value in dataset[indices].items()}
        add_scores(scores, indices, batch, examine(hdr, batch), prior)
    settings = {"data": str(data), "weights": str(weights), "samples": str(count)}
    settings |= {"crop": str(hdr.hand_size), "precision": hdr.precision}
    evaluation = Evaluation(tuple(result_rows(scores)), result_notes(scores, hdr, count), settings)
    (out / "pictures").mkdir(parents=True, exist_ok=True)
    evaluation.write(out)
    _pictures(scores, dataset, hdr, out / "pictures")
    evaluation.print()
    return evaluation


def training_prior(data: Sequence[Path]) -> Prior:
    """The mean masks of the training set, each cut at the level that suits that set best, and its mean pose."""
    dataset = AIHDataset(list(data), ("masks", "joints_3d", "present"))
    sums: dict[str, Tensor] = {}
    poses: list[NDArray[np.float64]] = []
    for indices in tqdm(list(_portions(range(len(dataset)), 64)), desc="training means", unit="batch"):
        batch = dataset[indices]
        for name, mask in with_occluded(named_masks(batch["masks"])).items():
            total = mask.sum(0, dtype=torch.int64)
            sums[name] = sums[name] + total if name in sums else total
        present = batch["present"].bool().numpy()
        for hand in range(len(SIDES)):
            relative, length = _normalised(batch["joints_3d"][:, hand].double().numpy())
            known = present[:, hand] & np.isfinite(relative).all((1, 2))
            poses.append((relative / length[:, None, None] * (-1 if hand else 1, 1, 1))[known])
    means = {name: (total.double() / len(dataset)).numpy() for name, total in sums.items()}
    masks = {name: mean >= max(best_threshold(mean), 1e-9) for name, mean in means.items()}
    known_poses = np.concatenate(poses)
    return Prior(masks, known_poses.mean(0) if len(known_poses) else np.full(known_poses.shape[1:], np.nan))


def add_scores(scores: Scores, indices: Sequence[int], batch: Batch, seen: Examined, prior: Prior | None) -> None:
    """Take in one examined batch of the samples ``indices``."""
    _add_masks(scores, seen, prior)
    _add_images(scores, seen)
    _add_joints(scores, seen, prior)
    scores.samples += indices
    scores.occlusion += batch["occlusion"][seen.sample, seen.hand].tolist()
    hands = list(zip(seen.sample.tolist(), seen.hand.tolist(), strict=True))
    scores.places += [(indices[sample], hand) for sample, hand in hands]
    scores.missed += sum(not bool(seen.found_masks[f"{SIDES[hand]}_amodal"][sample].any()) for sample, hand in hands)


def result_rows(scores: Scores) -> Iterator[Row]:
    """The table."""
    yield from _mask_rows(scores)
    yield from _image_rows(scores)
    yield from _pose_rows(scores)


def result_notes(scores: Scores, hdr: HDR, count: int) -> tuple[str, ...]:
    """How the figures were taken."""
    empty = ", ".join(f"{scores.overlap[part, HASM].empty} ({words})" for part, words in PARTS.items())
    holes = ", ".join(f"{scores.region[region, COPY].empty} ({words})" for region, words in REGIONS.items())
    hands = len(scores.places)
    return (
        f"{count} samples, {hands} hands; HASM found nothing of {scores.missed} of them. "
        f"Computed in {hdr.precision}.",
        "Masks: IoU of the foreground, right and left hands together. Over the set: sum of intersections / sum of "
        "unions. Per mask: mean of intersection / union over masks whose truth is not empty. "
        f"Empty truths: {empty}.",
        f"Images: {hdr.hand_size} x {hdr.hand_size} crops around the true amodal box, colours in [0, 1]; painted with "
        "the true masks, or with HASM's (hole dilated) in the same crop; every region is the true one. PSNR: mean over "
        "hands of the PSNR of the region's mean squared error. Pooled PSNR: that of the squared error summed over all "
        "regions / the number of their pixels and channels. SSIM: its map averaged in the region, then over hands. "
        f"Hands without the region, which enter no mean: {holes}. Whole crops are those of hands with a hole.",
        "Joints: MPJPE over 21 joints, root = wrist, predictions in bone units times the true length wrist -> middle "
        "MCP. HASM's masks: crop and painting from HASM alone (the whole image where it found no hand).",
    )


def _add_masks(scores: Scores, seen: Examined, prior: Prior | None) -> None:
    true, found = with_occluded(seen.true_masks), with_occluded(seen.found_masks)
    for part in PARTS:
        truth = _both_hands(true, part)
        guesses = {HASM: _both_hands(found, part)}
        if prior:
            means = {name: _resized(prior.masks[name], true[name]) for name in true if name.endswith(part)}
            guesses[MEAN_MASK] = _both_hands(means, part)
        if part != "visible":
            guesses[AS_VISIBLE] = _both_hands(true, "visible") if part == "amodal" else torch.zeros_like(truth)
        for method, guess in guesses.items():
            scores.overlap[part, method].add(guess, truth)


def _add_images(scores: Scores, seen: Examined) -> None:
    crops = seen.crops
    covered = hidden(crops.amodal, crops.visible)[:, 0]
    removed = removal(crops.amodal, crops.other_visible, crops.other_arm)[:, 0]
    holes = covered | removed
    whole = holes.flatten(1).any(1)[:, None, None].expand_as(holes)
    regions = {"hole": holes, "hidden": covered, "removal": removed, "whole": whole}
    for method, image in {COPY: crops.image, **seen.composites}.items():
        similarity = ssim_map(image, crops.target)
        for name, region in regions.items():
            scores.region[name, method].add(image, crops.target, region, similarity)


def _add_joints(scores: Scores, seen: Examined, prior: Prior | None) -> None:
    relative, length = _normalised(seen.crops.joints_3d.double().cpu().numpy())
    guesses = {name: joints.double().cpu().numpy() for name, joints in seen.joints_3d.items()}
    if prior:
        guesses[MEAN_POSE] = np.broadcast_to(prior.pose, relative.shape)
    for method, joints in guesses.items():
        rooted = joints - joints[:, WRIST : WRIST + 1]
        scores.errors[method] += list(joint_errors(1000 * rooted * length[:, None, None], 1000 * relative))


def _mask_rows(scores: Scores) -> Iterator[Row]:
    for part, words in PARTS.items():
        ours = scores.overlap[part, HASM]
        for baseline in (MEAN_MASK, AS_VISIBLE) if part != "visible" else (MEAN_MASK,):
            other = scores.overlap[part, baseline]
            cases = len(ours.truth)
            yield Row(
                "masks", f"IoU, {words}, over the set", "", ours.pooled, baseline, other.pooled, "higher", cases,
                headline=baseline == MEAN_MASK and part != "visible",
            )  # fmt: skip
            yield Row(
                "masks", f"IoU, {words}, per mask", "", ours.per_sample, baseline, other.per_sample, "higher",
                cases - ours.empty,
            )  # fmt: skip


def _image_rows(scores: Scores) -> Iterator[Row]:
    for region, words in REGIONS.items():
        copied = scores.region[region, COPY]
        cases = len(copied.values) - copied.empty
        for method, masks in ((TRUE, "true masks"), (FOUND, "HASM's masks")):
            ours = scores.region[region, method]
            for name, unit, mine, other in (
                ("PSNR", "dB", ours.psnr, copied.psnr),
                ("pooled PSNR", "dB", ours.pooled_psnr, copied.pooled_psnr),
                ("SSIM", "", ours.ssim, copied.ssim),
            ):
                metric = f"{name} {words}, {masks}"
                headline = (name, region, method) == ("PSNR", "hole", TRUE)
                yield Row("images", metric, unit, mine, COPY, other, "higher", cases, headline)


def _pose_rows(scores: Scores) -> Iterator[Row]:
    occlusion = np.asarray(scores.occlusion)
    edges = pairwise(OCCLUSION_BINS)
    bins = {f"hidden {low:.0%}-{high:.0%}": (occlusion > low) & (occlusion <= high) for low, high in edges}
    groups = {"all hands": np.full(occlusion.shape, True), "hands with some occlusion": occlusion > 0}
    groups |= {"hidden 0%": occlusion == 0, **bins}
    for words, chosen in groups.items():
        for method in (ALONE, TRUE, FOUND, BOUND):
            ours, other = (_mean_error(scores, name, chosen) for name in (method, MEAN_POSE))
            headline = words == "all hands" and method in (ALONE, FOUND)
            metric = f"MPJPE, {method}, {words}"
            yield Row("pose", metric, "mm", ours, MEAN_POSE, other, "lower", int(chosen.sum()), headline)


def _mean_error(scores: Scores, method: str, chosen: NDArray[np.bool_]) -> float:
    if method not in scores.errors or not chosen.any():
        return float("nan")
    return mpjpe(np.stack(scores.errors[method])[chosen])


def _pictures(scores: Scores, dataset: AIHDataset, hdr: HDR, folder: Path) -> None:
    ious = np.asarray(scores.overlap["amodal", HASM].of_each()).reshape(-1, len(SIDES)).mean(1).tolist()
    psnrs = scores.region["hole", TRUE].psnr_of_each()
    errors = [float(np.nanmean(e)) if np.isfinite(e).any() else float("nan") for e in scores.errors[FOUND]]
    ranks = {
        "masks": [(f"{name}: IoU {ious[k]:.2f}", (scores.samples[k], 0)) for name, k in ranked(ious, "higher")],
        "images": [(f"{name}: {psnrs[k]:.1f} dB", scores.places[k]) for name, k in ranked(psnrs, "higher")],
        "pose": [(f"{name}: {errors[k]:.1f} mm", scores.places[k]) for name, k in ranked(errors, "lower")],
    }
    draw = {"masks": mask_row, "images": image_row, "pose": pose_row}
    for kind, ranking in tqdm(ranks.items(), desc="pictures", unit="picture"):
        looks = look(hdr, dataset, [place for _, place in ranking]) if ranking else []
        rows = [draw[kind](one, caption) for one, (caption, _) in zip(looks, ranking, strict=True)]
        save_rows(folder / f"{kind}.png", rows)


def _both_hands(masks: Mapping[str, Tensor], part: str) -> Tensor:
    """Right and left masks of each sample in turn, (2B,H,W)."""
    return torch.stack([masks[f"{side}_{part}"] for side in SIDES], 1).flatten(0, 1)


def _normalised(joints: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Joints (N,21,3) relative to the wrist, and the length (N,) from wrist to middle MCP."""
    relative = joints - joints[:, WRIST : WRIST + 1]
    return relative, np.linalg.norm(relative[:, MIDDLE_MCP], axis=-1)


def _resized(mask: NDArray[np.bool_], like: Tensor) -> Tensor:
    """One mask (H,W) at the size of masks (B,h,w), once for each of them, on their device."""
    pixels = torch.from_numpy(mask)[None, None].float().to(like.device)
    return (F.interpolate(pixels, like.shape[-2:], mode="bilinear", antialias=True)[0] > 0.5).expand_as(like)


def _portions(indices: Sequence[int], size: int) -> Iterator[list[int]]:
    for start in range(0, len(indices), size):
        yield list(indices[start : start + size])
