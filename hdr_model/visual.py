"""Drawings: masks over a photo, joints on it, skeletons in 3D, and captioned rows of those. Pillow only."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from aih_gen.config import SIDES
from aih_gen.hands.joints import BONES
from aih_gen.reports import paint
from aih_gen.reports.paint import Colour, draw_skeleton
from aih_gen.typing import Floating, Mask, UInt8

RGB = UInt8  # (H,W,3)

HAND_COLOURS: dict[str, Colour] = dict(zip(SIDES, paint.HAND_COLOURS, strict=True))
ARM_COLOURS: dict[str, Colour] = dict(zip(SIDES, paint.ARM_COLOURS, strict=True))
_INK: Colour = (40, 40, 40)
_PAPER: Colour = (255, 255, 255)
_OVERSAMPLE = 3
_SIDE = 256
"""Of an image of skeletons, px."""
_CAPTION = 18


def overlay(image: RGB, mask: Mask, colour: Colour, opacity: float = 0.55) -> RGB:
    """``image`` with ``mask`` (H,W) tinted."""
    weight, tinted = np.float32(opacity), image.copy()
    tinted[mask] = (image[mask] * (1 - weight) + np.asarray(colour, np.float32) * weight).round().astype(np.uint8)
    return tinted


def outline(image: RGB, mask: Mask, colour: Colour) -> RGB:
    """``image`` with the inner rim of ``mask`` (H,W) drawn."""
    return overlay(image, rim(mask), colour, 1.0)


def rim(mask: Mask) -> Mask:
    """The inner rim of ``mask`` (H,W), about one 200th of the image wide."""
    width = max(1, round(max(mask.shape) / 200))
    inner = mask.copy()
    for _ in range(width):
        padded = np.pad(inner, 1)
        inner = padded[1:-1, 1:-1] & padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
    return mask & ~inner


def draw_masks(image: RGB, masks: Mapping[str, Mask]) -> RGB:
    """Visible parts tinted, whole (amodal) hands outlined, arms tinted in their own colours.

    ``masks``: any of ``right_visible``, ``right_amodal``, ``right_arm`` and the same for ``left``, each (H,W).
    """
    for side in ("right", "left"):
        for name, colour in ((f"{side}_arm", ARM_COLOURS[side]), (f"{side}_visible", HAND_COLOURS[side])):
            if name in masks:
                image = overlay(image, masks[name], colour)
    for side in ("right", "left"):
        if f"{side}_amodal" in masks:
            image = outline(image, masks[f"{side}_amodal"], HAND_COLOURS[side])
    return image


def draw_joints(image: RGB, joints_2d: Floating, root_colour: Colour = _INK) -> RGB:
    """``image`` with one hand's skeleton (21,2), px (x, y), a colour for each finger; NaN joints are left out."""
    width = max(1.0, max(image.shape[:2]) / 130)
    known = joints_2d[np.isfinite(joints_2d).all(-1)]
    if not len(known):
        return image
    limit = image.shape[1], image.shape[0]
    left, top = np.clip(known.min(0) - 2 * width, 0, limit).astype(int)
    right, bottom = np.clip(known.max(0) + 2 * width + 1, 0, limit).astype(int)
    if left >= right or top >= bottom:
        return image
    drawn = image.copy()
    near = Image.fromarray(image[top:bottom, left:right])
    # What nothing is drawn on comes back to the bit.
    canvas = near.resize((near.width * _OVERSAMPLE, near.height * _OVERSAMPLE), Image.Resampling.NEAREST)
    points = (np.asarray(joints_2d, np.float64) - (left, top) + 0.5) * _OVERSAMPLE
    draw_skeleton(ImageDraw.Draw(canvas), points, _OVERSAMPLE * width, root_colour=root_colour)
    drawn[top:bottom, left:right] = np.asarray(canvas.resize(near.size, Image.Resampling.BOX))
    return drawn


def draw_skeletons(hands: Mapping[str, Floating], angle: float, radius: float | None = None) -> RGB:
    """Hands in 3D, each (21,3) relative to its wrist, x right, y down, z away, seen orthographically.

    Args:
        hands: side -> joints; hands with unknown joints are left out.
        angle: degrees of rotation about the vertical axis: 0 is the camera's view, 90 from its right.
        radius: half the side of the image in the joints' unit; by default as much as any rotation of the joints needs.
    """
    known = {side: np.asarray(j, np.float64) for side, j in hands.items() if np.isfinite(j).all()}
    canvas = Image.new("RGB", (_SIDE * _OVERSAMPLE, _SIDE * _OVERSAMPLE), _PAPER)
    draw = ImageDraw.Draw(canvas)
    for k in range(1, 8):
        at = k * _SIDE * _OVERSAMPLE / 8
        draw.line((at, 0, at, _SIDE * _OVERSAMPLE), fill=(236, 236, 236), width=_OVERSAMPLE)
        draw.line((0, at, _SIDE * _OVERSAMPLE, at), fill=(236, 236, 236), width=_OVERSAMPLE)
    if known:
        centres = {side: (j.max(0) + j.min(0)) / 2 for side, j in known.items()}
        reach = [float(np.linalg.norm(joints - centres[side], axis=1).max()) for side, joints in known.items()]
        extent = radius or 1.1 * max(reach)
    for side, joints in known.items():
        cosine, sine = np.cos(np.radians(angle)), np.sin(np.radians(angle))
        rotation = np.array([[cosine, 0, sine], [0, 1, 0], [-sine, 0, cosine]])
        rotated = (joints - centres[side]) @ rotation.T
        points = (rotated[:, :2] / extent + 1) * _SIDE * _OVERSAMPLE / 2
        far_first = sorted(range(len(BONES)), key=lambda b: -(rotated[BONES[b][0], 2] + rotated[BONES[b][1], 2]))
        draw_skeleton(draw, points, _OVERSAMPLE * _SIDE / 90, far_first, HAND_COLOURS[side])
    return np.asarray(canvas.resize((_SIDE, _SIDE), Image.Resampling.BOX))


def captioned_row(images: Sequence[RGB], captions: Sequence[str], height: int = 256) -> RGB:
    """Images side by side, each scaled to ``height`` and under its caption, which may be the wider of the two."""
    scaled = [_fit_height(image, height) for image in images]
    font = ImageFont.load_default(13)
    widths = [
        max(image.shape[1], math.ceil(font.getlength(caption)) + 6)
        for image, caption in zip(scaled, captions, strict=True)
    ]
    canvas = Image.new("RGB", (sum(widths) + 4 * (len(widths) - 1), height + _CAPTION), _PAPER)
    draw = ImageDraw.Draw(canvas)
    left = 0
    for image, caption, width in zip(scaled, captions, widths, strict=True):
        draw.text((left + 3, 1), caption, fill=_INK, font=font)
        canvas.paste(Image.fromarray(image), (left, _CAPTION))
        left += width + 4
    return np.asarray(canvas)


def stack_rows(rows: Sequence[RGB]) -> RGB:
    """Images under one another, narrower ones filled up with white."""
    width = max(row.shape[1] for row in rows)
    padded = [np.pad(row, ((0, 4), (0, width - row.shape[1]), (0, 0)), constant_values=255) for row in rows]
    return np.concatenate(padded)


def _fit_height(image: RGB, height: int) -> RGB:
    width = max(1, round(image.shape[1] * height / image.shape[0]))
    return np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.BICUBIC))
