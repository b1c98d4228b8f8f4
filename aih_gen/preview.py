"""Looking at samples: pictures of what they hold, and the contact sheet."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from scipy import ndimage

from aih_gen.compose.masks import hidden
from aih_gen.compose.sample import JOINT_OTHER_OCCLUDED, JOINT_OUTSIDE, JOINT_SELF_OCCLUDED, Sample

Picture = NDArray[np.uint8]  # (H,W,3)
Mask = NDArray[np.bool_]

TITLES = ("image", "visible, hidden (hatched), arms", "joints", "right alone", "left alone", "amodal")
HAND_COLOURS = np.array([[235, 64, 52], [60, 200, 90]])
"""Right, left."""
ARM_COLOURS = np.array([[240, 170, 60], [60, 180, 200]])
FINGER_COLOURS = ((245, 130, 48), (255, 215, 60), (70, 200, 90), (70, 150, 255), (200, 100, 240))
GAP, CAPTION = 4, 18
OVERSAMPLING = 3


def contact_sheet(samples: Sequence[Sample], columns: int = 1) -> Image.Image:
    """Every sample as a strip of six pictures, ``columns`` strips side by side, under a line of titles.

    The pictures: the image; who is where; the joints; the right hand alone; the left hand alone; both amodal masks.
    """
    if not samples:
        raise ValueError("samples: expected at least one, found none")
    strips = [sample_strip(sample) for sample in samples]
    height, width = strips[0].shape[:2]
    rows = -(-len(strips) // columns)
    across = min(columns, len(strips))
    sheet = Image.new("RGB", (across * (width + GAP) - GAP, CAPTION + rows * (height + GAP) - GAP), "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(12)
    for column in range(across):
        for k, title in enumerate(TITLES):
            place = column * (width + GAP) + k * (samples[0].image.shape[1] + GAP)
            draw.text((place + 2, 1), title, fill="black", font=font)
    for k, strip in enumerate(strips):
        sheet.paste(Image.fromarray(strip), (k % columns * (width + GAP), CAPTION + k // columns * (height + GAP)))
    return sheet


def sample_strip(sample: Sample) -> Picture:
    """The six pictures of one sample side by side, (H, 6 W + gaps, 3)."""
    pictures = (
        sample.image,
        owners_picture(sample),
        joints_picture(sample),
        sample.target_right,
        sample.target_left,
        amodal_picture(sample),
    )
    gap = np.full((sample.image.shape[0], GAP, 3), 255, np.uint8)
    return np.concatenate([part for picture in pictures for part in (picture, gap)][:-1], 1)


def owners_picture(sample: Sample) -> Picture:
    """The image tinted by owner; hidden parts are hatched, amodal masks outlined."""
    picture = sample.image * 0.45 + 40
    rows, columns = np.indices(sample.shaded.shape)
    hatch = (rows + columns) % 6 < 3
    parts = zip(sample.amodal, sample.visible, sample.arm, strict=True)
    for side, (amodal, visible, arm) in enumerate(parts):
        _tint(picture, visible, HAND_COLOURS[side], 0.55)
        _tint(picture, arm, ARM_COLOURS[side], 0.45)
        _tint(picture, hidden(amodal, visible) & hatch, HAND_COLOURS[side], 0.9)
        _tint(picture, amodal & ~ndimage.binary_erosion(amodal), HAND_COLOURS[side], 1.0)
    _tint(picture, sample.shaded, np.array([80, 80, 255]), 0.4)
    return picture.astype(np.uint8)


def amodal_picture(sample: Sample) -> Picture:
    """Right amodal mask in red, left in green, both in yellow."""
    picture = np.zeros(sample.image.shape)
    for side, amodal in enumerate(sample.amodal):
        picture += amodal[..., None] * HAND_COLOURS[side]
    return picture.clip(0, 255).astype(np.uint8)


def joints_picture(sample: Sample) -> Picture:
    """The skeletons in finger colours; hollow joints are hidden by the other hand, small ones by their own."""
    from aih_gen.hands.joints import BONES  # its package loads PyTorch, which nothing else here needs

    height, width = sample.shaded.shape
    canvas = Image.fromarray((sample.image * 0.6).astype(np.uint8)).resize(
        (width * OVERSAMPLING, height * OVERSAMPLING), Image.Resampling.NEAREST
    )
    draw, radius = ImageDraw.Draw(canvas), OVERSAMPLING * max(1.2, width / 110)
    for joints, states, colour in zip(sample.joints_2d, sample.joint_state, HAND_COLOURS, strict=True):
        known = np.isfinite(joints).all(-1)
        points = [tuple((joint + 0.5) * OVERSAMPLING) for joint in joints]
        for parent, child in BONES:
            if known[parent] and known[child]:
                finger = FINGER_COLOURS[(child - 1) // 4]
                draw.line([points[parent], points[child]], fill=finger, width=round(radius))
        for joint in np.flatnonzero(known & (states != JOINT_OUTSIDE)):
            size = radius * (0.6 if states[joint] == JOINT_SELF_OCCLUDED else 1)
            fill = None if states[joint] == JOINT_OTHER_OCCLUDED else tuple(colour.tolist())
            draw.circle(points[joint], size, fill=fill, outline="white", width=OVERSAMPLING // 2)
    return np.asarray(canvas.resize((width, height), Image.Resampling.BOX))


def _tint(picture: NDArray[np.floating[Any]], mask: Mask, colour: NDArray[np.int64], share: float) -> None:
    picture[mask] = picture[mask] * (1 - share) + colour * share
