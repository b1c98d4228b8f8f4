"""``aih-gen preview --rerun``: what the viewer is given is what the samples hold."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from aih_gen.cli import main
from aih_gen.config import RenderConfig
from aih_gen.factory import generate
from aih_gen.hands import load_hand_pair
from aih_gen.reports.rerun import LEFT_HAND, RIGHT_HAND, Recording
from aih_gen.shards.reader import AIHShards
from aih_gen.shards.writer import write_shard
from tests.data.recordings import bytes_of, pixels, read_recording
from tests.data.samples import NUMBERS, make_header, make_sample


@pytest.fixture(scope="module")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six samples of the free hand, with depths."""
    config = RenderConfig(size=64, people=0.0, contact=False, hands=(0.5, 0.5, 0.0), seed=3)
    return generate(config, tmp_path_factory.mktemp("rerun") / "shards", 6, depth=True)


def preview(shards: Path, out: Path, count: int) -> int:
    arguments = ["--out", str(out / "page.html"), "--rerun", str(out / "out.rrd"), "--count", str(count)]
    return main(["preview", str(shards), *arguments])


def test_image_masks_and_depth_are_those_of_the_samples(rendered: Path, tmp_path: Path) -> None:
    assert preview(rendered, tmp_path, 3) == 0
    columns, shards = read_recording(tmp_path / "out.rrd", "sample"), AIHShards(rendered)
    images = columns["/camera/image EncodedImage:blob"]
    assert list(images) == [0, 2, 4]
    for step in images:
        sample = shards[step]
        shown = Image.open(io.BytesIO(bytes_of(images, step)))
        np.testing.assert_array_equal(np.asarray(shown), sample.image)
        visible = pixels(columns, "/camera/visible", step, (64, 64), np.uint8)
        np.testing.assert_array_equal(visible == RIGHT_HAND, sample.visible_right)
        np.testing.assert_array_equal(visible == LEFT_HAND, sample.visible_left)
        hidden = pixels(columns, "/camera/hidden", step, (64, 64), np.uint8)
        np.testing.assert_array_equal(hidden == LEFT_HAND, sample.amodal_left & ~sample.visible_left)
        assert sample.depth is not None
        depth = pixels(columns, "/camera/depth/left", step, (64, 64), np.float16)
        np.testing.assert_array_equal(depth, np.where(np.isfinite(sample.depth[1]), sample.depth[1], 0))
        ((camera,),) = (columns["/camera Pinhole:image_from_camera"][step],)
        wanted = sample.camera.T.copy()
        wanted[2, :2] += 0.5
        np.testing.assert_allclose(np.reshape(camera, (3, 3)), wanted, rtol=1e-6)  # by columns
    text = columns["/sample TextDocument:text"]
    assert text[4] == [repr(shards[4])]


def test_a_mesh_is_the_hand_model_in_the_sample_s_pose_and_ends_with_its_hand(rendered: Path, tmp_path: Path) -> None:
    assert preview(rendered, tmp_path, 6) == 0
    columns, shards = read_recording(tmp_path / "out.rrd", "sample"), AIHShards(rendered)
    present = shards.read(range(6), ("present", "joints_3d"))
    assert not present["present"].all() and present["present"].any(0).all()
    for side, (name, model) in enumerate(zip(("right", "left"), load_hand_pair(), strict=True)):
        vertices = columns[f"/hands/{name}/mesh Mesh3D:vertex_positions"]
        joints = columns[f"/hands/{name}/joints Points3D:positions"]
        assert list(vertices) == list(joints) == np.flatnonzero(present["present"][:, side]).tolist()
        for step, shown in vertices.items():
            assert len(shown) == model.num_vertices
            np.testing.assert_allclose(joints[step], present["joints_3d"][step, side])
            assert np.linalg.norm(np.array(shown) - np.array(joints[step])[:1], axis=1).max() < 0.3  # from its wrist
        cleared = columns.get(f"/hands/{name}/mesh Clear:is_recursive", {})
        assert list(cleared) == np.flatnonzero(~present["present"][:, side]).tolist()


def test_hands_of_another_model_are_joints_alone(tmp_path: Path) -> None:
    samples = [make_sample(k, hands=hands) for k, hands in enumerate(NUMBERS)]
    write_shard(tmp_path / "aih_render-00000.h5", [samples], len(samples), make_header())
    assert preview(tmp_path / "aih_render-00000.h5", tmp_path, len(samples)) == 0
    columns = read_recording(tmp_path / "out.rrd", "sample")
    assert not [name for name in columns if "Mesh3D" in name]
    assert list(columns["/hands/right/joints Points3D:positions"]) == [0, 1]
    assert list(columns["/hands/left/joints Points3D:positions"]) == [0, 2]
    np.testing.assert_allclose(
        columns["/camera/joints/left Points2D:positions"][2], samples[2].joints_2d[1] + 0.5, rtol=1e-6
    )


def test_a_joint_that_is_not_known_is_left_out(tmp_path: Path) -> None:
    recording = Recording("test", "test", "step")
    joints = np.arange(63, dtype=np.float32).reshape(21, 3)
    joints[5] = np.nan
    recording.step(1)
    recording.joints_3d("hand", 1, joints)
    (tmp_path / "out.rrd").write_bytes(recording.data())
    columns = read_recording(tmp_path / "out.rrd", "step")
    assert columns["/hand Points3D:keypoint_ids"] == {1: [k for k in range(21) if k != 5]}
    assert columns["/hand Points3D:class_ids"] == {1: [LEFT_HAND]}
    (context,) = columns["/ AnnotationContext:context"][None]
    labels = {pair["class_id"]: pair["class_description"] for pair in context}
    assert labels[LEFT_HAND]["info"]["label"] == "left hand"
    assert len(labels[LEFT_HAND]["keypoint_connections"]) == 20


def test_without_rerun_one_sentence_says_what_to_install(
    rendered: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "rerun", None)
    assert preview(rendered, tmp_path, 2) == 2
    sentence = '--rerun: expected rerun-sdk, found it missing; pip install "aih-hdr[rerun]"'
    assert capsys.readouterr().err == f"aih-gen: error: {sentence}\n"
    assert list(tmp_path.iterdir()) == []


def test_a_place_that_cannot_be_written_is_said_before_anything_is(
    rendered: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (shard,) = rendered.glob("*.h5")
    for place, sentence in ((shard, "which is read"), (tmp_path / "none" / "out.rrd", "a file that can be written")):
        arguments = ["--out", str(tmp_path / "page.html"), "--rerun", str(place)]
        assert main(["preview", str(rendered), *arguments]) == 2
        assert sentence in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
