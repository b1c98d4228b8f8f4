"""The table: each of HDR's figures beside a trivial guess, and notes on their protocol."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import product

import numpy as np

from hdr_model.evaluation.counts import count_rows
from hdr_model.evaluation.entry import ENTRY
from hdr_model.evaluation.inpainting import TELEA
from hdr_model.evaluation.metrics import frechet_distance, mpjpe
from hdr_model.evaluation.pose import MEAN_POSE, METHODS, known_mean, occlusion_groups, pixel_errors
from hdr_model.evaluation.predict import ALONE, FOUND, TRUE
from hdr_model.evaluation.protocols import HDR_OWN
from hdr_model.evaluation.row import Row
from hdr_model.evaluation.scores import AS_VISIBLE, COPY, HASM, MEAN_MASK, TARGET, Scores
from hdr_model.inference.pipeline import HDR
from hdr_model.nets.hasm import MIN_HAND_AREA

PARTS = {"amodal": "whole hand (amodal)", "occluded": "occluded part alone", "visible": "visible part"}
REGIONS = {
    "hole": "in the hole",
    "hidden": "in the de-occlusion region",
    "removal": "in the removal region",
    "whole": "whole crop",
}
PAINTED = {TRUE: "true masks", FOUND: "HASM's masks"}
BEST_HANDEDNESS, COIN = "better handedness", "a coin"


def result_rows(scores: Scores) -> Iterator[Row]:
    """The table."""
    yield from _mask_rows(scores)
    yield from _image_rows(scores)
    yield from _perceptual_rows(scores)
    yield from _pose_rows(scores)


def result_notes(scores: Scores, hdr: HDR, count: int) -> tuple[str, ...]:
    """Denominators, empty cases and settings of the figures."""
    empty = ", ".join(f"{scores.overlap[part, HASM].empty} ({words})" for part, words in PARTS.items())
    holes = ", ".join(f"{scores.region[region, COPY].empty} ({words})" for region, words in REGIONS.items())
    hands = len(scores.pose.sample)
    return (
        f"{count} samples, {hands} hands; HASM found nothing of {scores.missed} of them. "
        f"{scores.unmasked} of them have no mask: their crop is twice the box of their joints, and they have no figure "
        f"for masks, images or painting with true masks. {scores.unknown} more hands have neither mask nor joints and "
        f"are not measured. Computed in {hdr.precision}.",
        "Masks: IoU of the foreground, right and left hands together. Over the set: sum of intersections / sum of "
        "unions. Per mask: mean of intersection / union over masks whose truth is not empty. Better handedness: "
        "right and left are swapped in samples of which fewer pixels are wrong so; the handedness of a pair is right "
        "where more would be. "
        f"Empty truths: {empty}. A hand is detected where HASM's mask covers {MIN_HAND_AREA:.1%} of the image or more.",
        f"Images: {hdr.hand_size} x {hdr.hand_size} crops around the true amodal box, colours in [0, 1]; painted with "
        "the true masks, or with HASM's (hole dilated) in the same crop; every region is the true one. PSNR: mean over "
        "hands of the PSNR of the region's mean squared error. Pooled PSNR: that of the squared error summed over all "
        "regions / the number of their pixels and channels. SSIM: its map averaged in the region, then over hands. "
        f"{hands - len(scores.targets)} hands have no image that shows them alone, and no figure here. Hands without "
        f"the region, which enter no mean: {holes}. Whole crops are those of hands with a hole; LPIPS, where its "
        "weights are given, is VGG16's, mean over these; FID, where Inception's are, is between these and their true "
        "targets: it falls as hands are added, so compare equal numbers of them.",
        f"Joints: rows above are MPJPE after {HDR_OWN.name}. HASM's masks: crop and painting from HASM alone (the "
        "whole image where it found no hand). True masks: crop and painting from the truth.",
    )


def _mask_rows(scores: Scores) -> Iterator[Row]:
    for part, words in PARTS.items():
        ours = scores.overlap[part, HASM]
        guesses = (MEAN_MASK, AS_VISIBLE) if part != "visible" else (MEAN_MASK,)
        for baseline in (*guesses, *_given(scores.overlap, part, ENTRY)):
            other = scores.overlap[part, baseline]
            cases = len(ours.truth)
            yield Row(
                "masks", f"IoU, {words}, over the set", "", ours.pooled, baseline, other.pooled, "higher", cases,
                headline=baseline == MEAN_MASK and part != "visible", detail=baseline == AS_VISIBLE,
            )  # fmt: skip
            if baseline != AS_VISIBLE:
                unnamed, guessed = (scores.unnamed[part, method].pooled for method in (HASM, baseline))
                metric = f"IoU, {words}, over the set, {BEST_HANDEDNESS}"
                yield Row("masks", metric, "", unnamed, baseline, guessed, "higher", cases)
            yield Row(
                "masks", f"IoU, {words}, per mask", "", ours.per_sample, baseline, other.per_sample, "higher",
                cases - ours.empty, detail=True,
            )  # fmt: skip
    shares = {name: float(np.mean(named)) for name, named in scores.named.items() if named}
    for baseline, other_share in {COIN: 0.5, ENTRY: shares.get(ENTRY)}.items():
        if other_share is not None:
            ours_share, cases = shares.get(HASM, float("nan")), len(scores.named[HASM])
            yield Row("masks", "handedness accuracy of pairs", "", ours_share, baseline, other_share, "higher", cases)
    yield from count_rows(scores.counted)


def _image_rows(scores: Scores) -> Iterator[Row]:
    for region, words in REGIONS.items():
        baselines = (COPY, *_given(scores.region, region, TELEA, ENTRY))
        for (method, masks), baseline in product(PAINTED.items(), baselines):
            ours, guess = (scores.region[region, name] for name in (method, baseline))
            cases = len(guess.values) - guess.empty
            for name, unit, mine, other in (
                ("PSNR", "dB", ours.psnr, guess.psnr),
                ("pooled PSNR", "dB", ours.pooled_psnr, guess.pooled_psnr),
                ("SSIM", "", ours.ssim, guess.ssim),
            ):
                metric = f"{name} {words}, {masks}"
                headline = (name, region, method, baseline) == ("PSNR", "hole", TRUE, COPY)
                detail = region != "hole" or name == "pooled PSNR"
                yield Row("images", metric, unit, mine, baseline, other, "higher", cases, headline, detail)


def _perceptual_rows(scores: Scores) -> Iterator[Row]:
    means = {name: float(np.mean(values)) for name, values in scores.lpips.items()}
    sets = {name: np.stack(features) for name, features in scores.features.items()}
    distances = {name: frechet_distance(features, sets[TARGET]) for name, features in sets.items() if name != TARGET}
    for measure, of in (("LPIPS", means), ("FID", distances)):
        baselines = [name for name in (COPY, TELEA, ENTRY) if name in of]
        for (method, masks), baseline in product(PAINTED.items(), baselines):
            cases = len((scores.lpips if of is means else scores.features)[method])
            metric = f"{measure} whole crop, {masks}"
            yield Row("images", metric, "", of[method], baseline, of[baseline], "lower", cases)


def _pose_rows(scores: Scores) -> Iterator[Row]:
    pose = scores.pose
    if not pose.sample:
        return
    occlusion = np.asarray(pose.occlusion)
    everyone = {"all hands": np.full(occlusion.shape, True), "hands with some occlusion": occlusion > 0}
    baselines = [MEAN_POSE, *(name for name in pose.joints_3d if name == ENTRY)]
    errors = {method: pose.by_side(method, HDR_OWN) for method in (*METHODS, *baselines)}
    groups = occlusion_groups(pose.occlusion)
    for words, chosen in (everyone | groups).items():
        for method, baseline in product(METHODS, baselines):
            ours, other = (mpjpe(errors[name][chosen]) for name in (method, baseline))
            headline = words == "all hands" and method in (ALONE, FOUND) and baseline == MEAN_POSE
            metric = f"MPJPE, {method}, {words}"
            cases = int(chosen.sum())
            yield Row("pose", metric, "mm", ours, baseline, other, "lower", cases, headline, words in groups)
    for method in METHODS:
        errors_2d = pixel_errors(pose, method)
        known, detail = int(np.isfinite(errors_2d).any(1).sum()), method not in (ALONE, FOUND)
        metric = f"EPE in the image, {method}, all hands"
        yield Row("pose", metric, "px", known_mean(errors_2d), MEAN_POSE, np.nan, "lower", known, detail=detail)


def _given(scores: Mapping[tuple[str, str], object], part: str, *methods: str) -> list[str]:
    return [method for method in methods if (part, method) in scores]
