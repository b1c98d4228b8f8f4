"""Inpainting without learning, as a baseline of HDRM."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Literal

import numpy as np
import torch

from aih_gen.extras import import_extra
from hdr_model.evaluation.predict import Predictions

Baseline = Literal["telea"]
TELEA = "Telea's inpainting, true masks"
RADIUS = 3.0
"""Pixels of the crop around one that are looked at, as OpenCV's example has it."""


def check_installed() -> None:
    """Raise AIHError where OpenCV, an extra, is not installed."""
    _cv2()


def with_telea(predicted: Predictions) -> Predictions:
    """The predictions of a batch, and as one more method the true hole of each crop filled from around it.

    By the fast marching method (Telea 2004), in OpenCV.
    """
    cv2, crops = _cv2(), predicted.crops
    images = (crops.image * 255).round().byte().permute(0, 2, 3, 1).cpu().numpy()
    holes = crops.masks.hole[:, 0].byte().cpu().numpy()
    filled = [
        cv2.inpaint(np.ascontiguousarray(image), hole, RADIUS, cv2.INPAINT_TELEA)
        for image, hole in zip(images, holes, strict=True)
    ]
    filling = torch.from_numpy(np.stack(filled) if filled else images).to(crops.image.device)
    pixels = torch.where(crops.masks.hole, filling.permute(0, 3, 1, 2).float() / 255, crops.image)
    return replace(predicted, composites=predicted.composites | {TELEA: pixels})


def _cv2() -> Any:
    return import_extra("cv2", "baselines", "--baseline telea", "OpenCV")
