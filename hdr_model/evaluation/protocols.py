"""How HDR is measured on held-out shards: what is compared with what, and the trivial guesses it is held against."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F
from tqdm import tqdm

from aih_gen.config import SIDES
from aih_gen.errors import AIHError
from aih_gen.hands.joints import MIDDLE_MCP, WRIST
from hdr_model.data.aih import AIHDataset
from hdr_model.data.batch import Batch
from hdr_model.device import choose_device, to_device, use_bfloat16
from hdr_model.evaluation.counts import Counted, count_hands, count_rows
from hdr_model.evaluation.examine import (
    ALONE,
    FIELDS,
    FOUND,
    TRUE,
    Examined,
    examine,
    known_hands,
    name_margin,
    named_masks,
    with_occluded,
)
from hdr_model.evaluation.judges import Judges
from hdr_model.evaluation.metrics import Overlap, RegionError, best_threshold, frechet_distance, mpjpe, ssim_map
from hdr_model.evaluation.page import write_page
from hdr_model.evaluation.pictures import image_row, look, mask_row, pose_row, ranked, save_rows
from hdr_model.evaluation.pose import (
    HDR_OWN,
    MEAN_POSE,
    METHODS,
    PoseScores,
    occlusion_groups,
    pose_curves,
    pose_grids,
)
from hdr_model.evaluation.table import Evaluation, Row
from hdr_model.inference.pipeline import HDR, MEAN_BONE_LENGTH
from hdr_model.nets.hasm import MIN_HAND_AREA, swap_hands_where

BATCH = 16
PARTS = {"amodal": "whole hand (amodal)", "occluded": "occluded part alone", "visible": "visible part"}
REGIONS = {
    "hole": "in the hole",
    "hidden": "in the de-occlusion region",
    "removal": "in the removal region",
    "whole": "whole crop",
}

HASM, COPY, MEAN_MASK, AS_VISIBLE = ("HASM", "copy the input", "the mean training mask", "amodal = true visible")
EITHER_NAME, COIN = "whichever name fits", "a coin"
TARGET = "the true target"
NO_JUDGES = Judges()


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
    unnamed: defaultdict[tuple[str, str], Overlap] = field(default_factory=lambda: defaultdict(Overlap))
    """The same, right and left exchanged in the samples that fit better so."""
    named: list[bool] = field(default_factory=list)
    """Of each pair of known hands: whether HASM's masks fit better under their names than exchanged."""
    counted: list[Counted] = field(default_factory=list)
    """Of each sample whose masks are known."""
    region: defaultdict[tuple[str, str], RegionError] = field(default_factory=lambda: defaultdict(RegionError))
    """(region, method) -> hands with a true target"""
    lpips: defaultdict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    """method -> hands with a true target and a hole; empty without the network"""
    features: defaultdict[str, list[NDArray[np.float32]]] = field(default_factory=lambda: defaultdict(list))
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


def evaluate(
    data: Path,
    weights: Path | None,
    out: Path,
    train_data: list[Path],
    device: str,
    limit: int | None,
    judges: Judges = NO_JUDGES,
) -> Evaluation:
    """Measure the networks in ``weights`` (None: the shipped ones) on the shards in ``data``; write and print tables.

    Args:
        train_data: the shards trained on, for the guesses that know their mean; with none those are left out ("-").
        limit: at most so many samples, spread evenly.
        judges: also measure painted crops.

    Raises:
        AIHError: a folder or a number is not what it should be.
    """
    check_request(out, limit)
    dataset = AIHDataset(data, FIELDS)
    where = choose_device(device)
    hdr = HDR.from_pretrained(weights, device=where, bfloat16=use_bfloat16(True, "auto", where))
    judges = judges.to(where)
    prior = training_prior(train_data) if train_data else None
    chosen = spread(len(dataset), limit)
    scores = Scores()
    for indices in tqdm(list(portions(chosen, BATCH)), desc="evaluate", unit="batch"):
        batch = to_device(dataset[indices], hdr.device)
        seen, stories = examine(hdr, batch), read_stories(dataset, indices, batch)
        add_scores(scores, indices, batch, seen, prior, stories, judges)
    settings = {"data": str(data), "weights": str(weights or "shipped"), "samples": str(len(chosen))}
    settings |= {"data_sha256": dataset.shards.digest(), "crop": str(hdr.hand_size), "precision": hdr.precision}
    evaluation = Evaluation(
        tuple(result_rows(scores)),
        result_notes(scores, hdr, len(chosen)),
        settings,
        tuple(pose_grids(scores.pose)),
        tuple(pose_curves(scores.pose)),
    )
    (out / "pictures").mkdir(parents=True, exist_ok=True)
    evaluation.write(out)
    _pictures(scores, dataset, hdr, out / "pictures")
    evaluation.print()
    print(write_page(evaluation, out))
    return evaluation


def check_request(out: Path, limit: int | None) -> None:
    """Raise AIHError for a folder or a limit that ``evaluate`` cannot work with."""
    if out.exists() and not out.is_dir():
        raise AIHError(f"{out} is a file; --out needs a folder")
    if limit is not None and limit < 1:
        raise AIHError(f"--limit should be at least 1, found {limit}")


def spread(length: int, limit: int | None) -> list[int]:
    """At most ``limit`` of ``length`` numbers, evenly."""
    return np.linspace(0, length - 1, min(length, limit or length)).round().astype(int).tolist()


@dataclass(frozen=True)
class Story:
    """What the source of a sample tells of it."""

    interacting: bool
    """It is of interacting hands: as the source says (``hand_type``), else where both are present."""
    pixel: float = 1.0
    """Pixels of the photo that it was cut from in one of its own."""


def read_stories(dataset: AIHDataset, indices: Sequence[int], batch: Batch) -> list[Story]:
    """The stories of some samples."""
    told = dataset.shards.read(indices, ("provenance",))["provenance"]
    both, side = batch["present"].bool().all(1).tolist(), batch["rgb"].shape[2]
    return [
        Story(one["hand_type"] == "interacting" if "hand_type" in one else b, one.get("crop_side", side) / side)
        for one, b in zip(told, both, strict=True)
    ]


def training_prior(data: Sequence[Path]) -> Prior:
    """The mean masks of the training set, each cut at the level that suits that set best, and its mean pose."""
    dataset = AIHDataset(list(data), ("masks", "joints_3d", "present"))
    sums: dict[str, Tensor] = {}
    poses: list[NDArray[np.float64]] = []
    for indices in tqdm(list(portions(range(len(dataset)), 64)), desc="training means", unit="batch"):
        batch = dataset[indices]
        for name, mask in with_occluded(named_masks(batch["masks"])).items():
            total = mask.float().sum(0)  # exact below 2**24, and several times as fast as integers
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


def add_scores(
    scores: Scores,
    indices: Sequence[int],
    batch: Batch,
    seen: Examined,
    prior: Prior | None,
    stories: Sequence[Story],
    judges: Judges = NO_JUDGES,
) -> None:
    """Take in one examined batch of the samples ``indices``, each with its story."""
    masked = known_hands(batch)[0]
    _add_masks(scores, seen, prior, ~batch["present"].bool() | masked, masked.all(1))
    _add_images(scores, seen, judges)
    _add_joints(scores.pose, indices, batch, seen, prior, stories)
    scores.samples += indices
    hands = list(zip(seen.sample.tolist(), seen.hand.tolist(), strict=True))
    scores.targets += [(indices[s], hand) for (s, hand), true in zip(hands, seen.alone.tolist(), strict=True) if true]
    scores.missed += sum(not bool(seen.found_masks[f"{SIDES[hand]}_amodal"][sample].any()) for sample, hand in hands)
    scores.unmasked += int((~seen.masked).sum())
    scores.unknown += int(batch["present"].sum()) - len(hands)


def result_rows(scores: Scores) -> Iterator[Row]:
    """The table."""
    yield from _mask_rows(scores)
    yield from _image_rows(scores)
    yield from _judges_rows(scores)
    yield from _pose_rows(scores)


def result_notes(scores: Scores, hdr: HDR, count: int) -> tuple[str, ...]:
    """How the figures were taken."""
    empty = ", ".join(f"{scores.overlap[part, HASM].empty} ({words})" for part, words in PARTS.items())
    holes = ", ".join(f"{scores.region[region, COPY].empty} ({words})" for region, words in REGIONS.items())
    hands = len(scores.pose.sample)
    return (
        f"{count} samples, {hands} hands; HASM found nothing of {scores.missed} of them. "
        f"{scores.unmasked} of them have no mask: their crop is twice the box of their joints, and they have no figure "
        f"for masks, images or painting with true masks. {scores.unknown} more hands have neither mask nor joints and "
        f"are not measured. Computed in {hdr.precision}.",
        "Masks: IoU of the foreground, right and left hands together. Over the set: sum of intersections / sum of "
        "unions. Per mask: mean of intersection / union over masks whose truth is not empty. Whichever name fits: "
        "right and left are exchanged in samples of which fewer pixels are wrong so; a pair is under the right names "
        "where more would be. "
        f"Empty truths: {empty}. A hand is told where HASM's mask covers at least {MIN_HAND_AREA:.1%} of the image.",
        f"Images: {hdr.hand_size} x {hdr.hand_size} crops around the true amodal box, colours in [0, 1]; painted with "
        "the true masks, or with HASM's (hole dilated) in the same crop; every region is the true one. PSNR: mean over "
        "hands of the PSNR of the region's mean squared error. Pooled PSNR: that of the squared error summed over all "
        "regions / the number of their pixels and channels. SSIM: its map averaged in the region, then over hands. "
        f"{hands - len(scores.targets)} hands have no picture that shows them alone, and no figure here. Hands without "
        f"the region, which enter no mean: {holes}. Whole crops are those of hands with a hole; LPIPS, where its "
        "weights are given, is VGG16's, mean over these; FID, where Inception's are, is between these and their true "
        "targets: it falls as hands are added, so compare equal numbers of them.",
        f"Joints: rows above are MPJPE after {HDR_OWN.name}. HASM's masks: crop and painting from HASM alone (the "
        "whole image where it found no hand). True masks: crop and painting from the truth.",
    )


def _add_masks(scores: Scores, seen: Examined, prior: Prior | None, known: Tensor, pairs: Tensor) -> None:
    """``known`` (B,2): the masks, empty ones too, are true; what is guessed elsewhere is neither right nor wrong.

    ``pairs`` (B,): both hands are there, and masked.
    """
    true, found = with_occluded(seen.true_masks), with_occluded(seen.found_masks)
    visible = {f"{side}_{kind}": true[f"{side}_visible"] for side in SIDES for kind in ("amodal", "visible")}
    guesses = {HASM: found, AS_VISIBLE: with_occluded(visible)}
    if prior:
        named = (name for name in prior.masks if name.endswith(tuple(PARTS)))
        guesses[MEAN_MASK] = {name: _resized(prior.masks[name], true[name]) for name in named}
    where = known.flatten()[:, None, None]
    margins = {method: name_margin(guess, true) for method, guess in guesses.items()}
    for method, guess in guesses.items():
        unnamed = swap_hands_where(guess, (margins[method] < 0) & known.all(1))
        for part in PARTS:
            truth = _both_hands(true, part)
            scores.overlap[part, method].add(_both_hands(guess, part) & where, truth)
            scores.unnamed[part, method].add(_both_hands(unnamed, part) & where, truth)
    scores.named += (margins[HASM] > 0)[pairs].tolist()
    whole = known.all(1)
    scores.counted += count_hands(*({name: mask[whole] for name, mask in masks.items()} for masks in (true, found)))


@torch.inference_mode()
def _add_images(scores: Scores, seen: Examined, judges: Judges) -> None:
    crops, known = seen.crops, seen.alone
    covered, removed = (region[known, 0] for region in (crops.masks.hidden, crops.masks.removal))
    holes = covered | removed
    whole = holes.flatten(1).any(1)[:, None, None].expand_as(holes)
    regions = {"hole": holes, "hidden": covered, "removal": removed, "whole": whole}
    target = crops.target[known]
    with_hole = whole[:, 0, 0]
    for method, images in {COPY: crops.image, **seen.composites}.items():
        image = images[known]
        similarity = ssim_map(image, target)
        for name, region in regions.items():
            scores.region[name, method].add(image, target, region, similarity)
        _add_judgements(scores, method, image[with_hole], target[with_hole], judges)
    if judges.inception and bool(with_hole.any()):
        scores.features[TARGET] += list(judges.inception(target[with_hole]).cpu().numpy())


def _add_judgements(scores: Scores, method: str, image: Tensor, target: Tensor, judges: Judges) -> None:
    if judges.lpips and len(image):
        scores.lpips[method] += judges.lpips(image, target).tolist()
    if judges.inception and len(image):
        scores.features[method] += list(judges.inception(image).cpu().numpy())


def _add_joints(
    pose: PoseScores,
    indices: Sequence[int],
    batch: Batch,
    seen: Examined,
    prior: Prior | None,
    stories: Sequence[Story],
) -> None:
    touching = (seen.true_masks["right_amodal"] & seen.true_masks["left_amodal"]).flatten(1).any(1).tolist()
    rows = seen.sample.tolist()
    pose.sample += [indices[row] for row in rows]
    pose.hand += seen.hand.tolist()
    pose.interacting += [stories[row].interacting for row in rows]
    pose.pixel += [stories[row].pixel for row in rows]
    pose.touching += [touching[row] for row in rows]
    pose.occlusion += batch["occlusion"][seen.sample, seen.hand].masked_fill(~seen.masked, torch.nan).tolist()
    pose.camera += list(batch["camera"][seen.sample].cpu().numpy())
    pose.true += list(batch["joints_3d"][seen.sample, seen.hand].cpu().numpy())
    pose.true_2d += list(batch["joints_2d"][seen.sample, seen.hand].cpu().numpy())
    for method, joints in seen.joints_3d.items():
        pose.joints_3d[method] += list(joints.float().cpu().numpy())
        pose.joints_2d[method] += list(seen.joints_2d[method].float().cpu().numpy())
    if prior:
        pose.joints_3d[MEAN_POSE] += [prior.pose * (-1 if hand else 1, 1, 1) for hand in seen.hand.tolist()]


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
            if baseline == MEAN_MASK:
                unnamed, guessed = (scores.unnamed[part, method].pooled for method in (HASM, MEAN_MASK))
                metric = f"IoU, {words}, over the set, {EITHER_NAME}"
                yield Row("masks", metric, "", unnamed, baseline, guessed, "higher", cases)
            yield Row(
                "masks", f"IoU, {words}, per mask", "", ours.per_sample, baseline, other.per_sample, "higher",
                cases - ours.empty,
            )  # fmt: skip
    share = float(np.mean(scores.named)) if scores.named else float("nan")
    yield Row("masks", "pairs under the right names", "", share, COIN, 0.5, "higher", len(scores.named))
    yield from count_rows(scores.counted)


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


def _judges_rows(scores: Scores) -> Iterator[Row]:
    methods = ((TRUE, "true masks"), (FOUND, "HASM's masks"))
    for method, masks in methods if scores.lpips else ():
        ours, other = (float(np.mean(scores.lpips[name])) for name in (method, COPY))
        yield Row("images", f"LPIPS whole crop, {masks}", "", ours, COPY, other, "lower", len(scores.lpips[method]))
    if scores.features:
        sets = {name: np.stack(features) for name, features in scores.features.items()}
        copied = frechet_distance(sets[COPY], sets[TARGET])
        for method, masks in methods:
            ours = frechet_distance(sets[method], sets[TARGET])
            yield Row("images", f"FID whole crop, {masks}", "", ours, COPY, copied, "lower", len(sets[method]))


def _pose_rows(scores: Scores) -> Iterator[Row]:
    pose = scores.pose
    if not pose.sample:
        return
    occlusion = np.asarray(pose.occlusion)
    everyone = {"all hands": np.full(occlusion.shape, True), "hands with some occlusion": occlusion > 0}
    errors = {method: pose.by_side(method, HDR_OWN) for method in (*METHODS, MEAN_POSE)}
    for words, chosen in (everyone | occlusion_groups(pose.occlusion)).items():
        for method in METHODS:
            ours, other = (mpjpe(errors[name][chosen]) for name in (method, MEAN_POSE))
            headline = words == "all hands" and method in (ALONE, FOUND)
            metric = f"MPJPE, {method}, {words}"
            yield Row("pose", metric, "mm", ours, MEAN_POSE, other, "lower", int(chosen.sum()), headline)


def _pictures(scores: Scores, dataset: AIHDataset, hdr: HDR, folder: Path) -> None:
    of_hands = np.asarray(scores.overlap["amodal", HASM].of_each()).reshape(-1, len(SIDES))
    ious = [float(np.nanmean(one)) if np.isfinite(one).any() else float("nan") for one in of_hands]
    psnrs = scores.region["hole", TRUE].psnr_of_each()
    pose = scores.pose
    by_hand = pose.errors(FOUND, HDR_OWN) if pose.sample else np.empty((0, 1))
    errors = [float(np.nanmean(e)) if np.isfinite(e).any() else float("nan") for e in by_hand]
    places = list(zip(pose.sample, pose.hand, strict=True))
    ranks = {
        "masks": [(f"{name}: IoU {ious[k]:.2f}", (scores.samples[k], 0)) for name, k in ranked(ious, "higher")],
        "images": [(f"{name}: {psnrs[k]:.1f} dB", scores.targets[k]) for name, k in ranked(psnrs, "higher")],
        "pose": [(f"{name}: {errors[k]:.1f} mm", places[k]) for name, k in ranked(errors, "lower")],
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


def portions(indices: Sequence[int], size: int) -> Iterator[list[int]]:
    """``indices`` in lists of ``size``."""
    for start in range(0, len(indices), size):
        yield list(indices[start : start + size])
