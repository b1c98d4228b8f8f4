"""The hands of known masks: painted alone, then their joints estimated."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from hdr_model.geometry import crop_affine, from_crop, rotate_from_crop, sample
from hdr_model.inference.views import ONE_VIEW, Views
from hdr_model.nets.hdrm import HDRM
from hdr_model.nets.normalisation import normalise
from hdr_model.nets.onnx_network import ONNXHDRM, ONNXSHPE
from hdr_model.nets.shpe import SHPE
from hdr_model.painting import HandInput, Painting, paint


class HandEstimator:
    """HDRM and SHPE: each hand alone and its joints, from known masks. ``size``: side in pixels of their crops."""

    def __init__(
        self,
        hdrm: HDRM | ONNXHDRM,
        shpe: SHPE | ONNXSHPE,
        size: int,
        device: str | torch.device = "cpu",
        bfloat16: bool = False,
        views: Views = ONE_VIEW,
    ) -> None:
        self.device = torch.device(device)
        self.hdrm, self.shpe = hdrm.to(self.device).eval(), shpe.to(self.device).eval()
        for network in (self.hdrm, self.shpe):  # convolutions on a CPU are 1.6 times as fast so
            network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.precision = "bfloat16" if bfloat16 else "float32"
        self.hand_size, self.views = size, views

    @property
    def autocast(self) -> torch.autocast:
        """The context of every network's work."""
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.precision == "bfloat16")

    def paint(self, hands: HandInput, dilate_hole: bool) -> Painting:
        """Each hand alone, as ``painting.paint`` says."""
        with self.autocast:
            return paint(self.hdrm, hands, dilate_hole)

    def estimate(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Joints of right hands in crops (N,3,S,S) in [0, 1]: (N,21,2) x, y px of the crop, (N,21,3) in bone units,
        and the highest value (N,21) of each one's heat map, 0 to 1. The mean over the angles of ``views``.
        """  # fmt: skip
        turns = [_turn(images, angle) for angle in self.views.angles]
        size = images.shape[-1]
        seen = torch.cat(
            [
                images if angle == 0 else sample(images, turn, size)
                for angle, turn in zip(self.views.angles, turns, strict=True)
            ]
        )
        affine = torch.cat(turns)
        with self.autocast:
            out = self.shpe(normalise(seen).contiguous(memory_format=torch.channels_last))
        stride = size / out.heatmap.shape[-1]
        uv = from_crop((_peaks(out.heatmap, out.uv) + 0.5) * stride - 0.5, affine)
        xyz = rotate_from_crop(out.xyz.float(), affine)
        peaks = out.heatmap.float().amax((2, 3)).clamp(0, 1)
        mean = [values.unflatten(0, (len(turns), len(images))).mean(0) for values in (uv, xyz, peaks)]
        return mean[0], mean[1], mean[2]


def _turn(images: Tensor, degrees: float) -> Tensor:
    """The map (N,2,3) from pixels of turned crops to those of ``images`` (N,3,S,S)."""
    count, size = len(images), images.shape[-1]
    middle, side = images.new_full((count, 2), (size - 1) / 2), images.new_full((count,), float(size))
    jitter = images.new_tensor([math.radians(degrees), 0.0, 0.0, 0.0]).expand(count, 4)
    plain = torch.zeros(count, dtype=torch.bool, device=images.device)
    return crop_affine(middle, side, size, plain, jitter, box_scale=1.0)


def _peaks(heatmap: Tensor, uv: Tensor) -> Tensor:
    """Maxima of heat maps (B,J,h,w), given their cells (B,J,2) row and column, as (B,J,2) x, y between the cells.

    A parabola through the logarithms of a cell and its two neighbours is exact for a Gaussian.
    """
    rows, columns = uv[..., 0], uv[..., 1]
    logs = F.pad(heatmap.float(), (1, 1, 1, 1), mode="replicate").clamp_min(1e-6).log().flatten(2)
    width = heatmap.shape[-1] + 2

    def at(row: Tensor, column: Tensor) -> Tensor:
        return logs.gather(2, ((row + 1) * width + column + 1)[..., None])[..., 0]

    centre = at(rows, columns)
    places = []
    for cell, before, after in (
        (columns, at(rows, columns - 1), at(rows, columns + 1)),
        (rows, at(rows - 1, columns), at(rows + 1, columns)),
    ):
        bend = (2 * centre - before - after).clamp_min(1e-6)
        places.append(cell + ((after - before) / (2 * bend)).clamp(-0.5, 0.5))
    return torch.stack(places, -1)
