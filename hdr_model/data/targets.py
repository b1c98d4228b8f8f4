"""SHPE's targets: heat maps, and joints relative to their parents and to the wrist."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from aih_gen.hands.joints import BONES, MIDDLE_MCP, WRIST

HEAT_SIGMA = 2.5 / 64
"""Standard deviation of the heat maps' Gaussian, in sides of the map (Zhou et al. 2020: 2.5 px of 64)."""
MIN_HEAT_SIGMA = 1.75
"""In pixels of the map: a narrower Gaussian, on the maps of small inputs, is too little to learn from."""


@dataclass(frozen=True, eq=False)
class PoseTargets:
    """The targets of SHPE for one right hand. M is the side of the maps."""

    heatmap: Tensor  # (B,21,M,M) in [0, 1]
    delta: Tensor  # (B,21,3) joint minus its parent joint, 0 for the wrist, in lengths of wrist -> middle MCP
    location: Tensor  # (B,21,3) joint minus wrist, in the same unit
    valid: Tensor  # (B,21) bool, the joint is known and lies in the crop


def pose_targets(joints_2d: Tensor, joints_3d: Tensor, size: int, map_size: int) -> PoseTargets:
    """Targets from joints (B,21,2) in pixels of a crop of side ``size`` and (B,21,3) in any unit; NaN is unknown."""
    on_map = (joints_2d + 0.5) * (map_size / size) - 0.5
    inside = ((on_map > -0.5) & (on_map < map_size - 0.5)).all(-1)
    relative = joints_3d - joints_3d[:, WRIST : WRIST + 1]
    location = relative / relative[:, MIDDLE_MCP].norm(dim=-1)[:, None, None]
    delta = location - location[:, _parents(joints_3d.device)]
    valid = inside & location.isfinite().all(-1)
    return PoseTargets(
        heatmap=_gaussians(on_map, map_size, max(HEAT_SIGMA * map_size, MIN_HEAT_SIGMA)) * valid[..., None, None],
        delta=delta.nan_to_num(0.0, 0.0, 0.0) * valid[..., None],
        location=location.nan_to_num(0.0, 0.0, 0.0) * valid[..., None],
        valid=valid,
    )


def _gaussians(centres: Tensor, size: int, sigma: float) -> Tensor:
    """Gaussians (B,K,size,size) of height 1 at ``centres`` (B,K,2) x, y; 0 where the centre is NaN."""
    steps = torch.arange(size, device=centres.device, dtype=centres.dtype)
    x, y = (torch.exp(-((steps - centres[..., axis, None]) ** 2) / (2 * sigma**2)) for axis in (0, 1))
    return (y[..., :, None] * x[..., None, :]).nan_to_num(0.0)


def _parents(device: torch.device) -> Tensor:
    parents = [WRIST] * (len(BONES) + 1)
    for parent, child in BONES:
        parents[child] = parent
    return torch.tensor(parents, device=device)
