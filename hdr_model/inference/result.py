"""HDR's answer: the masks of a photo, and each hand alone, in 2D and in 3D."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Box = tuple[float, float, float, float]
"""Left, top, right, bottom in pixels."""


@dataclass(frozen=True, eq=False)
class HandResult:
    """One hand. Where ``present`` is false the joints and the box are NaN and the image is the photo."""

    image: NDArray[np.uint8]  # (H,W,3) the photo with this hand alone
    joints_2d: NDArray[np.float32]  # (21,2) px of the photo, x and y, pixel centres at integers
    joints_3d: NDArray[np.float32]  # (21,3) m relative to the wrist, in the camera's axes
    crop: NDArray[np.float32]  # (4,) px of the photo: left, top, right, bottom; may reach outside
    present: bool


@dataclass(frozen=True, eq=False)
class Result:
    """Both hands of a photo, and the masks: ``right_amodal``, ``right_visible``, ``left_...``, each (H,W) bool."""

    masks: dict[str, NDArray[np.bool_]]
    right: HandResult
    left: HandResult
