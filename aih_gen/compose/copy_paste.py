"""AIH_Syn: a single hand cut out of one sample and pasted over the hand of another (paper, section "AIH").

A crop is one hand alone: a source sample's target with that hand's masks and joints. Each hand gets its own similarity
transform, and one of the two is pasted over the other. Only the *covered* hand then has a true target, its own crop
with background: what lies behind the pasted hand's removal is known, what the pasted hand would look like without the
covered one is not. The pasted hand's target is therefore the image itself, and ``provenance["covered"]`` ("right" or
"left") names the hand to train on; its ``occlusion`` is above 0, the other one's is 0.

A similarity of a crop is a camera that rolls about its axis and changes its focal length and principal point, so both
hands keep exact 3D joints, each in a virtual camera of its own (``provenance["hands"][side]["camera"]``). No camera
sees both: ``Sample.camera`` is NaN.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage
from scipy.spatial.transform import Rotation

from aih_gen.compose.masks import occlusion
from aih_gen.compose.sample import JOINT_OTHER_OCCLUDED, JOINT_OUTSIDE, JOINT_UNKNOWN, Sample
from aih_gen.config import SIDES, SynConfig, sample_rng
from aih_gen.errors import AIHError
from aih_gen.shards.reader import AIHShards
from aih_gen.shards.schema import ARM_LEFT, ARM_RIGHT, MASK_BITS, VISIBLE_LEFT, VISIBLE_RIGHT

Affine = NDArray[np.float64]  # (2,3) from pixels of the crop to pixels of the sample, both (x, y)
Pixels = NDArray[np.uint8]
Mask = NDArray[np.bool_]
Steps = NDArray[np.int64]  # whole pixels along one axis
Window = tuple[int, int, int, int]  # left, top, right, bottom of a rectangle of pixels, the last two exclusive

SMALLEST_HAND = 0.04
"""Least amodal area of a crop, as a share of the image."""
LONGEST_CUT = 1 / 16
"""Most pixels of a crop's hand that may lie on the image border, in image sides."""
ARM_MARGIN = 2
"""Pixels: an arm this close to the other hand is taken to run on behind it."""
WRIST_REACH = 0.06
"""Image sides around the wrist: a hand whose arm is nowhere, and has the other hand there, has it hidden."""
SCAN = 256
"""Samples looked at together while crops are chosen."""


class CopyPasteSource:
    """Samples of AIH_Syn by index. Holds the source shards and the list of hands that are fit to be crops.

    Raises:
        AIHError: the source is not there, is AIH_Syn itself, has another image size, or has no fitting hand of a side.
    """

    def __init__(self, config: SynConfig) -> None:
        self.config = config
        self.shards = AIHShards(config.source)
        for shard in self.shards.shards:
            if shard.header.subset == SynConfig.subset:
                raise AIHError(
                    f"{shard.path}: expected shards with true targets of both hands, found {SynConfig.subset}"
                )
        if self.shards.size != (config.size, config.size):
            height, width = self.shards.size
            raise AIHError(f"{config.source}: expected images of {config.size}x{config.size}, found {width}x{height}")
        self.crops = _find_crops(self.shards)
        for side, name in enumerate(SIDES):
            if not len(self.crops[side]):
                raise AIHError(
                    f"{config.source}: expected whole {name} hands of at least {SMALLEST_HAND:.0%} of the image, "
                    f"found none in {len(self.shards)} samples"
                )

    def samples(self, indices: Sequence[int]) -> list[Sample]:
        """The samples of these indices, in their order."""
        return [self._sample(index) for index in indices]

    def describe(self) -> dict[str, Any]:
        """What outside files the samples depend on."""
        return {
            "source": {"sha256": self.shards.digest(), "samples": len(self.shards)},
            "hand_model": {"name": self.shards.shards[0].header.hand_model},
        }

    def _sample(self, index: int) -> Sample:
        config, rng = self.config, sample_rng(self.config.seed, index)
        crops = [_Crop(self.shards, int(rng.choice(self.crops[side])), side) for side in (0, 1)]
        front = int(rng.random() < config.left_in_front)
        below = crops[1 - front]
        tries: list[tuple[float, tuple[_Placed, _Placed]]] = []
        in_range = False
        while not in_range and len(tries) < config.max_tries:
            under, over = _draw_affines(below, crops[front], config, rng)
            placed = (_Placed(below, under), _Placed(crops[front], over))
            hidden = occlusion(placed[0].hand, placed[0].hand & ~placed[1].whole)
            in_range = config.min_occlusion <= hidden < config.max_occlusion
            tries.append((max(config.min_occlusion - hidden, hidden - config.max_occlusion), placed))
        _, placed = min(tries, key=lambda tried: tried[0])
        gain = rng.uniform(1 - config.colour_gain, 1 + config.colour_gain, 3)
        story = {"covered": SIDES[1 - front], "gain": gain.tolist(), "tries": len(tries), "in_range": in_range}
        return _paste(index, crops, front, placed, gain, story)


class _Crop:
    """One hand alone, out of a source sample."""

    def __init__(self, shards: AIHShards, position: int, side: int) -> None:
        name = SIDES[side]
        fields = ("joints_3d", "joints_2d", "joint_state", "pose", "betas", "transl", "camera", "index")
        read = shards.read([position], (f"target_{name}", f"amodal_{name}", f"arm_{name}", *fields))
        self.position, self.side = position, side
        self.image: Pixels = read[f"target_{name}"][0]
        self.hand: Mask = read[f"amodal_{name}"][0]
        self.whole: Mask = self.hand | read[f"arm_{name}"][0]
        self.camera, self.index = read["camera"][0], int(read["index"][0])
        self.joints_3d, self.joints_2d, self.joint_state, self.pose, self.betas, self.transl = (
            read[field][0, side] for field in fields[:6]
        )
        left, top, right, bottom = _window(self.hand)
        self.box = np.array([[left, top], [right - 1, bottom - 1]], np.float64)


class _Placed:
    """Where a crop's hand comes to lie."""

    def __init__(self, crop: _Crop, affine: Affine) -> None:
        self.crop, self.affine = crop, affine
        self.hand = _warp_mask(crop.hand, affine, runs_on=False)
        self.whole = _warp_mask(crop.whole, affine, runs_on=True) | self.hand


def _find_crops(shards: AIHShards) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Positions of the right and of the left hands that can be cut out whole."""
    fit = []
    for first in range(0, len(shards), SCAN):
        read = shards.read(range(first, min(first + SCAN, len(shards))), ("masks", "joints_2d", "present"))
        fit.append(np.stack([_fit(*(a[k] for a in read.values())) for k in range(len(read["masks"]))]))
    right, left = np.concatenate(fit).T
    return np.flatnonzero(right), np.flatnonzero(left)


def _fit(bits: Pixels, joints_2d: NDArray[np.float32], present: Mask) -> tuple[bool, bool]:
    """Which hands of a sample are large, inside the image, and have an arm that nothing cuts."""
    size = bits.shape[0]
    near = _dilated(bits & np.uint8(ARM_RIGHT | ARM_LEFT), ARM_MARGIN)
    fit = []
    for side, name in enumerate(SIDES):
        amodal = (bits & MASK_BITS[f"amodal_{name}"]) != 0
        border = sum(int(line.sum()) for line in (amodal[0], amodal[-1], amodal[:, 0], amodal[:, -1]))
        arm = (ARM_RIGHT, ARM_LEFT)[side]
        other = ((bits & ((VISIBLE_LEFT | ARM_LEFT), (VISIBLE_RIGHT | ARM_RIGHT))[side]) != 0) & ~amodal
        zone = (near & arm) != 0
        if not zone.any():
            zone = _disc(joints_2d[side, 0], WRIST_REACH * size, size)
        large = amodal.sum() >= SMALLEST_HAND * bits.size
        fit.append(bool(present[side] and large and border <= LONGEST_CUT * size and not (zone & other).any()))
    return fit[0], fit[1]


def _dilated(bits: Pixels, radius: int) -> Pixels:
    """Every bit spread over the square of that radius."""
    for axis in (0, 1):
        source, bits = np.moveaxis(bits, axis, 0), np.moveaxis(bits.copy(), axis, 0)
        for shift in range(1, radius + 1):
            bits[shift:] |= source[:-shift]
            bits[:-shift] |= source[shift:]
        bits = np.moveaxis(bits, 0, axis)
    return bits


def _disc(centre: NDArray[np.float32], radius: float, size: int) -> Mask:
    steps = np.arange(size)
    return (steps[None] - centre[0]) ** 2 + (steps[:, None] - centre[1]) ** 2 <= radius**2


# Geometry


def _draw_affines(below: _Crop, above: _Crop, config: SynConfig, rng: np.random.Generator) -> tuple[Affine, Affine]:
    """The covered hand stays in the picture, near where it was; the pasted one comes over the middle of its box."""
    centre = below.box.mean(0) + rng.uniform(-1, 1, 2) * config.translation * config.size
    under = _similarity(below.box.mean(0), centre, config, rng)
    corners = np.array([[x, y] for x in below.box[:, 0] for y in below.box[:, 1]])
    moved = corners @ under[:, :2].T + under[:, 2]
    low, high = moved.min(0), moved.max(0)
    last = config.size - 1
    inwards = np.where(high - low > last, last / 2 - (low + high) / 2, np.maximum(-low, 0) + np.minimum(last - high, 0))
    under[:, 2] += inwards
    centre = centre + inwards + rng.uniform(-1, 1, 2) * config.pasted_translation * config.size
    return under, _similarity(above.box.mean(0), centre, config, rng)


def _similarity(source: Affine, centre: Affine, config: SynConfig, rng: np.random.Generator) -> Affine:
    """Turns and scales about ``source`` (2,) and brings it to ``centre`` (2,)."""
    # As in the paper's recipe, the scale is that of the region that is cut out.
    zoom = 1 / (1 + np.clip(rng.normal(), -1, 1) * config.scale_deviation)
    angle = np.deg2rad(np.clip(rng.normal(), -2, 2) * config.rotation_deviation)
    if rng.random() >= config.rotation_probability:
        angle = 0.0
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return np.column_stack([zoom * turn, centre - zoom * turn @ source])


def _inverse(affine: Affine) -> Affine:
    back = np.linalg.inv(affine[:, :2])
    return np.column_stack([back, -back @ affine[:, 2]])


def _window(mask: Mask) -> Window:
    """The smallest window around a mask; one pixel where it is empty."""
    columns, rows = (np.flatnonzero(mask.any(axis)) for axis in (0, 1))
    if not len(rows):
        return 0, 0, 1, 1
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def _reached(affine: Affine, window: Window) -> tuple[Steps, Steps, list[float]]:
    """What of the crop's plane a window of the sample shows: columns, rows (both perhaps beyond the crop), and
    Pillow's coefficients from the window to those. Pillow puts pixel centres at one half."""
    inverse = _inverse(affine)
    left, top, right, bottom = window
    corners = np.array([[x, y] for x in (left, right - 1) for y in (top, bottom - 1)])
    reached = corners @ inverse[:, :2].T + inverse[:, 2]
    first = np.floor(reached.min(0)).astype(int) - 1
    last = np.ceil(reached.max(0)).astype(int) + 1
    inverse[:, 2] += inverse[:, :2] @ [left - 0.5, top - 0.5] + 0.5 - first
    return np.arange(first[0], last[0] + 1), np.arange(first[1], last[1] + 1), inverse.ravel().tolist()


def _warp(image: Image.Image, coefficients: list[float], window: Window) -> Pixels:
    size = window[2] - window[0], window[3] - window[1]
    return np.asarray(image.transform(size, Image.Transform.AFFINE, coefficients, Image.Resampling.BILINEAR))


def _warp_mask(mask: Mask, affine: Affine, runs_on: bool) -> Mask:
    """The mask where at least half a pixel is covered. With ``runs_on``, what leaves the crop goes on straight."""
    size = len(mask)
    window = (0, 0, size, size) if runs_on else _moved_window(_window(mask), affine, size)
    columns, rows, coefficients = _reached(affine, window)
    around = mask.take(rows, 0, mode="clip").take(columns, 1, mode="clip")
    if not runs_on:
        around &= _inside(rows, size)[:, None] & _inside(columns, size)
    warped = np.zeros_like(mask)
    grey = Image.fromarray(around.view(np.uint8) * np.uint8(255))
    warped[window[1] : window[3], window[0] : window[2]] = _warp(grey, coefficients, window) >= 128
    return warped


def _moved_window(window: Window, affine: Affine, size: int) -> Window:
    """A window of the sample around everything in a window of the crop."""
    corners = np.array([[x, y] for x in window[::2] for y in window[1::2]]) @ affine[:, :2].T + affine[:, 2]
    left, top = np.clip(np.floor(corners.min(0)).astype(int) - 2, 0, size - 1).tolist()
    right, bottom = np.clip(np.ceil(corners.max(0)).astype(int) + 2, 1, size).tolist()
    return left, top, max(right, left + 1), max(bottom, top + 1)


def _inside(steps: Steps, size: int) -> Mask:
    return (steps >= 0) & (steps < size)


def _warp_image(image: Pixels, whole: Mask, affine: Affine, window: Window) -> Pixels:
    """(h,w,4) colours in a window, and how far each pixel is hand or arm.

    Beyond the border of the crop the background is mirrored, and hand or arm go on straight: mirroring the arm too
    would give the hand a second one.
    """
    size = len(image)
    columns, rows, coefficients = _reached(affine, window)
    packed = np.dstack([image, whole.view(np.uint8) * np.uint8(255)]).view(np.uint32)[..., 0]
    straight = packed.take(rows, 0, mode="clip").take(columns, 1, mode="clip")
    mirrored = packed.take(_mirrored(rows, size), 0).take(_mirrored(columns, size), 1)
    on_skin = (straight | mirrored).view(np.uint8)[:, 3::4] != 0
    around = np.where(on_skin, straight, mirrored)
    # Pillow multiplies the colours of RGBA by their alpha; four bands of CMYK it leaves apart.
    return _warp(Image.frombuffer("CMYK", around.shape[::-1], around, "raw", "CMYK", 0, 1), coefficients, window)


def _without_rim(crop: _Crop) -> Pixels:
    """The crop's image, its hand's rim coloured like the skin next to it: the old background shines through there."""
    left, top, right, bottom = _window(crop.whole)
    part = slice(max(top - 3, 0), bottom + 3), slice(max(left - 3, 0), right + 3)
    inside = ndimage.binary_erosion(crop.whole[part], border_value=1)
    weights = ndimage.uniform_filter(inside.astype(np.float32), 5)[..., None]
    colours = ndimage.uniform_filter(crop.image[part] * inside[..., None].astype(np.float32), (5, 5, 1))
    rim = ~inside & (weights[..., 0] > 0.02)
    image = crop.image.copy()
    image[part][rim] = np.rint(colours[rim] / weights[rim]).clip(0, 255)
    return image


def _mirrored(steps: Steps, size: int) -> Steps:
    wave = steps % (2 * size)
    return np.minimum(wave, 2 * size - 1 - wave)


# The sample


def _paste(
    index: int,
    crops: list[_Crop],
    front: int,
    placed: tuple[_Placed, _Placed],
    gain: NDArray[np.float64],
    story: dict[str, Any],
) -> Sample:
    """``placed`` is the covered hand, then the pasted one; ``crops`` are right, left."""
    under, over = placed
    window = _window(over.whole)
    whole_picture = (0, 0, *over.whole.shape)
    base = _gained(_warp_image(under.crop.image, under.crop.whole, under.affine, whole_picture), gain)
    pasted = _warp_image(_without_rim(over.crop), over.crop.whole, over.affine, window)
    image = _over(base, _gained(pasted, gain), pasted[..., 3], over.whole, window)
    targets = [image, image]
    targets[1 - front] = base
    by_side = [under, over] if front == 1 else [over, under]
    visible = [one.hand & ~over.whole if one is under else one.hand for one in by_side]
    arm = [one.whole & ~one.hand & (~over.whole if one is under else True) for one in by_side]
    geometry = [_moved(one) for one in by_side]
    joints_2d = np.stack([g["joints_2d"] for g in geometry])
    states = np.stack([_joint_state(one, over if one is under else None) for one in by_side])
    return Sample(
        image=image,
        target_right=targets[0],
        target_left=targets[1],
        amodal_right=by_side[0].hand,
        amodal_left=by_side[1].hand,
        visible_right=visible[0],
        visible_left=visible[1],
        arm_right=arm[0],
        arm_left=arm[1],
        shaded=np.zeros_like(over.whole),
        joints_3d=np.stack([g["joints_3d"] for g in geometry]).astype(np.float32),
        joints_2d=joints_2d.astype(np.float32),
        joint_state=states,
        pose=np.stack([g["pose"] for g in geometry]).astype(np.float32),
        betas=np.stack([crop.betas for crop in crops]),
        transl=np.stack([g["transl"] for g in geometry]).astype(np.float32),
        camera=np.full((3, 3), np.nan, np.float32),
        present=np.array([one.hand.any() for one in by_side]),
        occlusion=np.array([occlusion(by_side[s].hand, visible[s]) for s in (0, 1)], np.float32),
        index=index,
        provenance={**story, "hands": {SIDES[side]: _origin(one) for side, one in enumerate(by_side)}},
    )


def _over(base: Pixels, pasted: Pixels, coverage: Pixels, whole: Mask, window: Window) -> Pixels:
    """Blend by coverage, but only within the mask: outside it, image and target must stay equal."""
    left, top, right, bottom = window
    image, cut = base.copy(), whole[top:bottom, left:right]
    part, alpha = image[top:bottom, left:right], coverage[cut][:, None].astype(np.uint16)
    part[cut] = (pasted[cut] * alpha + part[cut] * (255 - alpha) + 127) // 255
    return image


def _gained(image: Pixels, gain: NDArray[np.float64]) -> Pixels:
    table = np.rint(np.clip(np.arange(256)[:, None] * gain, 0, 255)).astype(np.uint8)
    return np.stack([table[image[..., channel], channel] for channel in range(3)], -1)


def _roll(affine: Affine) -> NDArray[np.float64]:
    """(3,3) rotation of the camera about its axis."""
    turn = np.eye(3)
    turn[:2, :2] = affine[:, :2] / np.sqrt(np.linalg.det(affine[:, :2]))
    return turn


def _moved(placed: _Placed) -> dict[str, NDArray[np.floating[Any]]]:
    """The crop's joints and pose in the rolled camera."""
    crop, turn = placed.crop, _roll(placed.affine)
    joints_3d = crop.joints_3d @ turn.T
    pose = crop.pose.astype(np.float64)
    if np.isfinite(pose[:3]).all():
        pose[:3] = (Rotation.from_matrix(turn) * Rotation.from_rotvec(pose[:3])).as_rotvec()
    rest_wrist = crop.joints_3d[0] - crop.transl  # a model turns about its wrist, which need not be its origin
    return {
        "joints_3d": joints_3d,
        "joints_2d": crop.joints_2d @ placed.affine[:, :2].T + placed.affine[:, 2],
        "pose": pose,
        "transl": joints_3d[0] - rest_wrist,
    }


def _joint_state(placed: _Placed, over: _Placed | None) -> NDArray[np.uint8]:
    """(21,) the crop's states, where they still hold. What the other hand hid in the source, nothing hides here."""
    size = len(placed.hand)
    known = ~np.isin(placed.crop.joint_state, (JOINT_OTHER_OCCLUDED, JOINT_OUTSIDE))
    state = np.where(known, placed.crop.joint_state, np.uint8(JOINT_UNKNOWN))
    joints_2d = placed.crop.joints_2d @ placed.affine[:, :2].T + placed.affine[:, 2]
    located = np.isfinite(joints_2d).all(-1)
    pixel = np.rint(np.where(located[:, None], joints_2d, 0)).astype(np.int64)
    outside = ((pixel < 0) | (pixel >= size)).any(-1)
    column, row = np.clip(pixel, 0, size - 1).T
    if over is not None:
        state[located & over.whole[row, column]] = JOINT_OTHER_OCCLUDED
    state[located & outside] = JOINT_OUTSIDE
    return state


def _origin(placed: _Placed) -> dict[str, Any]:
    crop, affine = placed.crop, placed.affine
    camera = np.vstack([affine, [0, 0, 1]]) @ crop.camera @ _roll(affine).T
    return {
        "source": crop.index,
        "position": crop.position,
        "affine": affine.tolist(),
        "camera": camera.tolist() if np.isfinite(camera).all() else None,
    }
