"""Samples of sources that know images and masks, and nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from aih_gen.compose.masks import occlusion
from aih_gen.compose.sample import Sample
from aih_gen.typing import Mask, UInt8


def image_only_sample(
    index: int,
    image: UInt8,
    targets: Sequence[UInt8],
    amodal: Mask,
    visible: Mask,
    provenance: dict[str, Any],
    known: Sequence[bool] = (True, True),
) -> Sample:
    """A sample with NaN for joints, pose and camera.

    Args:
        index: the sample's.
        image: (H,W,3).
        targets: of the right and the left hand (H,W,3); the image where there is none.
        amodal: (2,H,W); of a hand whose whole shape is not known, what is visible of it.
        visible: (2,H,W).
        provenance: where it comes from.
        known: whose amodal mask and target are known; the others' ``occlusion`` is NaN.
    """
    nothing, nan = np.zeros(image.shape[:2], bool), np.float32(np.nan)
    shares = [occlusion(amodal[side], visible[side]) if known[side] else float("nan") for side in (0, 1)]
    return Sample(
        image=image,
        target_right=targets[0],
        target_left=targets[1],
        amodal_right=amodal[0],
        amodal_left=amodal[1],
        visible_right=visible[0],
        visible_left=visible[1],
        arm_right=nothing,
        arm_left=nothing,
        shaded=nothing,
        joints_3d=np.full((2, 21, 3), nan),
        joints_2d=np.full((2, 21, 2), nan),
        joint_state=np.zeros((2, 21), np.uint8),
        pose=np.full((2, 48), nan),
        betas=np.full((2, 10), nan),
        transl=np.full((2, 3), nan),
        camera=np.full((3, 3), nan),
        present=np.asarray(amodal.any((1, 2))),
        occlusion=np.array(shares, np.float32),
        index=index,
        provenance=provenance,
    )
