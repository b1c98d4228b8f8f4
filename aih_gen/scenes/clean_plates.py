"""Annotated photos without the hands in them, as backgrounds for hands that are drawn in their place.

The masks' hands, with a rim, and a band from each wrist away from the fingers, where the forearm is, are
filled from around, and so is the black beyond the photo's edge. Other parts of a person stay.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFilter
from torch.nn import functional as F

from aih_gen.config import SIDES, RenderConfig
from aih_gen.errors import AIHError
from aih_gen.hands.joints import INDEX_MCP, LITTLE_MCP, MIDDLE_MCP, WRIST
from aih_gen.scenes.backgrounds import Background
from aih_gen.scenes.fits import Photos
from aih_gen.typing import Float32, Mask, UInt8

RIM = 1 / 40
"""Width, in image sides, that is filled around the masks too: fits are a little off, and photos blurred."""
ARM_WIDTH = 1.3
"""Of the band, in widths of the palm or, seen from the side, lengths of it."""


class CleanPlates:
    """The photos that recorded hands were fitted to: ``Backgrounds`` by their positions."""

    name, fixed = "recorded", True
    outdoors: Sequence[str] = ()

    def __init__(self, config: RenderConfig, photos: Photos | None) -> None:
        """Raise AIHError where no photos are known."""
        if photos is None:
            raise AIHError(f"backgrounds: expected poses from shards of aih-gen annotate, found {config.poses}")
        self.photos = photos

    def sample(self, rng: np.random.Generator, row: int | None) -> Background:
        """The whole photo that the pose was fitted to, as it is."""
        assert row is not None, "recorded backgrounds come with recorded poses"
        return Background("photo", photo=str(row))

    def photo(self, name: str) -> UInt8:
        """The photo (H,W,3) at a position, without the hands."""
        fields = ("image", *(f"amodal_{side}" for side in SIDES), "joints_2d")
        image, right, left, joints = (array[0] for array in self.photos.read([int(name)], fields).values())
        return filled(image, to_fill(image, right | left, joints))

    def digest(self) -> str:
        """SHA-256 of the photos."""
        return self.photos.digest()


def to_fill(image: UInt8, masks: Mask, joints: Float32) -> Mask:
    """(H,W) where an image (H,W,3) is black, or may show hands and arms: by their masks (H,W), joints (2,21,2) px."""
    beyond = Image.fromarray(~image.any(-1)).convert("L").filter(ImageFilter.MaxFilter(3))  # its rim is half black
    side = max(masks.shape)
    wide = Image.fromarray(masks).convert("L").filter(ImageFilter.MaxFilter(2 * round(RIM * side) + 1))
    draw = ImageDraw.Draw(wide)
    for hand in joints.astype(np.float64):
        palm = hand[WRIST] - hand[MIDDLE_MCP]
        across = np.linalg.norm(hand[INDEX_MCP] - hand[LITTLE_MCP])
        length = np.linalg.norm(palm)
        if not np.isfinite(length + across) or length < 1:
            continue
        width = ARM_WIDTH * max(float(across), float(length))
        end = hand[WRIST] + palm / length * 2 * side  # beyond the image
        draw.line([*hand[WRIST], *end], fill=255, width=round(width))
    return (np.asarray(wide) | np.asarray(beyond)) > 0


def filled(image: UInt8, hole: Mask) -> UInt8:
    """``image`` (H,W,3) whose ``hole`` (H,W) is filled smoothly from around it.

    Means over ever larger squares of what is known; each square without any takes the larger one's (the pull and push
    of Gortler et al. 1996). An image that is all hole becomes black.
    """
    known = torch.from_numpy(~hole)[None, None].float()
    levels = [(torch.from_numpy(image).permute(2, 0, 1)[None].float() * known, known)]
    while min(levels[-1][1].shape[-2:]) > 1:
        levels.append(tuple(F.avg_pool2d(part, 2, ceil_mode=True) for part in levels[-1]))  # type: ignore[arg-type]
    shown = torch.zeros_like(levels[-1][0])
    for colours, weight in reversed(levels):
        coarse = F.interpolate(shown, colours.shape[-2:], mode="bilinear")
        shown = torch.where(weight > 0, colours / weight.clamp_min(1e-9), coarse)
    return np.asarray(shown[0].permute(1, 2, 0).round().clamp(0, 255).byte().numpy())
