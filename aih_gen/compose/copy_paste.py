"""AIH_Syn: a single hand pasted over another (paper, section "AIH").

A crop is one hand alone: a rendered sample's target, or an image with its mask. Each hand gets its own similarity
transform, and one of the two is pasted over the other. Only the *covered* hand then has a true target, its own crop
with background: what lies behind the pasted hand's removal is known, what the pasted hand would look like without the
covered one is not. The pasted hand's target is therefore the image itself, and ``provenance["covered"]`` ("right" or
"left") names the hand to train on; its ``occlusion`` is above 0, the other one's is 0.

A similarity of a crop is a camera that rolls about its axis and changes its focal length and principal point, so both
hands keep exact 3D joints, each in a virtual camera of its own (``provenance["hands"][side]["camera"]``). No camera
sees both: ``Sample.camera`` is NaN.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

import numpy as np
from scipy.spatial.transform import Rotation

from aih_gen.compose.crops import HandCrop, SingleHands
from aih_gen.compose.joint_states import joint_pixels
from aih_gen.compose.masks import occlusion
from aih_gen.compose.paste import paste, paste_inputs
from aih_gen.compose.recipe import Affine, Arrangement, sample_arrangement, transform_points
from aih_gen.compose.sample import IMAGES, JOINT_OTHER_OCCLUDED, JOINT_OUTSIDE, JOINT_UNKNOWN, MASK_BITS, Sample, mask
from aih_gen.config import SIDES, SynConfig, sample_rng
from aih_gen.errors import AIHError
from aih_gen.typing import Array, Float32, Floating, Mask, UInt8

MAX_CROPS_TRIED = 1000
"""Crops tried for one that is fit."""

Pair = tuple[HandCrop, HandCrop]


class CopyPasteSource:
    """Samples of AIH_Syn by index, of the hands of ``config.source``, opened; one is read when a sample needs it.

    Raises:
        AIHError: there is no hand of a side that is fit.
    """

    def __init__(self, config: SynConfig, hands: SingleHands) -> None:
        self.config, self.hands = config, hands
        rng = sample_rng(config.seed, 0)
        for side in (0, 1):
            self._sample_hand(side, rng)

    def samples(self, indices: Sequence[int]) -> list[Sample]:
        """The samples of these indices, in their order."""
        return [compose_pair(index, *self.arrangement(index)) for index in indices]

    def describe(self) -> dict[str, Any]:
        """The outside files that the samples depend on."""
        return self.hands.describe()

    def arrangement(self, index: int) -> tuple[Pair, Arrangement]:
        """The right and the left hand of a sample and their arrangement, from which all its pixels follow."""
        rng = sample_rng(self.config.seed, index)
        crops = self._sample_hand(0, rng), self._sample_hand(1, rng)
        return crops, sample_arrangement(crops, self.config, rng)

    def _sample_hand(self, side: int, rng: np.random.Generator) -> HandCrop:
        count = self.hands.count(side)
        tried = min(count, MAX_CROPS_TRIED)
        for position in rng.choice(count, tried, replace=False).tolist():
            crop = self.hands.crop(side, position)
            if crop is not None:
                return crop
        raise AIHError(
            f"{self.config.source}: expected whole {SIDES[side]} hands of at least {self.config.smallest_hand:.0%} of "
            f"the image, found none in {tried} samples"
        )


def transformed_hands(crops: Pair, arrangement: Arrangement) -> dict[str, Float32]:
    """Joints and parameters of the right and the left hand (2,...), each in its rolled camera."""
    hands = [_transformed(crop, affine) for crop, affine in zip(crops, _by_side(arrangement), strict=True)]
    return {name: np.stack([hand[name] for hand in hands]).astype(np.float32) for name in hands[0]}


def compose_pair(
    index: int, crops: Pair, arrangement: Arrangement, provenance: Mapping[str, Any] | None = None
) -> Sample:
    """A right and a left hand pasted together; ``provenance`` holds what else is known of the sample."""
    inputs = {name: values[None] for name, values in paste_inputs(crops, arrangement).items()}
    rgb, bits = (batch[0].numpy() for batch in paste(**inputs))
    masks = {name: mask(bits, name) for name in MASK_BITS}
    amodal, visible = (np.stack([masks[f"{kind}_{side}"] for side in SIDES]) for kind in ("amodal", "visible"))
    front = SIDES[arrangement.front]
    pasted, nothing = masks[f"visible_{front}"] | masks[f"arm_{front}"], np.zeros(bits.shape, np.bool_)
    hands = transformed_hands(crops, arrangement)
    states = [
        _joint_state(crop.joint_state, joints, pasted if side != arrangement.front else nothing)
        for side, (crop, joints) in enumerate(zip(crops, hands["joints_2d"], strict=True))
    ]
    origins = [_origin(crop, affine) for crop, affine in zip(crops, _by_side(arrangement), strict=True)]
    images: dict[str, Any] = dict(zip(IMAGES, rgb, strict=True))
    return Sample(
        **images,
        **cast(dict[str, Any], masks),
        **cast(dict[str, Any], hands),
        joint_state=np.stack(states),
        camera=np.full((3, 3), np.nan, np.float32),
        present=np.array([hand.any() for hand in amodal]),
        occlusion=np.array([occlusion(amodal[side], visible[side]) for side in (0, 1)], np.float32),
        index=index,
        provenance={
            **(provenance or {}),
            "covered": SIDES[1 - arrangement.front],
            "gain": arrangement.gain.tolist(),
            "shift": arrangement.shift.tolist(),
            "tries": arrangement.tries,
            "in_range": arrangement.in_range,
            "hands": dict(zip(SIDES, origins, strict=True)),
        },
    )


def _by_side(arrangement: Arrangement) -> tuple[Affine, Affine]:
    affines = arrangement.under, arrangement.over
    return affines if arrangement.front == 1 else affines[::-1]


def _roll(affine: Affine) -> Array:
    """(3,3) rotation of the camera about its axis."""
    rotation = np.eye(3)
    rotation[:2, :2] = affine[:, :2] / np.sqrt(np.linalg.det(affine[:, :2]))
    return rotation


def _transformed(crop: HandCrop, affine: Affine) -> dict[str, Floating]:
    rotation = _roll(affine)
    joints_3d = crop.joints_3d @ rotation.T
    pose = crop.pose.astype(np.float64)
    if np.isfinite(pose[:3]).all():
        pose[:3] = (Rotation.from_matrix(rotation) * Rotation.from_rotvec(pose[:3])).as_rotvec()
    rest_wrist = crop.joints_3d[0] - crop.transl  # a model rotates about its wrist, which need not be its origin
    return {
        "joints_3d": joints_3d,
        "joints_2d": transform_points(crop.joints_2d, affine),
        "pose": pose,
        "betas": crop.betas,
        "transl": joints_3d[0] - rest_wrist,
    }


def _joint_state(before: UInt8, joints_2d: Float32, over: Mask) -> UInt8:
    """(21,) the crop's states where they still hold; joints that the other hand hid in the source are unknown here.

    ``over`` (S,S) is what lies over this hand.
    """
    state = np.where(np.isin(before, (JOINT_OTHER_OCCLUDED, JOINT_OUTSIDE)), np.uint8(JOINT_UNKNOWN), before)
    row, column, outside = joint_pixels(joints_2d, len(over))
    located = np.isfinite(joints_2d).all(-1)
    state[located & over[row, column]] = JOINT_OTHER_OCCLUDED
    state[located & outside] = JOINT_OUTSIDE
    return state


def _origin(crop: HandCrop, affine: Affine) -> dict[str, Any]:
    camera = np.vstack([affine, [0, 0, 1]]) @ crop.camera @ _roll(affine).T
    return {
        **crop.origin,
        "affine": affine.tolist(),
        "camera": camera.tolist() if np.isfinite(camera).all() else None,
    }
