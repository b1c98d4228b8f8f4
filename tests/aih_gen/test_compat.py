"""A program written for manopth runs on our ManoLayer and gets manopth's numbers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from aih_gen.config import SIDES
from aih_gen.errors import AssetError
from aih_gen.hands import export_free_hand, load_hand_model
from aih_gen.hands.compat import ManoLayer, nearest_rotations
from aih_gen.typing import Side

REFERENCE = Path(__file__).parents[3] / "shared" / "reference"
needs_reference = pytest.mark.skipif(not REFERENCE.is_dir(), reason=f"needs licensed files: {REFERENCE}")
MANO = REFERENCE / "mano"


@pytest.fixture(scope="module")
def case() -> Any:
    return np.load(REFERENCE / "mano_case.npz")


def tensors(case: Any, *names: str) -> list[torch.Tensor]:
    return [torch.from_numpy(case[name]).float() for name in names]


def close(found: tuple[torch.Tensor, torch.Tensor], expected: tuple[Any, Any], millimetres: float = 1e-3) -> bool:
    return all(np.abs(np.asarray(a) - np.asarray(b)).max() < millimetres for a, b in zip(found, expected, strict=True))


@needs_reference
@pytest.mark.parametrize("side", SIDES)
def test_axis_angles_give_manopths_vertices_and_joints(case: Any, side: Side) -> None:
    layer = ManoLayer(mano_root=str(MANO), side=side, use_pca=False, flat_hand_mean=True)
    found = layer(*tensors(case, "axis_angle", "betas", "trans"))
    assert close(found, (case[f"manopth_{side}_flat_verts_mm"], case[f"manopth_{side}_flat_joints_mm"]))


@needs_reference
@pytest.mark.parametrize("side", SIDES)
def test_principal_components_centred_on_a_joint_give_manopths_vertices_and_joints(case: Any, side: Side) -> None:
    layer = ManoLayer(center_idx=9, flat_hand_mean=False, ncomps=12, side=side, mano_root=str(MANO))
    found = layer(*tensors(case, "pca", "betas"))
    assert close(found, (case[f"manopth_{side}_pca_verts_mm"], case[f"manopth_{side}_pca_joints_mm"]))
    assert torch.equal(found[1][:, 9], torch.zeros(4, 3))


@needs_reference
def test_a_translation_takes_the_place_of_centring_and_zero_is_none(case: Any) -> None:
    pose, betas, trans = tensors(case, "axis_angle", "betas", "trans")
    plain, centred = (ManoLayer(mano_root=MANO, use_pca=False, center_idx=c) for c in (None, 0))
    assert close(centred(pose, betas, trans), plain(pose, betas, trans))
    verts, joints = plain(pose, betas)
    for nothing in (None, torch.zeros(1), torch.zeros(4, 3)):
        assert close(centred(pose, betas, nothing), (verts - joints[:, :1], joints - joints[:, :1]))
        assert close(plain(pose, betas, nothing), (verts, joints), 1e-9)


@needs_reference
def test_one_number_or_none_as_betas_is_the_mean_shape_and_shared_betas_are_averaged(case: Any) -> None:
    pose, betas = tensors(case, "axis_angle", "betas")
    layer = ManoLayer(mano_root=MANO, use_pca=False)
    expected = layer(pose, torch.zeros(4, 10))
    assert close(layer(pose), expected, 1e-9) and close(layer(pose, None), expected, 1e-9)
    shared = layer(pose, betas, share_betas=torch.Tensor([1]))
    assert close(shared, layer(pose, betas.mean(0).expand(4, 10)), 1e-4)


@needs_reference
def test_the_palm_stands_for_the_wrist_and_can_be_the_centre(case: Any) -> None:
    pose, betas = tensors(case, "axis_angle", "betas")
    verts, joints = ManoLayer(mano_root=MANO, use_pca=False)(pose, betas)
    palm = (verts[:, 95] + verts[:, 22]) / 2
    found = ManoLayer(mano_root=MANO, use_pca=False)(pose, betas, root_palm=torch.Tensor([1]))
    assert close(found, (verts, torch.cat([palm[:, None], joints[:, 1:]], 1)), 1e-4)
    centred = ManoLayer(mano_root=MANO, use_pca=False, center_idx=0)(pose, betas, root_palm=True)
    assert close(centred, tuple(points - palm[:, None] for points in found), 1e-3)


@needs_reference
@pytest.mark.parametrize("robust", [False, True])
def test_six_numbers_that_are_two_columns_of_a_rotation_are_that_rotation(case: Any, robust: bool) -> None:
    pose, betas = tensors(case, "axis_angle", "betas")
    matrices = torch.from_numpy(Rotation.from_rotvec(pose[:, :3].numpy()).as_matrix()).float()
    six = torch.cat([matrices[:, :, 0], 3 * matrices[:, :, 1], pose[:, 3:]], 1)
    layer = ManoLayer(mano_root=MANO, use_pca=False, root_rot_mode="rot6d", robust_rot=robust)
    assert close(layer(six, betas), ManoLayer(mano_root=MANO, use_pca=False)(pose, betas))


@needs_reference
def test_columns_that_are_not_orthogonal_are_corrected_on_one_side_or_evenly() -> None:
    angle = np.deg2rad(70.0)
    pose = torch.zeros(1, 6 + 45)
    pose[0, :6] = torch.tensor([2.0, 0, 0, np.cos(angle), np.sin(angle), 0])
    expected = {False: 0.0, True: np.deg2rad(-10)}  # the two columns lie 20 degrees too close
    for robust, rotated in expected.items():
        layer = ManoLayer(mano_root=MANO, use_pca=False, root_rot_mode="rot6d", robust_rot=robust)
        usual = torch.zeros(1, 48)
        usual[0, 2] = rotated
        assert close(layer(pose), ManoLayer(mano_root=MANO, use_pca=False)(usual))


@needs_reference
def test_matrices_are_taken_for_all_bones_and_made_rotations_first(case: Any) -> None:
    pose, betas = tensors(case, "axis_angle", "betas")
    rotations = Rotation.from_rotvec(pose.reshape(-1, 3).numpy()).as_matrix().reshape(4, 16, 3, 3)
    stretched = 1.2 * rotations
    layer = ManoLayer(mano_root=MANO, use_pca=False, joint_rot_mode="rotmat")
    found = layer(torch.from_numpy(stretched).float(), betas)
    assert close(found, ManoLayer(mano_root=MANO, use_pca=False)(pose, betas))
    with pytest.raises(ValueError, match="th_pose_coeffs: expected shape"):
        layer(pose, betas)


@needs_reference
def test_buffers_have_manopths_names_and_shapes_and_the_hand_follows_them(case: Any) -> None:
    layer = ManoLayer(mano_root=MANO, ncomps=12, flat_hand_mean=False)
    assert {name: tuple(buffer.shape) for name, buffer in layer.named_buffers()} == {
        "th_betas": (1, 10),
        "th_shapedirs": (778, 3, 10),
        "th_posedirs": (778, 3, 135),
        "th_v_template": (1, 778, 3),
        "th_J_regressor": (16, 778),
        "th_weights": (778, 16),
        "th_faces": (1538, 3),
        "th_hands_mean": (1, 45),
        "th_comps": (45, 45),
        "th_selected_comps": (12, 45),
    }
    assert layer.kintree_parents[1:] == [0, 1, 2, 0, 4, 5, 0, 7, 8, 0, 10, 11, 0, 13, 14]
    pose, betas = tensors(case, "pca", "betas")
    before = layer(pose, betas)[0]
    layer.th_shapedirs[:, 0] *= -1  # what programs do to repair the left hand themselves
    assert not torch.allclose(layer(pose, betas)[0], before, atol=0.1)


@needs_reference
def test_gradients_reach_pose_betas_and_translation(case: Any) -> None:
    inputs = [tensor.requires_grad_() for tensor in tensors(case, "pca", "betas", "trans")]
    verts, joints = ManoLayer(mano_root=MANO, ncomps=12)(*inputs)
    (verts.sum() + joints.sum()).backward()
    for tensor in inputs:
        assert tensor.grad is not None and torch.isfinite(tensor.grad).all() and tensor.grad.abs().max() > 0


def test_the_exported_free_hand_works_in_it_but_has_no_palm(tmp_path: Path) -> None:
    export_free_hand(tmp_path, "left")
    layer, pose = ManoLayer(mano_root=tmp_path, side="left", use_pca=False), torch.full((2, 48), 0.1)
    ours = load_hand_model("free", "left")(pose)
    assert close(layer(pose), (ours.vertices * 1e3, ours.joints * 1e3))
    with pytest.raises(ValueError, match="root_palm: expected MANO's 778 vertices, found 1609"):
        layer(pose, root_palm=True)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"side": "both"}, "side: expected 'right' or 'left', found 'both'"),
        ({"root_rot_mode": "quat"}, "root_rot_mode: expected 'axisang' or 'rot6d'"),
        ({"joint_rot_mode": "quat"}, "joint_rot_mode: expected 'axisang' or 'rotmat'"),
    ],
)
def test_a_mode_that_does_not_exist_is_refused(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ManoLayer(**wrong)


def layer_of(tmp_path: Path, **settings: Any) -> ManoLayer:
    export_free_hand(tmp_path, "right")
    return ManoLayer(mano_root=tmp_path, **settings)


def test_matrices_have_the_slopes_of_the_nearest_rotation_at_rotations_too() -> None:
    exact = torch.from_numpy(Rotation.random(4, rng=1).as_matrix())
    for matrices in (exact, torch.eye(3, dtype=torch.float64).expand(2, 3, 3), 2 * exact, exact + 0.3):
        assert torch.autograd.gradcheck(nearest_rotations, matrices.clone().requires_grad_(), atol=1e-6)
    reflection = exact * torch.tensor([1.0, 1.0, -1.0])
    assert torch.allclose(torch.linalg.det(nearest_rotations(reflection)), torch.ones(4, dtype=torch.float64))


def test_gradients_of_exact_rotations_are_numbers(tmp_path: Path) -> None:
    layer = layer_of(tmp_path, use_pca=False, joint_rot_mode="rotmat")
    pose = torch.eye(3).expand(2, 16, 3, 3).clone().requires_grad_()
    (layer(pose)[1].square().sum()).backward()  # type: ignore[no-untyped-call]
    assert pose.grad is not None and torch.isfinite(pose.grad).all() and pose.grad.abs().max() > 0


@pytest.mark.parametrize("root", ["axisang", "rot6d"])
@pytest.mark.parametrize("fingers", ["axisang", "rotmat", "pca"])
def test_no_hand_is_a_batch_of_none(root: Any, fingers: Any, tmp_path: Path) -> None:
    use_pca, mode = fingers == "pca", "axisang" if fingers == "pca" else fingers
    layer = layer_of(tmp_path, use_pca=use_pca, joint_rot_mode=mode, root_rot_mode=root)
    pose = torch.zeros(0, 16, 3, 3) if fingers == "rotmat" else torch.zeros(0, layer.rot + layer.ncomps)
    for arguments in ((pose,), (pose, torch.zeros(0, 10), torch.zeros(0, 3))):
        assert [tuple(points.shape) for points in layer(*arguments)] == [(0, 1609, 3), (0, 21, 3)]
    hand = load_hand_model("free")
    assert [tuple(points.shape)[::2] for points in hand(torch.zeros(0, 48), torch.zeros(0, 10))] == [(0, 3)] * 4


def test_a_shape_that_does_not_fit_the_batch_is_named(tmp_path: Path) -> None:
    layer, hand, pose = layer_of(tmp_path, use_pca=False), load_hand_model("free"), torch.zeros(2, 48)
    for wrong in ((3, 10), (2, 9), (2, 10, 1)):
        with pytest.raises(ValueError, match=rf"th_betas: expected shape \(2, 10\), found \({wrong[0]}, {wrong[1]}"):
            layer(pose, torch.zeros(wrong))
        with pytest.raises(ValueError, match=r"betas: expected shape \(2, 10\)"):
            hand(pose, torch.zeros(wrong))
    for name, call in (("th_trans", layer), ("transl", hand)):
        with pytest.raises(ValueError, match=rf"{name}: expected shape \(2, 3\), found \(3, 3\)"):
            call(pose, torch.zeros(2, 10), torch.ones(3, 3))
    with pytest.raises(ValueError, match="pca: expected 0 to 45, found 60"):
        hand(torch.zeros(2, 63), pca=60)
    assert torch.equal(hand(pose, torch.ones(1, 10)).vertices, hand(pose, torch.ones(2, 10)).vertices)
    assert torch.equal(layer(pose, torch.ones(10))[0], layer(pose, torch.ones(2, 10))[0])


def test_a_missing_folder_and_a_short_pose_are_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(AssetError, match="found neither"):
        ManoLayer(mano_root=tmp_path)
    export_free_hand(tmp_path, "right")
    with pytest.raises(ValueError, match=r"th_pose_coeffs: expected shape \(B, 9\), found \(2, 8\)"):
        ManoLayer(mano_root=tmp_path)(torch.zeros(2, 8))
