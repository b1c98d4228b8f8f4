"""``hdr infer --rerun``: one file with the results of all photos."""

from __future__ import annotations

import io
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hdr_model.cli import main
from hdr_model.fitting.hands import HandFitter
from hdr_model.inference.mesh_fits import with_meshes
from hdr_model.inference.pipeline import HDR
from hdr_model.inference.rerun import add_result, photos_recording
from hdr_model.inference.result import Result
from tests.data.recordings import bytes_of, pixels, read_recording
from tests.hdr_model.test_meshes import fitter, results  # noqa: F401
from tests.hdr_model.test_pipeline import photo, weights  # noqa: F401


def test_every_photo_is_a_step_with_what_was_found(weights: Path, tmp_path: Path) -> None:  # noqa: F811
    for name, size in (("a", (64, 96)), ("b", (80, 64))):
        Image.fromarray(photo(*size)).save(tmp_path / f"{name}.png")
    photos = [str(tmp_path / f"{name}.png") for name in ("a", "b")]
    arguments = ["--weights", str(weights), "--device", "cpu", "--out", str(tmp_path / "out"), "--batch-size", "2"]
    assert main(["infer", *photos, *arguments, "--rerun", str(tmp_path / "out.rrd")]) == 0
    columns = read_recording(tmp_path / "out.rrd", "photo")
    hdr = HDR.from_pretrained(weights, device="cpu")
    for step, path in enumerate(photos):
        result = hdr(path)
        assert columns["/photo TextDocument:text"][step] == [f"{path}: {result.found}"]
        shown = Image.open(io.BytesIO(bytes_of(columns["/camera/image EncodedImage:blob"], step)))
        assert np.abs(np.asarray(shown).astype(float) - result.image).mean() < 8  # JPEG
        visible = pixels(columns, "/camera/visible", step, result.image.shape[:2], np.uint8)
        np.testing.assert_array_equal(visible == 2, result.masks["left_visible"])
        for side in ("right", "left"):
            joints = columns.get(f"/from_wrist/{side}/joints Points3D:positions", {})
            assert (step in joints) == result[side].present
            if result[side].present:
                np.testing.assert_allclose(joints[step], result[side].joints_3d, atol=1e-5)
    assert not [name for name in columns if "Mesh3D" in name or "Pinhole" in name]  # of which nothing is known


def test_with_meshes_hands_are_before_the_camera(
    results: list[Result],  # noqa: F811
    fitter: HandFitter,  # noqa: F811
    tmp_path: Path,
) -> None:
    recording = photos_recording()
    meshed = with_meshes(fitter, results)
    for step, result in enumerate(meshed):
        empty = np.zeros(result.image.shape[:2], bool)
        arms = {f"{side}_arm": empty for side in ("right", "left")}
        add_result(recording, step, f"{step}.jpg", replace(result, masks=arms | result.masks))
    (tmp_path / "out.rrd").write_bytes(recording.data())
    columns = read_recording(tmp_path / "out.rrd", "photo")
    for side in ("right", "left"):
        vertices = columns[f"/hands/{side}/mesh Mesh3D:vertex_positions"]
        assert list(vertices) == [step for step, result in enumerate(meshed) if result[side].present]
        for step, shown in vertices.items():
            hand = meshed[step][side]
            np.testing.assert_allclose(shown, hand.vertices, rtol=1e-6)
            wrist = columns[f"/hands/{side}/joints Points3D:positions"][step][0]
            assert hand.mesh is not None
            np.testing.assert_allclose(wrist, hand.mesh.joints[0] + hand.joints_3d[0], atol=1e-6)
    assert list(columns["/camera Pinhole:image_from_camera"]) == list(range(len(meshed)))


@pytest.mark.parametrize("flaw", ["missing", "place", "photo", "video"])
def test_a_mistake_is_one_sentence_before_the_networks_are_loaded(
    flaw: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(HDR, "from_pretrained", lambda *_, **__: pytest.fail("the networks were loaded"))
    given = tmp_path / "a.png"
    Image.fromarray(photo(64, 96)).save(given)
    place = {"place": tmp_path / "none" / "out.rrd", "photo": given}.get(flaw, tmp_path / "out.rrd")
    if flaw == "missing":
        monkeypatch.setitem(sys.modules, "rerun", None)
    photos = ["--video", str(given)] if flaw == "video" else [str(given)]
    assert main(["infer", *photos, "--out", str(tmp_path / "out"), "--rerun", str(place)]) == 2
    said = capsys.readouterr().err
    sentences = {
        "missing": '--rerun: expected rerun-sdk, found it missing; pip install "aih-hdr[rerun]"',
        "place": "expected a file that can be written to",
        "photo": "which is read, found the same",
        "video": "--rerun: expected photos, found --video",
    }
    assert sentences[flaw] in said and said.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]
