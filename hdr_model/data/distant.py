"""Images in which hands are small: a sample, or only its hands and arms, pasted smaller over another background.

AIH's hands are as large as in a photo that was taken of them. Whoever looks at a whole photo meets smaller ones.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from aih_gen.compose.sample import MASK_BITS
from hdr_model.data.batch import Batch
from hdr_model.data.rng import SampleRng
from hdr_model.geometry import middles, nearest_bits, sample

WIDTHS = (1.25, 4.0)
"""Side of the image that is made / side of what is pasted into it."""
ROTATION = 15.0
"""Degrees, at most."""
REMOVED = 0.5
"""Share of a hand's pixels that have changed in a target which truly shows the background without it."""
EVERY = 4
"""Rows and columns from one pixel that is compared to the next."""
_SHOWN = sum(MASK_BITS[f"{kind}_{side}"] for kind in ("visible", "arm") for side in ("right", "left"))


def distant_jitter(rng: SampleRng) -> Tensor:
    """(B,4) as ``Jitter.draw`` gives them: crops that hold the whole image and much beside it."""
    low, high = map(math.log, WIDTHS)
    angle, width, across, down = rng.uniform(4).unbind(1)
    width = low + (high - low) * width
    reach = (width.exp() - 1) / 2
    turn = (2 * angle - 1) * math.radians(ROTATION)
    return torch.stack([turn, width, (2 * across - 1) * reach, (2 * down - 1) * reach], 1)


def clean_images(batch: Batch) -> tuple[Tensor, Tensor]:
    """For each sample the number (B,) of one of its images, and whether that shows none of its hands (B,) bool.

    The image of a sample without hands; where one hand is by itself, the target of the absent one, if it shows the
    background in its place.
    """
    rgb, masks = batch["rgb"], batch["masks"]
    there = torch.stack(
        [
            ((masks & (MASK_BITS[f"amodal_{side}"] | MASK_BITS[f"arm_{side}"])) != 0).flatten(1).any(1)
            for side in ("right", "left")
        ],
        1,
    )
    plane = torch.where(there[:, 0] & ~there[:, 1], 2, torch.where(there[:, 1] & ~there[:, 0], 1, 0))
    few = rgb[:, :, ::EVERY, ::EVERY]
    shown = (masks[:, ::EVERY, ::EVERY] & _SHOWN) != 0
    changed = (few[torch.arange(len(plane), device=plane.device), plane] != few[:, 0]).any(-1) & shown
    removed = changed.flatten(1).sum(1) >= REMOVED * shown.flatten(1).sum(1)
    return plane, ~there.all(1) & removed


def chosen(clean: Tensor, lot: Tensor) -> Tensor:
    """(N,) numbers of samples that are ``clean`` (B,), for each of ``lot`` (N,) in [0, 1); any where none is."""
    ranks = clean.long().cumsum(0)
    wanted = (lot * ranks[-1]).floor().long() + 1
    return torch.searchsorted(ranks, wanted).clamp_max(len(clean) - 1)


def within(affine: Tensor, size: int, photo: torch.Size) -> Tensor:
    """(N,size,size) bool, which pixels of a crop lie on the photo (height, width)."""
    pixels = middles(affine, size)
    limit = pixels.new_tensor(photo[::-1]) - 0.5
    return ((pixels >= -0.5) & (pixels <= limit)).all(-1).view(-1, size, size)


@dataclass(frozen=True, eq=False)
class Distant:
    """The samples of B that are made small, and their backgrounds."""

    affine: Tensor  # (B,2,3) pixel of the crop -> pixel of the photo
    small: Tensor  # (B,) bool
    rows: Tensor  # (N,) that were drawn; they are small where the batch has a background for them
    backgrounds: Tensor  # (N,H,W,3) uint8
    near: Tensor  # (N,2,3) pixel of the crop -> pixel of the background
    whole: Tensor  # (N,) bool, whether the whole photo is pasted; otherwise hands and arms alone

    @classmethod
    def drawn(cls, batch: Batch, near: Tensor, far: Tensor, share: float, rng: SampleRng) -> Distant:
        """A ``share`` of the samples as ``far`` (B,2,3) shows them, the others as ``near`` (B,2,3) does."""
        device = near.device
        drawn = rng.uniform() < share
        rows = drawn.nonzero()[:, 0]  # on the CPU, so that no device is waited for
        lot, kind = rng.uniform(2)[rows].to(device).unbind(1)
        plane, clean = clean_images(batch)
        source = chosen(clean, lot)
        small, rows = drawn.to(device) & clean.any(), rows.to(device)
        affine = torch.where(small[:, None, None], far, near)
        return cls(affine, small, rows, batch["rgb"][source, plane[source]], near[rows], kind < 0.5)

    def over_backgrounds(self, images: Tensor, masks: Tensor) -> Tensor:
        """Images (B,3,S,S) in [0, 1] under ``affine`` of photos with bit fields ``masks`` (B,H,W), pasted."""
        size, affine = images.shape[-1], self.affine[self.rows]
        background = sample(self.backgrounds.permute(0, 3, 1, 2).float(), self.near, size, "border") / 255
        shown = (nearest_bits(masks[self.rows], affine, size) & _SHOWN) != 0
        kept = within(affine, size, masks.shape[-2:]) & (self.whole[:, None, None] | shown)
        share = functional.avg_pool2d(kept[:, None].to(images.dtype), 3, 1, 1, count_include_pad=False)
        pasted = images[self.rows] * share + background * (1 - share)
        pasted = torch.where(self.small[self.rows][:, None, None, None], pasted, images[self.rows])
        return images.index_copy(0, self.rows, pasted)

    def without_repeats(self, bits: Tensor, affine: Tensor) -> Tensor:
        """Bit fields (B,s,s) under ``affine`` (B,2,3), in which small photos are not repeated beyond their border."""
        beyond = ~within(affine, bits.shape[-1], self.backgrounds.shape[1:3])
        return torch.where(self.small[:, None, None] & beyond, 0, bits)
