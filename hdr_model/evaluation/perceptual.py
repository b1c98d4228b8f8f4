"""Perceptual metrics of painted crops: LPIPS and FID, with the user's weights."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch

from hdr_model.evaluation.lpips import LPIPS
from hdr_model.nets.inception import Inception


@dataclass(frozen=True, eq=False)
class PerceptualMetrics:
    """The metrics whose weights were given."""

    lpips: LPIPS | None = None
    inception: Inception | None = None
    """Gives FID its features."""

    @classmethod
    def from_files(cls, vgg: Path | None, linear: Path | None, inception: Path | None) -> PerceptualMetrics:
        """LPIPS of ``vgg`` and ``linear`` where both are given (``LPIPS.from_files``), Inception of its file.

        Raises:
            AssetError: one of them is another file.
        """
        lpips = LPIPS.from_files(vgg, linear) if vgg and linear else None
        return cls(lpips, Inception.from_file(inception) if inception else None)

    def to(self, device: torch.device) -> PerceptualMetrics:
        """The same on another device."""
        return PerceptualMetrics(
            self.lpips.to(device) if self.lpips else None, self.inception.to(device) if self.inception else None
        )
