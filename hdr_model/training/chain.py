"""The networks that come before the trained one, frozen: HDRM and SHPE learn behind them, as HDR uses them."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from aih_gen.compose.sample import MASK_BITS
from aih_gen.config import SIDES
from hdr_model.data.batch import Batch
from hdr_model.data.crops import HandCrops
from hdr_model.nets.hasm import HASM, exclusive, margins
from hdr_model.nets.hdrm import HDRM
from hdr_model.nets.normalisation import normalise
from hdr_model.painting import HandInput, paint
from hdr_model.weights import find_weights, trained_size

MIN_OVERLAP = 0.3
"""A found mask that shares less than this (IoU) with the true one is of something else: nothing is to be learnt."""


class FoundMasks:
    """A trained HASM, whose masks stand in for the true ones.

    Args:
        folder: trained weights, as ``find_weights`` reads it.

    Raises:
        AssetError: there are none.
    """

    def __init__(self, folder: Path, device: torch.device) -> None:
        weights = find_weights(folder, "hasm")
        self.size = trained_size(weights)
        self.hasm = HASM.from_pretrained(weights).to(device).requires_grad_(False)

    @torch.no_grad()
    def replace(self, batch: Batch, hand: Tensor, wanted: Tensor) -> Batch:
        """The batch with HASM's masks in the samples that are ``wanted`` (B,) bool.

        Where HASM's whole mask of hand ``hand`` (B,) does not fit the true one, the true masks stay.
        """
        images = batch["rgb"][:, 0].permute(0, 3, 1, 2).float() / 255
        small = F.interpolate(images, (self.size, self.size), mode="bilinear", antialias=True)
        output = self.hasm(normalise(small).contiguous(memory_format=torch.channels_last))
        size = batch["masks"].shape[-2:]
        resized = {
            name: F.interpolate(margin[:, None], size, mode="bilinear")[:, 0]
            for name, margin in margins(output).items()
        }
        found = torch.zeros_like(batch["masks"])
        for name, mask in exclusive(resized).items():
            side, kind = name.split("_")
            found |= mask.to(torch.uint8) * MASK_BITS[f"{kind}_{side}"]
        bit = torch.tensor([MASK_BITS[f"amodal_{side}"] for side in SIDES], dtype=torch.uint8, device=found.device)
        found_mask, true_mask = ((masks & bit[hand][:, None, None]) != 0 for masks in (found, batch["masks"]))
        overlap = (found_mask & true_mask).sum((1, 2)) / (found_mask | true_mask).sum((1, 2)).clamp_min(1)
        replaced = wanted & (overlap >= MIN_OVERLAP)
        return {**batch, "masks": torch.where(replaced[:, None, None], found, batch["masks"])}


class Painter:
    """A trained HDRM that makes hands alone from crops of both.

    Args:
        folder: trained weights, as ``find_weights`` reads it.

    Raises:
        AssetError: there are none.
    """

    def __init__(self, folder: Path, device: torch.device) -> None:
        self.hdrm = HDRM.from_pretrained(find_weights(folder, "hdrm"))
        self.hdrm = self.hdrm.to(device, memory_format=torch.channels_last).requires_grad_(False)  # type: ignore[call-overload]

    @torch.no_grad()
    def paint(self, crops: HandCrops, rows: Tensor) -> Tensor:
        """Crops ``rows`` (N,) int64 as HDR shows them to SHPE: (N,3,S,S) in [0, 1]."""
        hands = HandInput(crops.image[rows], crops.masks.map(lambda mask: mask[rows]), crops.affine[rows])
        return paint(self.hdrm, hands, dilate_hole=True).composite
