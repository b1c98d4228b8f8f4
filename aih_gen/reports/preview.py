"""Samples as images, and the contact sheet."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from scipy import ndimage

from aih_gen.compose.masks import hidden
from aih_gen.compose.sample import JOINT_OTHER_OCCLUDED, JOINT_OUTSIDE, JOINT_SELF_OCCLUDED, Sample
from aih_gen.io.images import encoded
from aih_gen.io.write import write_bytes
from aih_gen.reports.paint import ARM_COLOURS, HAND_COLOURS, SHADED_COLOUR, draw_skeleton, tint
from aih_gen.typing import UInt8

TITLES = ("image", "visible, hidden (hatched), arms", "joints", "right alone", "left alone", "amodal")
SHEET, SHEET_SAMPLES = "preview.jpg", 12
"""Name of the contact sheet in a folder that a command makes, and its number of samples at most."""
GAP, CAPTION = 4, 18
OVERSAMPLING = 3


def contact_sheet(samples: Sequence[Sample], columns: int = 1) -> Image.Image:
    """Every sample as a strip of six images, ``columns`` strips side by side, under a line of titles.

    The image; who is where; the joints; the right hand alone; the left hand alone; both amodal masks.
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


def write_sheet(path: Path, samples: Sequence[Sample]) -> None:
    """Write the contact sheet as JPEG.

    Raises:
        WriteError: the file cannot be written.
    """
    write_bytes(path, encoded(contact_sheet(samples), "JPEG", quality=90))


def sample_strip(sample: Sample) -> UInt8:
    """The six images of one sample side by side, (H, 6 W + gaps, 3)."""
    images = (
        sample.image,
        owners_image(sample),
        joints_image(sample),
        sample.target_right,
        sample.target_left,
        amodal_image(sample),
    )
    gap = np.full((sample.image.shape[0], GAP, 3), 255, np.uint8)
    return np.concatenate([part for image in images for part in (image, gap)][:-1], 1)


def owners_image(sample: Sample) -> UInt8:
    """The image tinted by owner; hidden parts are hatched, amodal masks outlined."""
    image = sample.image * 0.45 + 40
    rows, columns = np.indices(sample.shaded.shape)
    hatch = (rows + columns) % 6 < 3
    parts = zip(sample.amodal, sample.visible, sample.arm, strict=True)
    for side, (amodal, visible, arm) in enumerate(parts):
        tint(image, visible, HAND_COLOURS[side], 0.55)
        tint(image, arm, ARM_COLOURS[side], 0.45)
        tint(image, hidden(amodal, visible) & hatch, HAND_COLOURS[side], 0.9)
        tint(image, amodal & ~ndimage.binary_erosion(amodal), HAND_COLOURS[side], 1.0)
    tint(image, sample.shaded, SHADED_COLOUR, 0.4)
    return image.astype(np.uint8)


def amodal_image(sample: Sample) -> UInt8:
    """Right amodal mask in red, left in green, both in yellow."""
    return np.stack([*sample.amodal, np.zeros_like(sample.shaded)], -1) * np.uint8(255)


def joints_image(sample: Sample) -> UInt8:
    """The skeletons in finger colours; hollow joints are hidden by the other hand, small ones by their own."""
    height, width = sample.shaded.shape
    canvas = Image.fromarray((sample.image * 0.6).astype(np.uint8)).resize(
        (width * OVERSAMPLING, height * OVERSAMPLING), Image.Resampling.NEAREST
    )
    draw, radius = ImageDraw.Draw(canvas), OVERSAMPLING * max(1.2, width / 110)
    for joints, states, colour in zip(sample.joints_2d, sample.joint_state, HAND_COLOURS, strict=True):
        known = np.isfinite(joints).all(-1)
        points = (joints + 0.5) * OVERSAMPLING
        draw_skeleton(draw, points, radius)
        for joint in np.flatnonzero(known & (states != JOINT_OUTSIDE)):
            size = radius * (0.6 if states[joint] == JOINT_SELF_OCCLUDED else 1)
            fill = None if states[joint] == JOINT_OTHER_OCCLUDED else colour
            draw.circle(tuple(points[joint]), size, fill=fill, outline="white", width=OVERSAMPLING // 2)
    return np.asarray(canvas.resize((width, height), Image.Resampling.BOX))
