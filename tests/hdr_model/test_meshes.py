"""Meshes of results: what they hold, the files they are written to, how they lie on the photo, and what is refused."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
import trimesh
from PIL import Image, ImageDraw

from aih_gen import generate
from aih_gen.config import SIDES, RenderConfig
from aih_gen.errors import AIHError
from aih_gen.hands.joints import WRIST
from aih_gen.shards.reader import AIHShards
from hdr_model.cli import main
from hdr_model.data.aih import AIHDataset
from hdr_model.evaluation.evaluate import evaluate
from hdr_model.evaluation.meshes import MESH_FIELDS, MeshScores
from hdr_model.evaluation.predict import FIELDS, FOUND, predict
from hdr_model.fitting.hands import HandFitter
from hdr_model.inference.mesh import draw_meshes, photo_camera
from hdr_model.inference.mesh_fits import with_meshes
from hdr_model.inference.pipeline import HDR, MEAN_BONE_LENGTH
from hdr_model.inference.result import HandResult, Result
from tests.hdr_model.test_fitting import hands
from tests.hdr_model.test_pipeline import hdr, photo, weights  # noqa: F401

SIZE = (240, 320)


@pytest.fixture(scope="module")
def fitter() -> HandFitter:
    return HandFitter()


@pytest.fixture(scope="module")
def results(fitter: HandFitter) -> list[Result]:
    """Photos of known hands as HDR would find them: a pair, and a right hand alone."""
    side, parameters = hands(2, seed=3)
    transl = torch.tensor([[-0.08, 0.0, 0.5], [0.1, 0.0, 0.55]], dtype=torch.float64)
    shift = transl - fitter.kinematics(side, parameters._replace(transl=0 * transl))[0][:, WRIST]
    joints = fitter.kinematics(side, parameters._replace(transl=shift))[0].numpy()
    pixels = joints @ photo_camera(*SIZE).T
    image = np.full((*SIZE, 3), 90, np.uint8)
    found = [
        HandResult(
            image,
            (seen[:, :2] / seen[:, 2:]).astype(np.float32),
            (hand - hand[WRIST]).astype(np.float32),
            np.zeros(4, np.float32),
            present=True,
            joint_confidence=np.ones(21, np.float32),
        )
        for seen, hand in zip(pixels, joints, strict=True)
    ]
    nan = np.full((21, 3), np.nan, np.float32)
    absent = HandResult(image, nan[:, :2], nan, nan[0, :1].repeat(4), present=False)
    masks = {f"{side}_{kind}": np.zeros(SIZE, bool) for side in SIDES for kind in ("amodal", "visible")}
    return [Result(masks, found[0], found[1], image), Result(masks, found[0], absent, image)]


@pytest.fixture(scope="module")
def meshed(results: list[Result], fitter: HandFitter) -> list[Result]:
    return with_meshes(fitter, results)


def test_vertices_are_the_hand_model_at_the_parameters(meshed: list[Result], fitter: HandFitter) -> None:
    for side, model in zip(SIDES, fitter.models, strict=True):
        hand = meshed[0][side]
        out = model(*(torch.from_numpy(part)[None] for part in (hand.pose, hand.betas, hand.transl)))
        np.testing.assert_allclose(hand.vertices, out.vertices[0], atol=1e-6)
        np.testing.assert_array_equal(hand.faces, model.faces)
        assert hand.mesh is not None and hand.mesh.joint_distance < 0.004
        assert hand.mesh.joints[WRIST, 2] == pytest.approx({"right": 0.5, "left": 0.55}[side], abs=0.02)


def test_a_hand_that_is_absent_has_no_numbers_and_the_others_do_not_change(meshed: list[Result]) -> None:
    pair, lone = meshed
    assert np.isnan(lone.left.vertices).all() and lone.left.faces.shape == pair.left.faces.shape
    assert list(lone.meshes) == ["right"]
    np.testing.assert_allclose(lone.right.vertices, pair.right.vertices, atol=2e-5)


def test_a_longer_lens_puts_the_hands_farther_away(results: list[Result], fitter: HandFitter) -> None:
    depths = [with_meshes(fitter, results[:1], focal)[0].right.vertices[:, 2].mean() for focal in (400.0, 800.0)]
    assert depths[1] / depths[0] == pytest.approx(2, rel=0.1)


def test_both_files_hold_both_hands_in_metres_with_y_up(meshed: list[Result], tmp_path: Path) -> None:
    result = meshed[0]
    result.save(tmp_path / "out")
    scene = trimesh.load(tmp_path / "out" / "hands.glb")
    assert set(scene.geometry) == set(SIDES) and scene.units == "meters"
    for side in SIDES:
        body, vertices = scene.geometry[side], result[side].vertices
        np.testing.assert_allclose(body.vertices, vertices * [1, -1, -1], atol=1e-6)
        np.testing.assert_array_equal(body.faces, result[side].faces)
        assert body.is_winding_consistent
        outwards = (body.face_normals * (body.triangles_center - body.centroid)).sum(1)
        assert (outwards > 0).mean() > 0.7, "turned outside in"
    text = (tmp_path / "out" / "hands.obj").read_text()
    assert [line for line in text.splitlines() if line.startswith("o ")] == ["o right", "o left"]
    body = trimesh.load(tmp_path / "out" / "hands.obj", process=False)
    assert len(body.vertices) == sum(len(result[side].vertices) for side in SIDES)
    assert {tuple(colour) for colour in body.visual.vertex_colors} == {(255, 82, 82, 255), (66, 190, 120, 255)}


def test_the_overlay_covers_just_the_hands(meshed: list[Result]) -> None:
    result = meshed[0]
    drawn = draw_meshes(result.image, result.meshes)
    covered = (drawn != result.image).any(-1)
    outline = Image.new("1", SIZE[::-1])
    draw = ImageDraw.Draw(outline)
    for mesh in result.meshes.values():
        pixels = mesh.vertices @ mesh.camera.T
        for corners in (pixels[:, :2] / pixels[:, 2:])[mesh.faces]:
            draw.polygon([tuple(corner) for corner in corners], fill=1)
    expected = np.asarray(outline)
    assert (covered & expected).sum() / (covered | expected).sum() > 0.93
    for side, mesh in result.meshes.items():
        pixels = mesh.joints @ mesh.camera.T
        column, row = np.rint(pixels[:, :2] / pixels[:, 2:]).astype(int).T
        inside = (column >= 0) & (row >= 0) & (column < SIZE[1]) & (row < SIZE[0])
        colours = drawn[row[inside], column[inside]].astype(int)
        strongest = {"right": 0, "left": 1}[side]
        assert (colours.argmax(1) == strongest).mean() > 0.7, "each hand in its own colour"


def test_hands_beside_or_far_from_the_photo_are_no_fault(meshed: list[Result]) -> None:
    result = meshed[0]
    beside = {side: replace(m, vertices=m.vertices + np.float32([5, 0, 0])) for side, m in result.meshes.items()}
    np.testing.assert_array_equal(draw_meshes(result.image, beside), result.image)
    near = {side: replace(m, vertices=m.vertices * np.float32(40)) for side, m in result.meshes.items()}
    far = draw_meshes(result.image, near)
    assert np.abs(far.astype(int) - draw_meshes(result.image, result.meshes)).mean() < 1


def test_numbers_and_files_are_there_only_where_meshes_were_asked_for(
    results: list[Result], meshed: list[Result], tmp_path: Path
) -> None:
    results[1].save(tmp_path / "plain")
    meshed[1].save(tmp_path / "meshed")
    plain, more = ({path.name for path in (tmp_path / name).iterdir()} for name in ("plain", "meshed"))
    assert more - plain == {"hands.glb", "hands.obj", "mesh.png"} and plain < more
    for name in plain - {"result.json", "joints.npz"}:
        assert (tmp_path / "plain" / name).read_bytes() == (tmp_path / "meshed" / name).read_bytes()
    told = json.loads((tmp_path / "meshed" / "result.json").read_text())
    assert told["hand_model"] == "free" and np.shape(told["camera"]) == (3, 3)
    assert np.shape(told["right"]["pose"]) == (48,) and told["left"]["pose"] is None
    assert told["right"]["joint_distance"] < 0.004
    arrays = np.load(tmp_path / "meshed" / "joints.npz")
    assert arrays["pose"].shape == (1, 2, 48) and arrays["transl"].shape == (1, 2, 3)
    assert arrays["camera"].shape == (1, 3, 3) and np.isnan(arrays["betas"][0, 1]).all()
    assert set(arrays) - set(np.load(tmp_path / "plain" / "joints.npz")) == {"pose", "betas", "transl", "camera"}
    with pytest.raises(AttributeError, match=r"expected a result of hdr\(image, mesh=True\)"):
        _ = results[1].right.vertices


def test_hdr_gives_meshes_where_asked(hdr: HDR) -> None:  # noqa: F811
    assert hdr(photo()).right.mesh is None
    first, second = hdr([photo(), photo(left=False)], mesh=True, focal_length=500.0)
    assert first.right.vertices.shape == (1609, 3) and np.isfinite(first.left.vertices).all()
    assert first.right.mesh is not None and first.right.mesh.camera[0, 0] == 500
    assert np.isnan(second.left.vertices).all()
    assert not hdr(photo(right=False, left=False), mesh=True).meshes


@pytest.mark.parametrize("focal", [0.0, -700.0, float("nan"), float("inf")])
def test_a_focal_length_that_is_none_is_one_sentence(focal: float, hdr: HDR) -> None:  # noqa: F811
    with pytest.raises(AIHError, match="focal length: expected a positive number of pixels, found"):
        hdr(photo(), mesh=True, focal_length=focal)
    with pytest.raises(AIHError, match="focal length"):
        photo_camera(*SIZE, focal)


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--mesh", "--focal-length", "-3"], "focal length: expected a positive number of pixels, found -3"),
        (["--mesh", "--hand-model", "nowhere"], "nowhere: expected 'free', a MANO file or a folder"),
        (["--hand-model", "nowhere"], "--hand-model: expected --mesh too"),
        (["--focal-length", "900"], "--focal-length: expected --mesh too"),
    ],
)
def test_a_mistake_is_one_sentence_before_the_networks_run(
    more: list[str],
    said: str,
    weights: Path,  # noqa: F811
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(HDR, "batch", lambda *_, **__: pytest.fail("the networks ran"))
    Image.fromarray(photo()).save(tmp_path / "a.png")
    command = ["infer", str(tmp_path / "a.png"), "--out", str(tmp_path / "out"), "--weights", str(weights)]
    assert main([*command, *more]) == 2
    output = capsys.readouterr()
    assert said in output.err and output.err.count("\n") == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("more", [["--mesh", "--only", "mesh"], ["--only", "mesh"]])
def test_only_mesh_writes_meshes_and_nothing_else(
    more: list[str],
    hdr: HDR,  # noqa: F811
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(HDR, "from_pretrained", lambda *_, **__: hdr)
    Image.fromarray(photo()).save(tmp_path / "a.png")
    assert main(["infer", str(tmp_path / "a.png"), "--out", str(tmp_path / "out"), *more]) == 0
    assert {path.name for path in (tmp_path / "out" / "a").iterdir()} == {"hands.glb", "hands.obj", "mesh.png"}


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("held_out") / "data"
    generate(RenderConfig(size=64, look="plain", seed=5), folder, 3)
    return folder


def test_true_joints_give_nearly_true_vertices(shards: Path, hdr: HDR) -> None:  # noqa: F811
    dataset = AIHDataset(shards, FIELDS + MESH_FIELDS)
    batch = dataset[[0, 1, 2]]
    predicted = predict(hdr, batch)
    true = batch["joints_3d"][predicted.sample, predicted.hand]
    rooted = (true - true[:, :1]) / (true[:, 9] - true[:, 0]).norm(dim=-1)[:, None, None]
    joints = {
        "joints_3d": predicted.joints_3d | {FOUND: rooted},
        "joints_2d": predicted.joints_2d | {FOUND: batch["joints_2d"][predicted.sample, predicted.hand]},
        "joint_confidence": predicted.joint_confidence | {FOUND: torch.ones(len(true), 21)},
    }
    scores = MeshScores("free", dataset)
    assert scores.same_model
    scores.add(batch, replace(predicted, **cast(Any, joints)))
    (grid,) = scores.grids()
    line = next(line for line in grid.lines if line.name.startswith(FOUND))
    values = dict(zip(grid.columns, line.values, strict=True))
    assert values["MPJPE of SHPE"] < 0.01 and values["MPJPE of the fit"] < 4
    assert values["PA-MPVPE"] < values["MPVPE"] < 6
    assert 0 < values["joints, fit to SHPE"] < 4


def test_eval_measures_meshes_only_where_asked(shards: Path, weights: Path, tmp_path: Path) -> None:  # noqa: F811
    plain = evaluate(shards, weights, tmp_path / "plain", [], "cpu", 2)
    more = evaluate(shards, weights, tmp_path / "more", [], "cpu", 2, mesh="free")
    added = [row for row in more.rows if "hand model fitted" in row.metric]
    assert [row.metric for row in plain.rows] == [row.metric for row in more.rows if row not in added]
    assert added and all(np.isfinite(row.ours) and np.isfinite(row.baseline) for row in added)
    assert {grid.title for grid in more.grids} - {grid.title for grid in plain.grids} == {"Hands as meshes, mm"}


def test_vertices_of_shards_of_another_hand_model_are_unknown(shards: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(AIHShards, "configurations", lambda _: {"": {"hand_model": {"name": "mano"}}})
    assert not MeshScores("free", AIHDataset(shards, FIELDS + MESH_FIELDS)).same_model


def test_bones_are_as_long_as_joints_3d_say(meshed: list[Result]) -> None:
    for side in SIDES:
        hand = meshed[0][side]
        assert hand.mesh is not None
        fitted, seen = (np.linalg.norm(j[9] - j[0]) for j in (hand.mesh.joints, hand.joints_3d))
        assert fitted == pytest.approx(seen, rel=0.03) and 0.5 < seen / MEAN_BONE_LENGTH < 1.5
