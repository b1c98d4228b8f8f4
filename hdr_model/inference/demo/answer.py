"""What the page shows of a result: pictures and meshes, as plain data."""

from __future__ import annotations

import base64
from collections.abc import Iterable

import numpy as np
from PIL import Image

from aih_gen.config import SIDES
from aih_gen.hands.joints import BONES
from aih_gen.io.images import encoded
from aih_gen.reports.paint import FINGER_COLOURS, Colour
from aih_gen.typing import Mask, UInt8
from hdr_model.inference.mesh import glb
from hdr_model.inference.result import Result
from hdr_model.visual import HAND_COLOURS, rim

MAX_SHOWN = 1280
"""Longest side of an image on the page, px."""


def described(result: Result) -> dict[str, object]:
    """Pictures (PNG, base64), meshes (metres, in the camera's axes), ``hands.glb`` (base64) and ``result.json``.

    Of the pictures ``visible`` and ``whole`` are layers over the photo, clear where no hand is.
    """
    height, width = result.image.shape[:2]
    masks = {side: (result.masks[f"{side}_visible"], result.masks[f"{side}_amodal"]) for side in SIDES}
    visible = [(shown, HAND_COLOURS[side], 0.55) for side, (shown, _) in masks.items()]
    whole = [(rim(amodal), HAND_COLOURS[side], 1.0) for side, (_, amodal) in masks.items()]
    images: dict[str, UInt8] = {
        "photo": result.image,
        "visible": _layer(height, width, visible),
        "whole": _layer(height, width, whole),
        "overlay": result.draw(),
        **{side: result[side].image for side in SIDES if result[side].present},
    }
    return {
        "found": result.found,
        "size": [width, height],
        "shrunk": max(height, width) > MAX_SHOWN,
        "pictures": {name: _png(pixels) for name, pixels in images.items()},
        "meshes": {
            side: {
                "vertices": mesh.vertices.round(4).tolist(),
                "faces": mesh.faces.tolist(),
                "joints": mesh.joints.round(4).tolist(),
                "colour": HAND_COLOURS[side],
            }
            for side, mesh in result.meshes.items()
        },
        "glb": _base64(glb(result.meshes)) if result.meshes else None,
        "bones": BONES,
        "colours": FINGER_COLOURS,
        "result": result.to_dict(),
    }


def _layer(height: int, width: int, parts: Iterable[tuple[Mask, Colour, float]]) -> UInt8:
    """Masks with their colours and opacities as (H,W,4)."""
    layer = np.zeros((height, width, 4), np.uint8)
    for mask, colour, opacity in parts:
        layer[mask] = (*colour, round(255 * opacity))
    return layer


def _png(pixels: UInt8) -> str:
    image = Image.fromarray(np.ascontiguousarray(pixels))
    image.thumbnail((MAX_SHOWN, MAX_SHOWN))
    return _base64(encoded(image))


def _base64(content: bytes) -> str:
    return base64.b64encode(content).decode()
