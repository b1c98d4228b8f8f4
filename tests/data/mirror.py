"""Hands in a mirror."""

from __future__ import annotations

import numpy as np


def mirror_axis_angle(pose: np.ndarray) -> np.ndarray:
    """Axis-angle rotations (..., 3k) of a hand mirrored in the plane x = 0: right becomes left and back."""
    mirrored = np.array(pose, copy=True).reshape(*pose.shape[:-1], -1, 3)
    mirrored[..., 1:] *= -1
    return mirrored.reshape(pose.shape)
