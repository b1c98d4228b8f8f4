"""Joints: each protocol against numbers worked out by hand, on hands whose errors are known."""

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from hdr_model.evaluation.metrics import aligned_errors, area_under, correct_share, place_hands
from hdr_model.evaluation.pose import METHODS, PoseScores, occlusion_groups, pose_grids
from hdr_model.evaluation.protocols import HDR_OWN, P1, P2, P2_UNSCALED, P3, protocol_errors
from hdr_model.evaluation.published import ABLATION, reduction

Array = NDArray[np.float64]
CAMERA = np.array([[500.0, 0, 128], [0, 480, 120], [0, 0, 1]])


def hand(seed: int = 0, bone: float = 1.0) -> Array:
    """A right hand with a bone of that length from the wrist, which is at the origin, to the middle MCP."""
    joints = np.random.default_rng(seed).normal(size=(21, 3))
    joints[0] = 0
    return joints * bone / np.linalg.norm(joints[9])


def project(joints: Array) -> Array:
    seen = joints @ CAMERA.T
    return seen[:, :2] / seen[:, 2:]


def errors(predicted: Array, true: Array, protocol: object, bone_length: float = 0.1) -> Array:
    return protocol_errors(predicted[None], true[None], protocol, bone_length)[0]  # type: ignore[arg-type]


def test_a_prediction_right_but_for_its_size_is_right_in_every_protocol_with_scale() -> None:
    shape = hand()
    true = shape * 0.08 + (0.1, 0.2, 0.7)
    for protocol in (P2, P3):
        np.testing.assert_allclose(errors(3 * shape, true, protocol), 0, atol=1e-9)
    np.testing.assert_allclose(errors(shape, true, HDR_OWN), 0, atol=1e-9)


def test_without_scale_an_average_bone_is_compared_with_the_true_one() -> None:
    shape = hand()
    true = shape * 0.08
    expected = 1000 * 0.02 * np.linalg.norm(shape, axis=1)
    np.testing.assert_allclose(errors(shape, true, P1), expected)
    about_mcp = 1000 * 0.02 * np.linalg.norm(shape - shape[9], axis=1)
    np.testing.assert_allclose(errors(shape, true, P2_UNSCALED), about_mcp)


def test_the_root_is_what_a_protocol_says() -> None:
    true, moved = hand(bone=0.1), hand()
    moved[0] += (0, 0, 0.5)
    assert errors(moved, true, P1)[0] == 0
    assert errors(moved, true, P1)[20] == pytest.approx(50)
    assert errors(moved, true, P2_UNSCALED)[9] == 0
    assert errors(moved, true, P2_UNSCALED)[0] == pytest.approx(50)
    assert errors(moved, true, P2_UNSCALED)[20] == pytest.approx(0, abs=1e-9)


def test_a_hand_without_its_reference_bone_has_no_scaled_error_but_an_unscaled_one() -> None:
    true = hand(bone=0.1)
    true[9] = np.nan
    assert np.isnan(errors(hand(), true, P3)).all()
    assert np.isnan(errors(hand(), true, P1)).sum() == 1


def test_alignment_takes_rotation_scale_and_place_away_but_not_mirroring() -> None:
    true = 80 * hand()
    turned = 0.3 * hand() @ Rotation.from_rotvec([0.4, -1, 2]).as_matrix() + (5, 6, 7)
    np.testing.assert_allclose(aligned_errors(turned[None], true[None]), 0, atol=1e-9)
    assert aligned_errors((hand() * (-1, 1, 1))[None], true[None]).mean() > 5


def test_alignment_is_scipys_rotation_and_the_least_squares_scale() -> None:
    true, predicted = 80 * hand(0), 80 * hand(1)
    p, t = predicted - predicted.mean(0), true - true.mean(0)
    rotation, _ = Rotation.align_vectors(t, p)
    rotated = rotation.apply(p)
    scale = (rotated * t).sum() / (p**2).sum()
    expected = np.linalg.norm(scale * rotated - t, axis=1)
    np.testing.assert_allclose(aligned_errors(predicted[None], true[None])[0], expected, rtol=1e-6)


def test_alignment_leaves_unknown_joints_out() -> None:
    true, predicted = 80 * hand(), hand()
    true[5:] = np.nan
    predicted[5:] = 9
    found = aligned_errors(predicted[None], true[None])[0]
    np.testing.assert_allclose(found[:5], 0, atol=1e-9)
    assert np.isnan(found[5:]).all()


def test_pck_counts_known_joints_and_auc_is_its_area() -> None:
    known = np.array([[10.0, 20.0, np.nan, 30.0, 40.0]])
    thresholds = np.array([0.0, 10.0, 20.0, 30.0, 40.0])
    share = correct_share(known, thresholds)
    np.testing.assert_allclose(share, [0, 0.25, 0.5, 0.75, 1])
    assert area_under(share, thresholds) == pytest.approx(0.5)


def test_a_wrist_is_where_the_camera_sees_the_joints() -> None:
    wrist = np.array([0.05, -0.02, 0.6])
    joints = hand(bone=0.09)
    pixels = project(joints + wrist)
    np.testing.assert_allclose(place_hands(pixels[None], joints[None], CAMERA[None])[0], wrist, atol=1e-9)
    assert np.isnan(place_hands(pixels[None] * np.nan, joints[None], CAMERA[None])).all()


def scores() -> PoseScores:
    """Sample 0 has two hands that touch, sample 1 two apart, sample 2 a right hand; predictions true to shape."""
    gathered = PoseScores(0.1)
    for sample, side, touching, both in (
        (0, 0, True, True), (0, 1, True, True), (1, 0, False, True), (1, 1, False, True), (2, 0, False, False),
    ):  # fmt: skip
        shape, wrist = hand(sample), np.array([0.1 * side, 0.0, 0.5 + 0.1 * side])
        gathered.sample.append(sample)
        gathered.hand.append(side)
        gathered.interacting.append(both)
        gathered.touching.append(touching)
        gathered.occlusion.append(0.2 * sample)
        gathered.pixel.append(2.0 if side else 1.0)
        gathered.camera.append(CAMERA)
        gathered.true.append(0.1 * shape + wrist)
        gathered.true_2d.append(np.add(project(0.1 * shape + wrist), (3, 4)))
        for method in METHODS:
            gathered.joints_3d[method].append(shape)
            gathered.joints_2d[method].append(project(0.1 * shape + wrist))
    return gathered


def test_splits_are_by_sample_and_by_touching_masks() -> None:
    assert {name: int(chosen.sum()) for name, chosen in scores().splits().items()} == {
        "SH": 1, "IH": 4, "ALL": 5, "Inter": 2,
    }  # fmt: skip


def test_mrrpe_is_zero_for_true_hands_and_the_offset_of_a_moved_one() -> None:
    gathered = scores()
    np.testing.assert_allclose(gathered.wrist_errors("SHPE alone", scaled=False), [0, 0], atol=1e-6)
    gathered.true[1] = gathered.true[1] + (0, 0.03, 0.04)
    np.testing.assert_allclose(gathered.wrist_errors("SHPE alone", scaled=True), [50, 0], atol=1e-6)


def test_every_grid_has_a_figure_for_each_column_and_published_lines_are_marked() -> None:
    grids = list(pose_grids(scores()))
    for grid in grids:
        assert all(len(line.values) == len(grid.columns) for line in grid.lines)
        assert all(("[" in line.name) == line.published for line in grid.lines)
    pixels = next(grid for grid in grids if "EPE" in grid.title)
    assert pixels.lines[0].values == pytest.approx((5, 10, 7))
    ours = [line for line in grids[0].lines if not line.published]
    assert len(ours) == 5 * len(METHODS)
    assert all(value == pytest.approx(0, abs=1e-6) for line in ours for value in line.values)


def test_data_without_3d_joints_still_has_pixel_errors_and_dashes_elsewhere() -> None:
    gathered = scores()
    gathered.true = [joints * np.nan for joints in gathered.true]
    by_title = {grid.title: grid for grid in pose_grids(gathered)}
    assert by_title["End point error in the image: EPE in px"].lines[0].values == pytest.approx((5, 10, 7))
    assert np.isnan(by_title["MPJPE in mm, by protocol"].lines[0].values).all()


def test_hands_of_a_bin_weigh_as_their_sides_do_and_not_as_they_are_many() -> None:
    gathered = scores()
    gathered.occlusion = [0.1] * 5
    for k, side in enumerate(gathered.hand):
        moved = np.eye(21)[5][:, None] * (0, 0, 0.21 * side)
        gathered.joints_3d["SHPE alone"][k] = hand(gathered.sample[k]) + moved
    by_title = {grid.title: grid for grid in pose_grids(gathered)}
    bins = by_title["MPJPE in mm by share hidden, P1 InterNet: wrist, unscaled"]
    shown = next(line for line in bins.lines if line.name == "hidden 0%-20% (5 hands)")
    assert shown.values[0] == pytest.approx(21 / 42), "one joint of 42 is 21 mm off, whether 2 or 3 hands have it"


def test_a_gain_is_taken_over_the_hands_that_both_have() -> None:
    gathered = scores()
    for k in (0, 1):
        gathered.joints_3d["SHPE alone"][k] = 9 * hand(0)
        gathered.joints_3d["SHPE + HDR, true masks"][k] = np.full((21, 3), np.nan)
    gathered.joints_3d["SHPE in HASM's crops, nothing painted"][2] = 2 * hand(1)
    gains = next(grid for grid in pose_grids(gathered) if grid.title.startswith("What HDR brings"))
    assert gains.lines[0].values[:4] == pytest.approx((0, 0, 0, 0), abs=1e-6)
    painted = next(line for line in gains.lines if line.name.endswith("against its crops unpainted"))
    assert painted.values[0] > 1 and painted.values[2:] == pytest.approx((0, 0, 100), abs=1e-6)


def test_a_share_on_an_edge_is_in_the_bin_below_and_every_hand_in_one() -> None:
    groups = occlusion_groups([0.0, 0.1, 0.2, 0.21, 0.6, 1.0])
    assert groups["hidden 0%-20%"].tolist() == [False, True, True, False, False, False]
    assert sum(group.astype(int) for group in groups.values()).tolist() == [1] * 6  # type: ignore[union-attr]


def test_the_papers_reduction_is_thirty_per_cent() -> None:
    assert reduction(ABLATION[0], ABLATION[-1]) == pytest.approx(30.3, abs=0.1)
