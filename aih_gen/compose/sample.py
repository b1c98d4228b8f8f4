"""One AIH sample, as every part of the project passes it around."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray

from aih_gen.config import SIDES
from aih_gen.typing import Float32, Mask, UInt8

JOINT_UNKNOWN, JOINT_VISIBLE, JOINT_SELF_OCCLUDED, JOINT_OTHER_OCCLUDED, JOINT_OUTSIDE = range(5)
"""Values of ``Sample.joint_state``."""
BELOW_SKIN = 0.03
"""A joint lies at most this far (m) below the skin that shows it; farther down, other parts of the hand hide it."""

IMAGES = ("image", "target_right", "target_left")
"""The images of a ``Sample``, in the order in which they are stacked."""

_MASKS = ("amodal_right", "amodal_left", "visible_right", "visible_left", "arm_right", "arm_left", "shaded")
MASK_BITS = {name: 1 << bit for bit, name in enumerate(_MASKS)}
"""The bits of a bit field of masks, by the names of the masks in ``Sample``."""


@dataclass(frozen=True)
class Stored:
    """Annotates a field of ``Sample`` that shards hold as a dataset of its own."""

    dtype: str
    """As NumPy writes types, with the order of bytes."""
    shape: tuple[int | str, ...] = ()
    """Of one sample; "H" and "W" are the image's sides."""


@dataclass(frozen=True, eq=False)
class Sample:
    """One image of two hands, one or none, and the same image with each hand alone. First axis of per-hand arrays:
    right, left.

    A hand that is not ``present`` has empty masks, NaN for joints, pose and occlusion, and state 0; its target shows
    the background without the other hand. Where nothing of the other hand is in the image, a hand's target is the
    image.

    Outside ``amodal & ~visible`` and the other hand's (and arm's) visible pixels, image and target are equal to the
    bit, shaded pixels excepted. What a source does not know is NaN (or state 0).

    In AIH_Syn one hand is pasted over the other, so only the covered hand, ``provenance["covered"]``, has a true
    target; the pasted hand's target is the image itself (see ``compose.copy_paste``).

    A field that is `Stored` and has a default is missing in shards of before it was added, and reads as the default.
    """

    image: UInt8  # (H,W,3)
    target_right: UInt8  # (H,W,3) the right hand alone
    target_left: UInt8  # (H,W,3) the left hand alone
    amodal_right: Mask  # (H,W) the right hand's pixels, were the left hand not there
    amodal_left: Mask
    visible_right: Mask  # (H,W) the right hand's pixels in the image
    visible_left: Mask
    arm_right: Mask  # (H,W) visible forearm or sleeve
    arm_left: Mask
    shaded: Mask  # (H,W) differs from a target only by the shadow or blurred edge of what was removed
    joints_3d: Annotated[Float32, Stored("<f4", (2, 21, 3))]  # m, camera space
    joints_2d: Annotated[Float32, Stored("<f4", (2, 21, 2))]  # px, pixel centres at integers
    joint_state: Annotated[UInt8, Stored("u1", (2, 21))]
    pose: Annotated[Float32, Stored("<f4", (2, 48))]  # axis-angle, radians, zero = flat hand
    betas: Annotated[Float32, Stored("<f4", (2, 10))]
    transl: Annotated[Float32, Stored("<f4", (2, 3))]  # m
    camera: Annotated[Float32, Stored("<f4", (3, 3))]  # intrinsics, px
    present: Annotated[Mask, Stored("?", (2,))]
    """Has a pixel in the image, or is said to be there by a source without masks."""
    occlusion: Annotated[Float32, Stored("<f4", (2,))]
    """Area hidden by the other hand or arm / amodal area; NaN if that is 0."""
    index: Annotated[int, Stored("<i8")]
    provenance: dict[str, Any] = field(default_factory=dict)  # JSON-serialisable
    depth: Annotated[NDArray[np.float16] | None, Stored("<f2", (2, "H", "W"))] = None
    """Metres, each hand alone, inf where it is not; shards may leave it out."""

    def __repr__(self) -> str:
        height, width = self.shaded.shape
        shares = zip(SIDES, self.present, self.occlusion, strict=True)
        hands = [
            f"{side} hand" + f", {share:.0%} hidden" * bool(np.isfinite(share)) for side, here, share in shares if here
        ]
        return f"Sample(index={self.index}, {width}x{height} px: {'; '.join(hands) or 'no hand'})"

    @property
    def target(self) -> NDArray[np.uint8]:
        """(2,H,W,3) both targets."""
        return np.stack([self.target_right, self.target_left])

    @property
    def amodal(self) -> NDArray[np.bool_]:
        """(2,H,W) the amodal masks of both hands."""
        return np.stack([self.amodal_right, self.amodal_left])

    @property
    def visible(self) -> NDArray[np.bool_]:
        """(2,H,W) the visible masks of both hands."""
        return np.stack([self.visible_right, self.visible_left])

    @property
    def arm(self) -> NDArray[np.bool_]:
        """(2,H,W) the visible arms."""
        return np.stack([self.arm_right, self.arm_left])


def pack_masks(sample: Sample) -> UInt8:
    """(H,W) the sample's seven masks as one bit field."""
    bits = np.zeros(sample.shaded.shape, np.uint8)
    for name, bit in MASK_BITS.items():
        bits |= getattr(sample, name).view(np.uint8) * np.uint8(bit)
    return bits


def mask(bits: UInt8, name: str) -> Mask:
    """(...,H,W) the mask of that name out of bit fields."""
    return (bits & MASK_BITS[name]) != 0
