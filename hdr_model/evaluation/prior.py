"""Baselines that use no image: the mean masks and the mean pose of a training set."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from torch import Tensor
from tqdm import tqdm

from aih_gen.config import SIDES
from aih_gen.hands.joints import MIDDLE_MCP, WRIST
from aih_gen.typing import Array, Mask
from hdr_model.data.aih import AIHDataset
from hdr_model.evaluation.metrics import best_threshold
from hdr_model.evaluation.predict import named_masks, with_occluded
from hdr_model.evaluation.subsets import portions


@dataclass(frozen=True, eq=False)
class Prior:
    """Means over the training set, as baselines that use no image."""

    masks: dict[str, Mask]  # right_amodal, right_occluded, right_visible, left_...: (H,W)
    pose: Array  # (21,3) of a right hand, wrist-relative, in bone units


def training_prior(data: Sequence[Path]) -> Prior:
    """The mean masks of the training set, each at its best threshold on that set, and its mean pose."""
    dataset = AIHDataset(list(data), ("masks", "joints_3d", "present"))
    sums: dict[str, Tensor] = {}
    poses: list[Array] = []
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


def _normalised(joints: Array) -> tuple[Array, Array]:
    """Joints (N,21,3) relative to the wrist, and the length (N,) from wrist to middle MCP."""
    relative = joints - joints[:, WRIST : WRIST + 1]
    return relative, np.linalg.norm(relative[:, MIDDLE_MCP], axis=-1)
