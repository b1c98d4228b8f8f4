"""Confidence and the cause of hiding: of hands and joints in a result."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from aih_gen.compose.rendered import RenderedSource
from aih_gen.compose.sample import (
    JOINT_OTHER_OCCLUDED,
    JOINT_OUTSIDE,
    JOINT_SELF_OCCLUDED,
    JOINT_UNKNOWN,
    JOINT_VISIBLE,
)
from aih_gen.config import SIDES, RenderConfig
from hdr_model.inference.joint_states import below_own_hand, joint_states
from hdr_model.inference.pipeline import HDR
from hdr_model.nets.hasm import BOTH, HAND_MASKS, LEFT, NONE, RIGHT, HASMOutput, margins
from tests.hdr_model.test_pipeline import hdr, photo  # noqa: F401


def test_states_are_mostly_those_that_the_renderer_knows() -> None:
    found, true = [], []
    for sample in RenderedSource(RenderConfig(seed=5, size=128)).samples(range(20)):
        masks = {
            f"{side}_{kind}": getattr(sample, kind)[k]
            for k, side in enumerate(SIDES)
            for kind in ("amodal", "visible", "arm")
        }
        for k in np.flatnonzero(sample.present):
            joints = sample.joints_3d[k] - sample.joints_3d[k, :1]
            found.append(joint_states(sample.joints_2d[k], joints, masks, SIDES[k]))
            true.append(sample.joint_state[k])
    states, expected = np.concatenate(found), np.concatenate(true)
    assert (states == expected).mean() > 0.85
    for state in (JOINT_OTHER_OCCLUDED, JOINT_OUTSIDE):
        np.testing.assert_array_equal(states == state, expected == state)
    assert (states[expected == JOINT_SELF_OCCLUDED] == JOINT_SELF_OCCLUDED).mean() > 0.5


def test_a_finger_before_the_palm_hides_it() -> None:
    joints = np.zeros((21, 3), np.float32)
    joints[:, 0] = np.arange(21) * 0.05
    joints[9] = joints[5] + (0, 0, 0.05)
    assert np.flatnonzero(below_own_hand(joints)).tolist() == [9]


def test_joints_outside_the_photo_and_off_the_masks_are_said_to_be() -> None:
    nothing = np.zeros((8, 8), bool)
    masks = {f"{side}_{kind}": nothing for side in SIDES for kind in ("amodal", "visible")}
    joints_2d = np.full((21, 2), 3, np.float32)
    joints_2d[0] = -1, 3
    states = joint_states(joints_2d, np.zeros((21, 3), np.float32), masks, "left")
    assert states.tolist() == [JOINT_OUTSIDE] + [JOINT_UNKNOWN] * 20


def test_a_result_has_confidence_and_states(hdr: HDR) -> None:  # noqa: F811
    result = hdr(photo(left=False))
    right, left = result.right, result.left
    assert 0.5 < right.confidence < 0.6, "the stub's margins are about 0.2"
    assert (right.joint_confidence > 0.5).all() and (right.joint_confidence < 215 / 255).all(), "bluest less greenest"
    assert set(right.joint_state.tolist()) == {JOINT_VISIBLE}
    assert np.isnan(left.confidence) and np.isnan(left.joint_confidence).all() and not left.joint_state.any()
    plain = json.loads(json.dumps(result.to_dict(), allow_nan=False))
    assert plain["joint_states"][plain["right"]["joint_state"][0]] == "visible"
    assert plain["right"]["confidence"] == pytest.approx(right.confidence, abs=1e-4)
    assert plain["left"] == {"present": False, **dict.fromkeys(plain["left"].keys() - {"present"})}
    arrays = result.arrays()
    assert {name: arrays[name].shape for name in ("confidence", "joint_confidence", "joint_state")} == {
        "confidence": (2,),
        "joint_confidence": (2, 21),
        "joint_state": (2, 21),
    }


def test_known_masks_say_nothing_of_confidence(hdr: HDR) -> None:  # noqa: F811
    image = photo()
    masks = {name: torch.from_numpy(mask)[None] for name, mask in hdr(image).masks.items()}
    (result,) = hdr.separate([image], [masks])
    assert result.right.present and np.isnan(result.right.confidence)
    assert result.to_dict()["right"]["confidence"] is None  # type: ignore[index]


def test_confidence_is_that_the_hand_is_there_and_that_its_mask_is_right() -> None:
    logits = {name: torch.zeros(4, 2, 4, 4) for name in HAND_MASKS}
    for name in ("right_amodal", "left_amodal"):
        logits[name][:, 1] = 2.0
    presence = torch.full((4, 4), -9.0)
    presence[torch.arange(4), torch.tensor([NONE, RIGHT, LEFT, BOTH])] = 9.0
    sure = torch.tensor(2.0).sigmoid().item()
    expected = torch.tensor([[0, 0], [sure, 0], [0, sure], [sure, sure]])
    torch.testing.assert_close(margins(HASMOutput(logits, presence)).confidence, expected, atol=1e-5, rtol=0)
    torch.testing.assert_close(margins(logits).confidence, torch.full((4, 2), sure))
