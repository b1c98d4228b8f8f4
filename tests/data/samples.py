"""Small samples drawn with a few ellipses: every mask, target and joint is consistent, nothing is rendered."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from aih_gen.compose.masks import occlusion
from aih_gen.compose.sample import JOINT_OTHER_OCCLUDED, JOINT_OUTSIDE, JOINT_SELF_OCCLUDED, JOINT_VISIBLE, Sample
from aih_gen.config import canonical_json, sample_rng
from aih_gen.shards.schema import Header
from aih_gen.shards.writer import write_shard
from aih_gen.typing import Codec

Mask = NDArray[np.bool_]


def make_sample(index: int, size: int = 64, hands: tuple[int, ...] = (0, 1)) -> Sample:
    """Two "hands", each a palm with fingers and an arm that leaves the image; either may be in front. Of ``hands`` (0
    right, 1 left) that are left out nothing is drawn.
    """  # fmt: skip
    rng = sample_rng(7, index)
    ends = rng.uniform(0, 255, (2, 3))
    slope = np.add.outer(np.linspace(0, 0.5, size), np.linspace(0, 0.5, size))[..., None]
    background = (
        (ends[0] * slope + ends[1] * (1 - slope) + rng.normal(0, 2, (size, size, 3))).clip(0, 255).astype(np.uint8)
    )
    tint = rng.integers(100, 220, (2, 3))
    centre = np.array([[0.4, 0.5], [0.6, 0.5]]) + rng.uniform(-0.1, 0.1, (2, 2))  # (x, y) in image sides
    joints_2d = np.stack([_joints(centre[side], side, rng) for side in (0, 1)]) * (size - 1)
    parts = [_hand_and_arm(joints_2d[side], side, size) for side in (0, 1)]
    amodal, arm = (np.stack([part[k] for part in parts]) for k in (0, 1))
    present = np.array([side in hands for side in (0, 1)])
    amodal, arm = amodal & present[:, None, None], arm & present[:, None, None]
    whole = amodal | arm
    front = int(rng.integers(2))
    shown = whole.copy()
    shown[1 - front] &= ~whole[front]

    coloured = [np.clip(background * 0.2 + tint[side], 0, 255).astype(np.uint8) for side in (0, 1)]
    image, targets = background.copy(), [background.copy(), background.copy()]
    for side in (0, 1):
        image[shown[side]] = coloured[side][shown[side]]
        targets[side][whole[side]] = coloured[side][whole[side]]
    visible, visible_arm = amodal & shown, arm & shown

    camera = np.array([[1.5 * size, 0, size / 2], [0, 1.5 * size, size / 2], [0, 0, 1]])
    depth = 0.5 + 0.02 * np.arange(21) / 21 + np.array([[0.0], [0.05]])
    joints_3d = np.concatenate([(joints_2d - size / 2) / (1.5 * size), np.ones((2, 21, 1))], -1) * depth[..., None]
    return Sample(
        image=image,
        target_right=targets[0],
        target_left=targets[1],
        amodal_right=amodal[0],
        amodal_left=amodal[1],
        visible_right=visible[0],
        visible_left=visible[1],
        arm_right=visible_arm[0],
        arm_left=visible_arm[1],
        shaded=np.zeros_like(amodal[0]),
        joints_3d=_known(joints_3d, present),
        joints_2d=_known(joints_2d, present),
        joint_state=_states(joints_2d, amodal, whole, front) * present[:, None],
        pose=_known(rng.normal(0, 0.3, (2, 48)), present),
        betas=_known(rng.normal(size=(2, 10)), present),
        transl=_known(joints_3d[:, 0], present),
        camera=camera.astype(np.float32),
        present=present,
        occlusion=np.array([occlusion(amodal[s], visible[s]) for s in (0, 1)], np.float32),
        index=index,
        provenance={"drawn": "ellipses", "front": front},
        depth=np.where(whole, depth.mean(1)[:, None, None], np.inf).astype(np.float16),
    )


NUMBERS: tuple[tuple[int, ...], ...] = ((0, 1), (0,), (1,), ())
"""Two hands, the right one, the left one, none."""


def write_numbers(path: Path, count: int, size: int = 64) -> list[Sample]:
    """Write ``count`` samples of two hands, one and none in turn (``NUMBERS``) as one shard, and return them."""
    samples = [make_sample(index, size, NUMBERS[index % len(NUMBERS)]) for index in range(count)]
    path.parent.mkdir(parents=True, exist_ok=True)
    write_shard(path, [samples], count, make_header())
    return samples


def write_samples(
    path: Path,
    count: int,
    size: int = 64,
    codec: Codec = "zstd",
    depth: bool = False,
    hands: tuple[int, ...] = (0, 1),
) -> list[Sample]:
    """Write the first ``count`` samples as one shard of AIH_Render, and return them."""
    samples = [make_sample(index, size, hands) for index in range(count)]
    path.parent.mkdir(parents=True, exist_ok=True)
    write_shard(path, [samples], count, make_header(), codec, depth)
    return samples


def make_header() -> Header:
    config = canonical_json({"subset": "AIH_Render", "drawn": "ellipses"})
    return Header("AIH_Render", config, hashlib.sha256(config.encode()).hexdigest(), 7, "ellipses", "1")


def _known(values: NDArray[np.float64], present: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Values (2,...) of the hands that are present, NaN of the others."""
    there = present.reshape(2, *[1] * (values.ndim - 1))
    return np.where(there, values, np.nan).astype(np.float32)


def _joints(centre: NDArray[np.float64], side: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """(21,2) in image sides: fingers point up and a little inwards, the wrist is below."""
    lean = rng.uniform(-0.3, 0.3)
    angles = np.deg2rad(np.linspace(-50, 40, 5)) * (1 if side == 0 else -1) + lean
    up = np.stack([np.sin(angles), -np.cos(angles)], -1)  # (5,2)
    reach = np.array([0.09, 0.13, 0.16, 0.19])
    fingers = centre + up[:, None] * reach[:, None]
    wrist = centre - 0.1 * np.array([np.sin(lean), -np.cos(lean)])
    return np.concatenate([wrist[None], fingers.reshape(20, 2)])


def _hand_and_arm(joints: NDArray[np.float64], side: int, size: int) -> tuple[Mask, Mask]:
    rows, columns = np.mgrid[:size, :size]
    pixels = np.stack([columns, rows], -1).astype(np.float64)
    palm = joints[[0, 5, 9, 13, 17]].mean(0)
    hand = _near_segment(pixels, palm, palm, 0.11 * size)
    for finger in range(5):
        hand |= _near_segment(pixels, palm, joints[4 + 4 * finger], 0.03 * size)
    away = joints[0] - palm
    arm = _near_segment(pixels, joints[0], joints[0] + away / np.linalg.norm(away) * size, 0.06 * size)
    return hand, arm & ~hand


def _near_segment(
    pixels: NDArray[np.float64], start: NDArray[np.float64], stop: NDArray[np.float64], radius: float
) -> Mask:
    along = stop - start
    share = np.clip((pixels - start) @ along / max(along @ along, 1e-9), 0, 1)
    return np.linalg.norm(pixels - start - share[..., None] * along, axis=-1) <= radius


def _states(joints: NDArray[np.float64], amodal: Mask, whole: Mask, front: int) -> NDArray[np.uint8]:
    size = whole.shape[-1]
    pixel = np.rint(joints).astype(int)
    outside = ((pixel < 0) | (pixel >= size)).any(-1)
    column, row = np.clip(pixel, 0, size - 1).transpose(2, 0, 1)
    on_hand = np.stack([amodal[side][row[side], column[side]] for side in (0, 1)])
    state = np.where(on_hand, np.uint8(JOINT_VISIBLE), np.uint8(JOINT_SELF_OCCLUDED))
    state[1 - front][whole[front][row[1 - front], column[1 - front]]] = JOINT_OTHER_OCCLUDED
    state[outside] = JOINT_OUTSIDE
    return state
