"""Hand models fitted to the estimated joints: errors of their vertices; whether their joints are nearer the truth."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from aih_gen.typing import Array
from hdr_model.data.aih import AIHDataset
from hdr_model.data.batch import Batch
from hdr_model.evaluation.metrics import aligned_errors, joint_errors, mpjpe
from hdr_model.evaluation.predict import FOUND, TRUE, Predictions
from hdr_model.evaluation.protocols import HDR_OWN, bone_lengths, by_side, protocol_errors
from hdr_model.evaluation.row import Row
from hdr_model.evaluation.table import Grid, Line
from hdr_model.fitting.fit import Observations
from hdr_model.fitting.hands import HandFitter, pair_rows, pose_hands
from hdr_model.inference.pipeline import MEAN_BONE_LENGTH

MESH_FIELDS = ("pose", "betas", "transl")
"""Fields of a shard that true vertices are made of."""
METHODS = (TRUE, FOUND)
WITHOUT = "the joints it was fitted to"


@dataclass
class _Errors:
    """Of the hands of one method, in mm."""

    hand: list[int] = field(default_factory=list)
    joints: dict[str, list[Array]] = field(default_factory=lambda: defaultdict(list))
    """``before`` and ``after`` the fit, and the same ``aligned``: (21,)."""
    vertices: list[float] = field(default_factory=list)
    vertices_aligned: list[float] = field(default_factory=list)
    distance: list[float] = field(default_factory=list)
    """Mean over the joints between fit and what it was fitted to."""


class MeshScores:
    """The fits of a set."""

    def __init__(self, hand_model: str | Path, dataset: AIHDataset) -> None:
        """``hand_model``: as ``aih_gen.load_hand_model`` takes it; true vertices are known where the shards have it.

        Raises:
            AssetError: no such file, or not a MANO file.
        """
        self.fitter = HandFitter(hand_model)
        model = self.fitter.models[0]
        made_with = [made.get("hand_model") or {} for made in dataset.shards.configurations().values()]
        self.same_model = all(
            of.get("name") == model.name and of.get("sha256", model.sha256) == model.sha256 for of in made_with
        )
        self.errors: defaultdict[str, _Errors] = defaultdict(_Errors)

    def add(self, batch: Batch, predicted: Predictions) -> None:
        """Fit the hands of a batch's predictions."""
        for method in METHODS:
            known = predicted.joints_3d[method].isfinite().all(-1).all(-1)
            known &= batch["camera"][predicted.sample].isfinite().all(-1).all(-1)
            known &= predicted.joints_2d[method].isfinite().all(-1).all(-1)
            if bool(known.any()):
                self._add(self.errors[method], batch, predicted, method, known.nonzero()[:, 0])

    def _add(self, errors: _Errors, batch: Batch, predicted: Predictions, method: str, rows: Tensor) -> None:
        sample, hand = predicted.sample[rows], predicted.hand[rows]
        joints_3d = (predicted.joints_3d[method][rows] * MEAN_BONE_LENGTH).double()
        joints_3d = joints_3d - joints_3d[:, :1]
        seen = Observations(
            hand.cpu(),
            predicted.joints_2d[method][rows].cpu().double(),
            joints_3d.cpu(),
            predicted.joint_confidence[method][rows].cpu().double(),
            batch["camera"][sample].cpu().double(),
        )
        fitted = self.fitter(seen, pair_rows(sample.tolist(), hand.tolist()))
        before, after = seen.joints_3d.numpy(), fitted.joints.double().numpy()
        true = batch["joints_3d"][sample, hand].cpu().double().numpy()
        errors.hand += hand.tolist()
        for name, joints in (("before", before), ("after", after)):
            errors.joints[name] += list(protocol_errors(joints / MEAN_BONE_LENGTH, true, HDR_OWN, MEAN_BONE_LENGTH))
            errors.joints[f"{name} aligned"] += list(aligned_errors(joints, 1000 * true))
        errors.distance += list(1000 * joint_errors(after - after[:, :1], before).mean(1))
        true_vertices = self._true_vertices(batch, sample, hand)
        scale = (bone_lengths(true) / MEAN_BONE_LENGTH)[:, None, None]
        vertices = fitted.vertices.double().numpy()
        rooted = scale * (vertices - after[:, :1]), true_vertices - true[:, :1]
        errors.vertices += list(1000 * joint_errors(*rooted).mean(1))
        errors.vertices_aligned += list(aligned_errors(vertices, 1000 * true_vertices).mean(1))

    def _true_vertices(self, batch: Batch, sample: Tensor, hand: Tensor) -> Array:
        """(N,V,3) m; NaN where unknown."""
        if not self.same_model:
            return np.full((len(hand), self.fitter.models[0].num_vertices, 3), np.nan)
        pose, betas, transl = (batch[name][sample, hand].cpu().float() for name in MESH_FIELDS)
        with torch.no_grad():
            return pose_hands(self.fitter.models, hand.cpu(), pose, betas, transl)[0].double().numpy()

    def rows(self) -> Iterator[Row]:
        """Rows that compare fitted joints with the estimated ones."""
        for method, errors in self.errors.items():
            after, before = (_mpjpe(errors, name) for name in ("after", "before"))
            yield Row("pose", f"MPJPE, hand model fitted to {method}, all hands", "mm", after, WITHOUT, before, "lower",
                      len(errors.hand))  # fmt: skip

    def grids(self) -> Iterator[Grid]:
        """Everything measured."""
        names = ("before", "after", "before aligned", "after aligned")
        lines = tuple(
            Line(
                f"{method} ({len(errors.hand)} hands)",
                (*(_mpjpe(errors, name) for name in names), _mean(errors.vertices), _mean(errors.vertices_aligned),
                 _mean(errors.distance)),
            )
            for method, errors in self.errors.items()
        )  # fmt: skip
        columns = ("MPJPE of SHPE", "MPJPE of the fit", "PA-MPJPE of SHPE", "PA-MPJPE of the fit", "MPVPE", "PA-MPVPE",
                   "joints, fit to SHPE")  # fmt: skip
        unknown = "" if self.same_model else " The shards are of another hand model, so true vertices are unknown."
        note = (
            f"The hand model ({self.fitter.models[0].name}) fitted to the joints in 2D and 3D before the true camera, "
            f"hands of a pair kept apart. MPJPE and MPVPE: {HDR_OWN.name}; PA: after the best similarity transform of "
            f"each hand; fit to SHPE: wrists laid on each other, bones of {1000 * MEAN_BONE_LENGTH:.0f} mm.{unknown}"
        )
        if lines:
            yield Grid("Hands as meshes, mm", columns, lines, note)


def _mpjpe(errors: _Errors, name: str) -> float:
    return mpjpe(by_side(np.stack(errors.joints[name]), errors.hand))


def _mean(values: Sequence[float]) -> float:
    known = np.asarray(values)[np.isfinite(values)]
    return float(known.mean()) if len(known) else float("nan")
