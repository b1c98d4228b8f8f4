"""Hand models fitted to joints: known hands come back within joint limits; pairs do not pass through each other."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from aih_gen.config import SIDES
from aih_gen.errors import AssetError
from aih_gen.hands import export_free_hand, load_hand_pair
from aih_gen.hands.anatomy import GESTURES, TIGHT_GESTURES, clamp_to_joint_limits
from aih_gen.hands.mano import read_mano
from aih_gen.hands.model import HandModel, rotation_matrices
from aih_gen.scenes.contact import TOLERANCE
from aih_gen.scenes.gestures import sample_gestures
from hdr_model.fitting.fit import Observations, fit_hands
from hdr_model.fitting.hands import HandFitter
from hdr_model.fitting.kinematics import NUM_UNKNOWNS, HandParameters, Kinematics
from hdr_model.fitting.pairs import MAX_SHIFT, _states

CAMERA = torch.tensor([[600.0, 0, 255.5], [0, 600, 255.5], [0, 0, 1]], dtype=torch.float64)


@pytest.fixture(scope="module")
def fitter() -> HandFitter:
    return HandFitter()


def hands(count: int, seed: int = 0) -> tuple[Tensor, HandParameters]:
    """Sides, and hands in gestures of all kinds, turned in every direction, some 50 cm away."""
    rng = np.random.default_rng(seed)
    angles = np.radians(sample_gestures(rng, [[*GESTURES, *TIGHT_GESTURES]] * count))
    root = rotation_matrices(torch.from_numpy(rng.normal(size=(count, 3)) * 1.5))
    transl = np.array([0, 0, 0.5]) + 0.05 * rng.normal(size=(count, 3))
    parameters = HandParameters(
        root, torch.from_numpy(angles), torch.from_numpy(0.7 * rng.normal(size=(count, 10))), torch.from_numpy(transl)
    )
    return torch.arange(count) % 2, parameters


def observed(kinematics: Kinematics, side: Tensor, parameters: HandParameters) -> Observations:
    joints, _ = kinematics(side, parameters)
    seen = joints @ CAMERA.T
    ones = torch.ones(len(side), 21, dtype=torch.float64)
    camera = CAMERA.expand(len(side), 3, 3)
    return Observations(side, seen[..., :2] / seen[..., 2:], joints - joints[:, :1], ones, camera)


def errors(kinematics: Kinematics, seen: Observations, found: HandParameters) -> Tensor:
    """(N,21) m."""
    joints, _ = kinematics(seen.side, found)
    return (joints - joints[:, :1] - seen.joints_3d).norm(dim=-1)


def with_pose_offsets(folder: Path) -> tuple[HandModel, HandModel]:
    """The free hand in MANO's files, with pose offsets and tips that hang on two bones."""
    for side in SIDES:
        path = export_free_hand(folder, side)
        arrays = asdict(read_mano(path, side))
        del arrays["sha256"]
        path.unlink()
        posedirs = 0.002 * np.random.default_rng(0).standard_normal(arrays["posedirs"].shape)
        weights = 0.9 * arrays["weights"]
        weights[:, 0] += 0.1
        np.savez(path.with_suffix(".npz"), **(arrays | {"weights": weights, "posedirs": posedirs}))
    return load_hand_pair(folder)


@pytest.mark.parametrize("model", ["free", "with pose offsets"])
def test_joints_are_the_hand_models_own(model: str, tmp_path: Path, fitter: HandFitter) -> None:
    models = load_hand_pair() if model == "free" else with_pose_offsets(tmp_path)
    kinematics = Kinematics(*models)
    side, parameters = hands(6)
    joints, _ = kinematics(side, parameters)
    pose = HandFitter._pose(fitter, side, parameters)
    for k in range(6):
        own = models[side[k]].double()(pose[k : k + 1], parameters.betas[k : k + 1], parameters.transl[k : k + 1])
        np.testing.assert_allclose(joints[k], own.joints[0], atol=1e-7)


def test_derivatives_are_the_slopes(fitter: HandFitter) -> None:
    side, parameters = hands(4)
    _, derivatives = fitter.kinematics(side, parameters)
    for unknown in range(NUM_UNKNOWNS):
        ends = []
        for step in (1e-6, -1e-6):
            change = torch.zeros(NUM_UNKNOWNS, dtype=torch.float64)
            change[unknown] = step
            turned = rotation_matrices(change[None, :3]) @ parameters.root
            moved = HandParameters(
                turned, parameters.angles + change[3:23].reshape(5, 4), parameters.betas + change[23:33],
                parameters.transl + change[33:],
            )  # fmt: skip
            ends.append(fitter.kinematics(side, moved)[0])
        np.testing.assert_allclose(derivatives[..., unknown], (ends[0] - ends[1]) / 2e-6, atol=1e-7)


def test_a_known_hand_is_found_to_two_millimetres(fitter: HandFitter) -> None:
    side, parameters = hands(60)
    seen = observed(fitter.kinematics, side, parameters)
    found = fit_hands(fitter.kinematics, seen)
    off = errors(fitter.kinematics, seen, found).mean(1)
    assert off.median() < 0.0015 and off.quantile(0.95) < 0.002 and off.max() < 0.004
    place = (found.transl - parameters.transl).norm(dim=-1)
    assert place.median() < 0.004 and place.max() < 0.02


def test_manos_files_are_fitted_too(tmp_path: Path) -> None:
    with_pose_offsets(tmp_path)
    fitter = HandFitter(tmp_path)
    side, parameters = hands(8)
    seen = observed(fitter.kinematics, side, parameters)
    fitted = fitter(seen)
    joints = fitted.joints.double()
    assert (joints - joints[:, :1] - seen.joints_3d).norm(dim=-1).mean(1).max() < 0.004
    model = fitter.models[0]
    assert model.name == "mano" and fitted.vertices.shape == (8, model.num_vertices, 3)


def test_a_batch_is_its_hands_one_by_one(fitter: HandFitter) -> None:
    seen = observed(fitter.kinematics, *hands(6))
    together = fitter(seen)
    for k in range(6):
        alone = fitter(Observations(*(part[k : k + 1] for part in seen)))
        for name in ("pose", "betas", "transl", "vertices"):
            np.testing.assert_allclose(getattr(together, name)[k], getattr(alone, name)[0], atol=5e-4)
        np.testing.assert_allclose(together.vertices[k], alone.vertices[0], atol=2e-5)


def test_a_left_hand_mirrors_a_right_one(fitter: HandFitter) -> None:
    seen = observed(fitter.kinematics, torch.zeros(4, dtype=torch.long), hands(4)[1])
    flip = torch.tensor([-1.0, 1, 1], dtype=torch.float64)
    pixels = torch.stack([511 - seen.joints_2d[..., 0], seen.joints_2d[..., 1]], -1)
    mirrored = seen._replace(side=torch.ones(4, dtype=torch.long), joints_3d=seen.joints_3d * flip, joints_2d=pixels)
    right, left = fitter(seen), fitter(mirrored)
    np.testing.assert_allclose(left.vertices * flip, right.vertices, atol=1e-5)
    np.testing.assert_allclose(left.betas, right.betas, atol=1e-4)


def test_no_fit_leaves_the_joint_limits(fitter: HandFitter) -> None:
    side, parameters = hands(20)
    backwards = parameters._replace(angles=-2 * parameters.angles)
    found = fit_hands(fitter.kinematics, observed(fitter.kinematics, side, backwards))
    degrees = found.angles.rad2deg().numpy()
    np.testing.assert_allclose(degrees, clamp_to_joint_limits(degrees), atol=0.01)
    asked = backwards.angles.rad2deg().numpy()
    assert np.abs(asked - clamp_to_joint_limits(asked)).max() > 40


def test_joints_of_little_confidence_count_little(fitter: HandFitter) -> None:
    seen = observed(fitter.kinematics, *hands(12))
    astray = seen._replace(joints_3d=seen.joints_3d.clone(), joints_2d=seen.joints_2d.clone())
    astray.joints_3d[:, 8] += 0.06
    astray.joints_2d[:, 8] += 80
    doubted = astray.confidence.clone()
    doubted[:, 8] = 0
    off = [
        errors(fitter.kinematics, seen, fit_hands(fitter.kinematics, of)).mean()
        for of in (astray, astray._replace(confidence=doubted))
    ]
    assert off[1] < off[0] / 2


def pair(distance: float) -> HandParameters:
    """A right and a left flat hand, one behind the other."""
    _, parameters = hands(2)
    flat = torch.from_numpy(np.radians(GESTURES["flat"].angles())).expand(2, -1, -1)
    transl = torch.tensor([[0.05, 0, 0.5], [-0.05, distance, 0.5]], dtype=torch.float64)
    return HandParameters(torch.eye(3, dtype=torch.float64).expand(2, 3, 3), flat, 0 * parameters.betas, transl)


def test_hands_that_pass_through_each_other_are_parted(fitter: HandFitter) -> None:
    solver = fitter.pair_solver
    touching = pair(0.036)
    before = solver.solver.measure(_states(touching)).depth
    parted = solver(touching)
    assert before > 2 * TOLERANCE
    assert solver.solver.measure(_states(parted)).depth < before / 2
    both = torch.arange(2)
    moved = (fitter.kinematics(both, parted)[0] - fitter.kinematics(both, touching)[0]).norm(dim=-1).mean(1)
    assert 0 < moved.max() <= MAX_SHIFT


@pytest.mark.parametrize("distance", [0.1, 0.024, 0.012])
def test_hands_apart_and_hands_at_depths_that_contradict_stay(distance: float, fitter: HandFitter) -> None:
    placed = pair(distance)
    assert all(torch.equal(*parts) for parts in zip(fitter.pair_solver(placed), placed, strict=True))


def test_joints_that_tell_no_place_give_a_hand_all_the_same(fitter: HandFitter) -> None:
    seen = observed(fitter.kinematics, *hands(3))
    nowhere = seen._replace(joints_2d=seen.joints_2d.clone(), joints_3d=seen.joints_3d.clone())
    nowhere.joints_2d[:] = 100.0
    nowhere.joints_3d[:2] = 0
    nowhere.joints_3d[1, 9] = torch.tensor([1.0, 2.0, 3.0])
    nowhere.joints_3d[2, :, 2] = 0
    fitted = fitter(nowhere, [(0, 1)])
    assert all(torch.isfinite(getattr(fitted, name)).all() for name in ("pose", "betas", "transl", "vertices"))


def test_a_hand_model_that_is_not_there_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(AssetError, match="expected 'free', a MANO file or a folder"):
        HandFitter(tmp_path / "nowhere")
