"""Hands: parameters in, mesh and joints out."""

from __future__ import annotations

import os
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch

from aih_gen.errors import AssetError
from aih_gen.hands import load_hand_model
from aih_gen.hands.joints import BONES, JOINT_NAMES, mirror_axis_angle

REFERENCE = Path(__file__).parents[3] / "shared" / "reference"
needs_reference = pytest.mark.skipif(not REFERENCE.is_dir(), reason="no shared/reference beside the project")


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


@needs_reference
@pytest.mark.parametrize("side", ["right", "left"])
def test_a_mano_file_gives_what_two_public_layers_give(side: str) -> None:
    case = np.load(REFERENCE / "mano_case.npz")
    hand = load_hand_model(REFERENCE / "mano", side)  # type: ignore[arg-type]
    pose, pca, betas, transl = (torch.from_numpy(case[k]).float() for k in ("axis_angle", "pca", "betas", "trans"))
    ours = hand(pose, betas, transl)
    assert np.abs(ours.vertices.numpy() * 1e3 - case[f"manopth_{side}_flat_verts_mm"]).max() < 1e-3
    assert np.abs(ours.joints.numpy() * 1e3 - case[f"manopth_{side}_flat_joints_mm"]).max() < 1e-3
    assert np.abs(ours.vertices.numpy() - case[f"smplx_{side}_flat_verts_m"]).max() < 1e-6
    assert np.abs(ours.joints16.numpy() - case[f"smplx_{side}_flat_joints_m"]).max() < 1e-6
    mean = hand(pca, betas, flat_hand_mean=False, pca=12)
    centred = (mean.vertices - mean.joints[:, 9:10]).numpy() * 1e3
    assert np.abs(centred - case[f"manopth_{side}_pca_verts_mm"]).max() < 1e-3


class Hostile:
    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, (f"touch {self.marker}",)


def test_a_pickle_with_anything_else_in_it_is_refused_by_name_and_nothing_runs(tmp_path: Path) -> None:
    marker = tmp_path / "ran"
    (tmp_path / "MANO_RIGHT.pkl").write_bytes(pickle.dumps({"v_template": Hostile(marker)}))
    with pytest.raises(AssetError, match="system"):
        load_hand_model(tmp_path)
    assert not marker.exists()


def test_a_missing_or_cut_model_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(AssetError, match="found neither"):
        load_hand_model(tmp_path)
    (tmp_path / "MANO_RIGHT.pkl").write_bytes(pickle.dumps({"v_template": 1})[:-3])
    with pytest.raises(AssetError, match="cannot be read"):
        load_hand_model(tmp_path)
