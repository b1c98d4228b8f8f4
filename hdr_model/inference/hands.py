"""The hands of known masks: painted alone, then their joints estimated."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from hdr_model.nets.hdrm import HDRM
from hdr_model.nets.normalisation import normalise
from hdr_model.nets.shpe import SHPE
from hdr_model.painting import HandInput, Painting, paint


class HandEstimator:
    """HDRM and SHPE: each hand alone and its joints, from known masks. ``size``: side in pixels of their crops."""

    def __init__(
        self, hdrm: HDRM, shpe: SHPE, size: int, device: str | torch.device = "cpu", bfloat16: bool = False
    ) -> None:
        self.device = torch.device(device)
        self.hdrm, self.shpe = hdrm.to(self.device).eval(), shpe.to(self.device).eval()
        for network in (self.hdrm, self.shpe):  # convolutions on a CPU are 1.6 times as fast so
            network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.precision = "bfloat16" if bfloat16 else "float32"
        self.hand_size = size

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
        and the highest value (N,21) of each one's heat map, 0 to 1.
        """  # fmt: skip
        with self.autocast:
            out = self.shpe(normalise(images).contiguous(memory_format=torch.channels_last))
        stride = images.shape[-1] / out.heatmap.shape[-1]
        peaks = out.heatmap.float().amax((2, 3)).clamp(0, 1)
        return (_peaks(out.heatmap, out.uv) + 0.5) * stride - 0.5, out.xyz.float(), peaks


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
