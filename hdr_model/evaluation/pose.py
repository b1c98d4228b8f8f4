"""Joints: the protocols of the field side by side, by kind of sample, by joint, by occlusion, and by threshold."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np

from aih_gen.config import SIDES
from aih_gen.hands.joints import JOINT_NAMES, WRIST
from aih_gen.typing import Array, Mask
from hdr_model.evaluation.entry import ENTRY
from hdr_model.evaluation.metrics import aligned_errors, area_under, correct_share, joint_errors, mpjpe, place_hands
from hdr_model.evaluation.predict import ALONE, BOUND, FOUND, TRUE, UNPAINTED
from hdr_model.evaluation.protocols import HDR_OWN, P1, P3, PROTOCOLS, Protocol, bone_lengths, by_side, protocol_errors
from hdr_model.evaluation.published import GAIN_LINES, INTERHAND_LINES, TZIONAS_LINES, reduction
from hdr_model.evaluation.table import Curve, Grid, Line

METHODS = (ALONE, TRUE, UNPAINTED, FOUND, BOUND)
MEAN_POSE = "the mean pose"
OCCLUSION_BINS = (0.0, 0.2, 0.4, 0.6, 1.0)
"""Edges of the bins; a share that is an edge belongs to the bin below it, and unoccluded hands are apart."""
THRESHOLDS = np.arange(0.0, 50.5, 0.5)
"""Of PCK, in mm."""


@dataclass
class PoseScores:
    """The N hands of the set, and each method's predictions for them."""

    bone_length: float
    """Metres from wrist to middle MCP for protocols without scale."""
    sample: list[int] = field(default_factory=list)
    hand: list[int] = field(default_factory=list)
    interacting: list[bool] = field(default_factory=list)
    touching: list[bool] = field(default_factory=list)
    """The two hands' whole (amodal) masks share a pixel of the image."""
    occlusion: list[float] = field(default_factory=list)
    camera: list[Array] = field(default_factory=list)
    """(3,3) px."""
    true: list[Array] = field(default_factory=list)
    """(21,3) m, in the camera's axes and from its centre."""
    true_2d: list[Array] = field(default_factory=list)
    """(21,2) px of the image."""
    pixel: list[float] = field(default_factory=list)
    """Pixels of the photo in one of the image."""
    joints_3d: defaultdict[str, list[Array]] = field(default_factory=lambda: defaultdict(list))
    """method -> (21,3) in bone units, in the camera's axes."""
    joints_2d: defaultdict[str, list[Array]] = field(default_factory=lambda: defaultdict(list))
    """method -> (21,2) px of the image."""

    @property
    def methods(self) -> tuple[str, ...]:
        """Those of the tables: HDR's, and another program's."""
        return (*METHODS, *(method for method in self.joints_3d if method == ENTRY))

    def errors(self, method: str, protocol: Protocol) -> Array:
        """Error of each joint in mm, (N,21)."""
        if method == ENTRY and protocol == HDR_OWN:
            protocol = P3  # the same for joints that have a size, not a bone of length 1
        if method not in self.joints_3d:
            return np.full((len(self.sample), len(JOINT_NAMES)), np.nan)
        return protocol_errors(_stack(self.joints_3d[method]), _stack(self.true), protocol, self.bone_length)

    def by_side(self, method: str, protocol: Protocol) -> Array:
        """The same, (N,42), as InterNet averages them."""
        return by_side(self.errors(method, protocol), self.hand)

    def aligned(self, method: str) -> Array:
        """Error of each joint in mm after a similarity transform, (N,21)."""
        return aligned_errors(_stack(self.joints_3d[method]), 1000 * _stack(self.true))

    def splits(self) -> dict[str, Mask]:
        """SH: one hand in the sample (or its sequence); IH: two; Inter: of IH, those whose whole masks meet."""
        both, touching = np.asarray(self.interacting, bool), np.asarray(self.touching, bool)
        return {"SH": ~both, "IH": both, "ALL": np.ones_like(both), "Inter": both & touching}

    def wrist_errors(self, method: str, scaled: bool) -> Array:
        """MRRPE's parts: error in mm of the left wrist relative to the right one, for each sample with both.

        SHPE gives no position: each wrist is placed where its joints project to their predicted pixels, with a
        hand as long as the true one (``scaled``) or as an average adult's.
        """
        true, found = _stack(self.true), _stack(self.joints_3d[method])
        own = np.maximum(bone_lengths(found), 1e-9) if method == ENTRY else 1.0
        length = (bone_lengths(true) / own)[:, None, None] if scaled else self.bone_length
        relative = (found - found[:, WRIST : WRIST + 1]) * length
        wrists = place_hands(_stack(self.joints_2d[method]), relative, np.stack(self.camera))
        of_sample: defaultdict[int, dict[int, int]] = defaultdict(dict)
        for row, (sample, hand) in enumerate(zip(self.sample, self.hand, strict=True)):
            of_sample[sample][hand] = row
        pairs = [(rows[0], rows[1]) for rows in of_sample.values() if len(rows) == len(SIDES)]
        if not pairs:
            return np.empty(0)
        right, left = np.array(pairs).T
        offset = (wrists[left] - wrists[right]) - (true[left, WRIST] - true[right, WRIST])
        return 1000 * np.linalg.norm(offset, axis=1)


def pose_grids(scores: PoseScores) -> Iterator[Grid]:
    """Every table of joints."""
    if not scores.sample:
        return
    yield _protocol_grid(scores)
    yield _gain_grid(scores)
    yield _other_grid(scores)
    yield _pixel_grid(scores)
    for protocol in (P1, P3):
        yield _occlusion_grid(scores, protocol)
        yield _joint_grid(scores, protocol)


def pose_curves(scores: PoseScores) -> Iterator[Curve]:
    """PCK over thresholds without and with scale."""
    for protocol in (P1, P3) if scores.sample else ():
        for method in scores.methods:
            share = correct_share(scores.errors(method, protocol), THRESHOLDS)
            points = tuple(zip(THRESHOLDS.tolist(), share.tolist(), strict=True))
            if np.isfinite(share).all():
                yield Curve(f"PCK, {protocol.name}", method, points)


def pixel_errors(scores: PoseScores, method: str) -> Array:
    """Errors (N,21) in pixels of the photo that a sample was cut from; NaN where a joint is unknown."""
    errors = joint_errors(_stack(scores.joints_2d[method]), _stack(scores.true_2d))
    return errors * np.asarray(scores.pixel)[:, None]


def known_mean(errors: Array) -> float:
    """The mean of what is known; NaN where nothing is."""
    return float(np.nanmean(errors)) if np.isfinite(errors).any() else np.nan


def occlusion_groups(occlusion: Sequence[float]) -> dict[str, Mask]:
    """Hands by the share of them that is hidden; every hand with a known share is in one group."""
    shares = np.asarray(occlusion, np.float64)
    groups = {"hidden 0%": shares == 0}
    return groups | {f"hidden {low:.0%}-{high:.0%}": (shares > low) & (shares <= high)
                     for low, high in pairwise(OCCLUSION_BINS)}  # fmt: skip


def _protocol_grid(scores: PoseScores) -> Grid:
    splits = scores.splits()
    lines = []
    for protocol in PROTOCOLS:
        for method in scores.methods:
            errors = scores.by_side(method, protocol)
            lines.append(Line(f"{protocol.name} · {method}", tuple(mpjpe(errors[s]) for s in splits.values())))
    counts = ", ".join(f"{name} {int(chosen.sum())}" for name, chosen in splits.items())
    note = (
        "Mean over the joints of both hands (42) of the per-joint means, roots included, as InterNet's evaluation "
        f"takes it. Unscaled: bone units times {1000 * scores.bone_length:.0f} mm, an average adult's wrist to middle "
        f"MCP. Hands: {counts}. "
        "SH: one hand in the sample, IH: two (or as the source calls its sequence); Inter, which the paper does not "
        "define: hands of IH whose whole masks meet. Lines of true masks are of the hands that have some. Lines with "
        "[InterHand2.6M] are other people's, printed in the "
        "paper, on that data; HDR's there are with its own protocol, the last one here as far as is known."
    )
    return Grid("MPJPE in mm, by protocol", tuple(splits), (*lines, *INTERHAND_LINES), note)


def _gain_grid(scores: PoseScores) -> Grid:
    splits = scores.splits()
    lines = []
    for protocol in (P1, P3, HDR_OWN):
        for method, baseline in ((TRUE, ALONE), (FOUND, ALONE), (FOUND, UNPAINTED)):
            errors = scores.by_side(method, protocol)
            same_hands = np.where(np.isfinite(errors), scores.by_side(baseline, protocol), np.nan)
            before, after = ([mpjpe(e[splits[name]]) for name in ("IH", "ALL")] for e in (same_hands, errors))
            suffix = ", against its crops unpainted" if baseline == UNPAINTED else ""
            name = f"{protocol.name} · {method}{suffix}"
            lines.append(Line(name, (*before, *after, reduction(before[1], after[1]))))
    columns = ("without, IH", "without, ALL", "with HDR, IH", "with HDR, ALL", "reduction of ALL, %")
    note = (
        "Without: SHPE alone, given the true place and handedness of each hand, or SHPE in the crops of HASM's "
        "masks, which shows what painting brings apart from what finding costs. Lines with [InterHand2.6M] are the "
        "paper's, on that data."
    )
    return Grid("What HDR brings: MPJPE in mm", columns, (*lines, *GAIN_LINES), note)


def _other_grid(scores: PoseScores) -> Grid:
    lines, pairs = [], 0
    for method in scores.methods:
        curves = [correct_share(scores.errors(method, protocol), THRESHOLDS) for protocol in (P1, P3)]
        wrists = [scores.wrist_errors(method, scaled) for scaled in (False, True)]
        pairs = max(pairs, int(np.isfinite(wrists[0]).sum()))
        at_20 = [curve[THRESHOLDS.tolist().index(20.0)] for curve in curves]
        areas = [area_under(curve, THRESHOLDS) for curve in curves]
        placed = [known_mean(errors) for errors in wrists]
        lines.append(Line(method, (mpjpe(scores.aligned(method)), *at_20, *areas, *placed)))
    columns = ("PA-MPJPE, mm", "PCK at 20 mm, P1", "PCK at 20 mm, P3", "AUC 0-50 mm, P1", "AUC 0-50 mm, P3",
               "MRRPE, mm, unscaled", "MRRPE, mm, scaled")  # fmt: skip
    note = (
        "PA: after the best similarity transform of each hand. PCK: joints within the threshold / known joints, the "
        f"root included. MRRPE: left wrist relative to right wrist, {pairs} samples; each wrist is placed where the "
        "camera sees the joints found, with an average hand (unscaled) or the true bone length (scaled)."
    )
    return Grid("Other measures of joints", columns, tuple(lines), note, digits=3)


def _pixel_grid(scores: PoseScores) -> Grid:
    hand, lines = np.asarray(scores.hand), []
    for method in scores.methods:
        errors = pixel_errors(scores, method)
        lines.append(Line(method, tuple(known_mean(errors[chosen]) for chosen in (hand == 0, hand == 1, hand >= 0))))
    note = (
        "Mean over known joints, in pixels of the photo that a sample was cut from, or of the stored image where the "
        "source states none. [Tzionas]: other people's, on that data."
    )
    return Grid("End point error in the image: EPE in px", ("right", "left", "all"), (*lines, *TZIONAS_LINES), note)


def _occlusion_grid(scores: PoseScores, protocol: Protocol) -> Grid:
    methods = (*scores.methods, MEAN_POSE)
    errors = {method: scores.by_side(method, protocol) for method in methods}
    lines = [
        Line(f"{name} ({int(chosen.sum())} hands)", tuple(mpjpe(errors[method][chosen]) for method in methods))
        for name, chosen in occlusion_groups(scores.occlusion).items()
    ]
    return Grid(f"MPJPE in mm by share hidden, {protocol.name}", methods, tuple(lines))


def _joint_grid(scores: PoseScores, protocol: Protocol) -> Grid:
    means = np.stack([_column_means(scores.errors(method, protocol)) for method in scores.methods], 1)
    lines = tuple(Line(name, tuple(row)) for name, row in zip(JOINT_NAMES, means.tolist(), strict=True))
    return Grid(f"Error of each joint in mm, {protocol.name}", scores.methods, lines)


def _column_means(errors: Array) -> Array:
    known = np.isfinite(errors)
    return np.where(known.any(0), np.where(known, errors, 0.0).sum(0) / np.maximum(known.sum(0), 1), np.nan)


def _stack(arrays: Sequence[Array]) -> Array:
    return np.stack(arrays).astype(np.float64)
