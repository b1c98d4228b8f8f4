"""Hands: parameters in, mesh and joints out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from aih_gen.errors import AssetError
from aih_gen.hands import load_hand_model
from aih_gen.hands.joints import BONES, JOINT_NAMES
from aih_gen.hands.model import rotation_matrices
from tests.data.mirror import mirror_axis_angle


def random_pose(seed: int = 0, batch: int = 3) -> torch.Tensor:
    return 0.5 * torch.randn(batch, 48, generator=torch.Generator().manual_seed(seed))


def test_the_free_hand_rests_flat_with_fingers_along_minus_x_and_its_wrist_at_the_origin() -> None:
    joints = load_hand_model("free")(torch.zeros(1, 48)).joints[0]
    assert torch.allclose(joints[0], torch.zeros(3), atol=1e-7)
    for finger in ("index", "middle", "ring", "little"):
        base, tip = (joints[JOINT_NAMES.index(f"{finger}{k}")] for k in (1, 4))
        direction = (tip - base) / (tip - base).norm()
        assert direction[0] < -0.8 and abs(direction[1]) < 0.15
    assert joints[JOINT_NAMES.index("thumb4"), 2] > joints[JOINT_NAMES.index("little4"), 2]
    assert 0.17 < joints[JOINT_NAMES.index("middle4")].norm() < 0.21


def test_turning_about_plus_z_bends_a_right_finger_towards_the_palm() -> None:
    pose = torch.zeros(1, 48)
    pose[0, 3 + 2] = 1.0
    joints = load_hand_model("free")(pose).joints[0]
    assert joints[JOINT_NAMES.index("index4"), 1] < -0.04


def test_a_left_hand_is_the_mirrored_right_hand() -> None:
    pose, betas = random_pose(), torch.randn(3, 10)
    right = load_hand_model("free", "right")(pose, betas)
    mirrored = torch.from_numpy(mirror_axis_angle(pose.numpy()))
    left = load_hand_model("free", "left")(mirrored, betas)
    flip = torch.tensor([-1.0, 1, 1])
    for a, b in zip(right, left, strict=True):
        assert torch.allclose(a * flip, b, atol=1e-6)


def test_surfaces_face_outwards_on_both_sides() -> None:
    for side in ("right", "left"):
        hand = load_hand_model("free", side)
        v = hand(torch.zeros(1, 48)).vertices[0]
        a, b, c = v[hand.faces].unbind(1)
        volume = (a * torch.linalg.cross(b, c)).sum() / 6
        assert volume > 1e-4, side


def test_bones_keep_their_length_whatever_the_pose() -> None:
    hand, betas = load_hand_model("free"), torch.randn(1, 10).expand(3, 10)
    child, parent = [c for p, c in BONES if c % 4], [p for p, c in BONES if c % 4]
    lengths = [(j[:, child] - j[:, parent]).norm(dim=-1) for j in (hand(random_pose(s), betas).joints for s in (1, 2))]
    assert torch.allclose(*lengths, atol=1e-6)


def test_moving_the_hand_moves_the_arm_with_it_and_bending_the_wrist_moves_the_arm_alone() -> None:
    hand, pose = load_hand_model("free"), random_pose(batch=1)
    still = hand(pose)
    moved = hand(pose, transl=torch.tensor([[0.1, 0.2, 0.3]]))
    assert torch.allclose(moved.arm_vertices - still.arm_vertices, torch.tensor([0.1, 0.2, 0.3]), atol=1e-6)
    bent = hand(pose, arm_pose=torch.tensor([[0, 0, 0.5]]))
    assert torch.equal(bent.vertices, still.vertices)
    assert (bent.arm_vertices - still.arm_vertices).norm(dim=-1).max() > 0.05


def test_gradients_reach_the_pose_also_at_zero() -> None:
    pose = torch.zeros(1, 48, dtype=torch.float64, requires_grad=True)
    load_hand_model("free").double()(pose).vertices[0, -1].sum().backward()
    assert pose.grad is not None and torch.isfinite(pose.grad).all()


def test_a_float64_hand_computes_in_float64() -> None:
    pose = random_pose().double()
    exact = load_hand_model("free", dtype=torch.float64)(pose).vertices
    rounded = load_hand_model("free")(pose.float()).vertices
    assert exact.dtype == torch.float64
    assert 0 < (exact - rounded).abs().max() < 1e-6


def test_the_same_pose_gives_the_same_bits() -> None:
    hand, pose = load_hand_model("free"), random_pose(batch=1)
    first = hand(pose)
    for _ in range(5):
        assert all(torch.equal(a, b) for a, b in zip(first, hand(pose), strict=True))


@pytest.mark.parametrize("size", [0.0, 1e-9, 1e-6, 1.1e-6, 1e-3, 1.0, 3.1, np.pi, 6.0])
def test_rotations_are_rodrigues_formula_at_any_angle(size: float) -> None:
    axis = np.array([[0.6, 0.0, -0.8], [-0.48, 0.6, 0.64]])
    expected = Rotation.from_rotvec(size * axis).as_matrix()
    for dtype, error in ((torch.float64, 1e-15), (torch.float32, 5e-7)):
        found = rotation_matrices(torch.tensor(size * axis, dtype=dtype)).numpy()
        assert np.abs(found - expected).max() <= error


def test_a_damaged_free_hand_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aih_gen.hands.free.asset_path", lambda name: tmp_path)
    np.savez(tmp_path / "free_hand.npz", v_template=np.zeros(3))
    with pytest.raises(AssetError, match="none that can be read"):
        load_hand_model("free")
    (tmp_path / "free_hand.npz").write_bytes(b"PK damaged")
    with pytest.raises(AssetError, match="none that can be read"):
        load_hand_model("free")
