"""``hdr infer`` on photos: folders of results, what is printed, and what is refused before the networks run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from aih_gen.errors import AIHError
from hdr_model.cli import main
from hdr_model.inference.folders import folders_for, result_folder
from hdr_model.inference.pipeline import HDR
from tests.hdr_model.test_pipeline import photo, weights  # noqa: F401

FILES = {
    "masks": {f"mask_{side}_{kind}.png" for side in ("right", "left") for kind in ("amodal", "visible", "arm")},
    "alone": {"right_alone.png", "left_alone.png"},
    "joints": {"joints.png", "joints.npz"},
    "skeletons": {"skeletons.png"},
    "overview": {"overview.png"},
    "result": {"result.json"},
}


def save(*paths: Path) -> None:
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(photo(64, 96)).save(path, "PNG")


@pytest.fixture
def command(weights: Path, tmp_path: Path) -> list[str]:  # noqa: F811
    return ["infer", "--out", str(tmp_path / "out"), "--weights", str(weights), "--device", "cpu"]


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["a/IMG.png", "a/IMG-2.png", "b/IMG.png"], ["IMG", "IMG-2", "IMG-3"]),
        (["a/IMG.png", "b/IMG.png", "a/IMG-2.png", "a/IMG.jpg"], ["IMG", "IMG-3", "IMG-2", "IMG-4"]),
        (["...png", "png", ".png", "..hidden.png"], ["png", "png-2", ".png", "..hidden"]),
        (["....", "a/....", "x.tar.png"], ["photo", "photo-2", "x.tar"]),
    ],
)
def test_every_photo_has_a_folder_within_out_whatever_it_is_called(
    names: list[str], expected: list[str], tmp_path: Path
) -> None:
    folders = folders_for([Path(name) for name in names], tmp_path)
    assert [folder.name for folder in folders] == expected
    assert all(folder.parent == tmp_path for folder in folders)


def test_a_line_for_each_photo_says_what_was_found_where_it_is_and_what_it_replaced(
    command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    paths = [tmp_path / name for name in ("a/IMG.png", "a/IMG-2.png", "b/IMG.png", "a/...png", "a/new\nline.png")]
    save(*paths)
    out = tmp_path / "out"
    (out / "IMG").mkdir(parents=True)
    (out / "IMG" / "notes.txt").write_text("kept")
    (out / "IMG" / "result.json").write_text("old")
    assert main([*command, *map(str, paths)]) == 0
    lines = capsys.readouterr().out.splitlines()
    names = ("IMG", "IMG-2", "IMG-3", "png", r"new\nline")
    assert [line.split(" -> ")[1] for line in lines] == [
        f"{out / name}{' (replaced)' * (name == 'IMG')}" for name in names
    ]
    assert [line.split(": ")[0] for line in lines] == [str(path).replace("\n", r"\n") for path in paths]
    assert all("hand" in line for line in lines)
    assert {path.name for path in tmp_path.iterdir()} == {"a", "b", "out"}
    assert (out / "IMG" / "notes.txt").read_text() == "kept"
    assert {path.name for path in (out / "IMG").iterdir()} == {"notes.txt", *set().union(*FILES.values())}
    assert json.loads((out / "IMG" / "result.json").read_text())["units"]


def test_json_is_a_line_for_each_photo(command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save(tmp_path / "a.png", tmp_path / "b.png")
    assert main([*command, str(tmp_path / "a.png"), str(tmp_path / "b.png"), "--json"]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["source"] for line in lines] == [str(tmp_path / name) for name in ("a.png", "b.png")]
    for line in lines:
        written = json.loads((Path(line["folder"]) / "result.json").read_text())
        assert {name: line[name] for name in written} == written


@pytest.mark.parametrize("chosen", [["joints"], ["masks", "alone"], list(FILES)])
def test_only_chooses_files(chosen: list[str], command: list[str], tmp_path: Path) -> None:
    save(tmp_path / "a.png")
    assert main([*command, str(tmp_path / "a.png"), "--only", ",".join(chosen)]) == 0
    written = {path.name for path in (tmp_path / "out" / "a").iterdir()}
    assert written == set().union(*(FILES[part] for part in chosen))


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--box", "500", "500", "600", "600"], "box: expected a part of the photo, which is 96x64, found 500 500 600"),
        (["--box", "-9", "-9", "0", "0"], "box: expected a part of the photo"),
        (["--box", "0", "0", "inf", "9"], "box: expected finite numbers, found 0 0 inf 9"),
        (["--box", "nan", "0", "9", "9"], "box: expected finite numbers"),
        (["--box", "9", "9", "9", "20"], "box: expected left < right and top < bottom"),
        (["--box", "-1e9", "-1e9", "1e9", "1e9"], "box: expected at most 2 times the photo, which is 96x64"),
        (
            ["--only", "joints,mask"],
            "--only: expected some of masks, alone, joints, skeletons, overview, result, mesh, found mask",
        ),
        (["--only", ""], "--only: expected some of"),
        (["--device", "meta"], "expected one that can be used here, found 'meta'"),
    ],
)
def test_a_mistake_is_one_sentence_before_the_networks_run(
    more: list[str],
    said: str,
    command: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(HDR, "batch", lambda *_, **__: pytest.fail("the networks ran"))
    save(tmp_path / "a.png")
    assert main([*command, str(tmp_path / "a.png"), *more]) == 2
    output = capsys.readouterr()
    assert said in output.err and output.err.count("\n") == 1 and not output.out
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("place", ["file", "file/below", "taken", "/proc/out"])
def test_out_that_cannot_be_written_is_one_sentence_before_the_networks_run(
    place: str,
    weights: Path,  # noqa: F811
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(HDR, "from_pretrained", lambda *_, **__: pytest.fail("the networks were loaded"))
    save(tmp_path / "a.png")
    (tmp_path / "file").touch()
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "a").touch()
    assert main(["infer", str(tmp_path / "a.png"), "--out", str(tmp_path / place)]) == 2
    said = capsys.readouterr().err
    assert "expected a folder" in said and said.count("\n") == 1


@pytest.mark.parametrize("there", [False, True])
def test_a_disk_that_is_full_leaves_nothing_half_written(
    there: bool, command: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    save(tmp_path / "a.png")
    folder = tmp_path / "out" / "a"
    if there:
        folder.mkdir(parents=True)
        (folder / "result.json").write_text("old")
    written, write = [], Image.Image.save

    def full(self: Image.Image, path: Path, *rest: Any) -> None:
        written.append(path)
        if len(written) == 4:
            raise OSError(28, "No space left on device")
        write(self, path, *rest)

    monkeypatch.setattr(Image.Image, "save", full)
    assert main([*command, str(tmp_path / "a.png")]) == 2
    said = capsys.readouterr().err
    assert str(folder) in said and "expected a folder that can be written to (No space left on device)" in said
    assert said.count("\n") == 1
    assert [path.name for path in folder.parent.iterdir()] == (["a"] if there else [])
    if there:
        assert [(path.name, path.read_text()) for path in folder.iterdir()] == [("result.json", "old")]


@pytest.mark.parametrize(
    ("given", "out"),
    [
        ("photos", "photos"),
        ("photos", "link"),
        ("photos/photos.png", "photos/.."),
        ("out/overview/overview.png", "out"),
        ("photos/overview.png", "out"),
    ],
)
def test_no_result_is_written_over_a_photo(
    given: str, out: str, command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save(tmp_path / "photos" / "a.png", tmp_path / "out" / "overview" / "overview.png")
    (tmp_path / "photos" / "photos.png").symlink_to("a.png")
    (tmp_path / "photos" / "overview.png").symlink_to("../out/overview/overview.png")
    (tmp_path / "link").symlink_to("photos")
    before = {path: path.read_bytes() for path in tmp_path.rglob("*.png")}
    assert main(["infer", str(tmp_path / given), "--out", str(tmp_path / out), *command[3:]]) == 2
    said = capsys.readouterr().err
    assert "expected another place than" in said and "which is read, found the same" in said and said.count("\n") == 1
    assert {path: path.read_bytes() for path in tmp_path.rglob("*.png")} == before


def test_a_folder_in_the_place_of_a_file_leaves_what_was_there(
    command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save(tmp_path / "a.png")
    folder = tmp_path / "out" / "a"
    (folder / "result.json").mkdir(parents=True)
    (folder / "joints.png").write_text("old")
    assert main([*command, str(tmp_path / "a.png")]) == 2
    said = capsys.readouterr().err
    assert f"{folder}: expected a folder that can be written to ({folder}/result.json is a folder)" in said
    assert {path.name for path in folder.iterdir()} == {"result.json", "joints.png"}
    assert (folder / "joints.png").read_text() == "old"


def test_a_folder_of_photos_may_hold_other_files(
    command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "photos"
    save(folder / "a.png")
    for suffix in ("gif", "ppm", "tiff"):
        Image.fromarray(photo(64, 96)).save(folder / f"of_{suffix}.{suffix}")
    for name in ("b.jfif", "c.JPE"):
        Image.fromarray(photo(64, 96)).save(folder / name, "JPEG")
    for name in ("._a.png", "phone.HEIC", "new.avif", "notes.txt"):
        (folder / name).write_bytes(b"\0\5\x16\7")
    (folder / "x.jpg").mkdir()
    assert main([*command, str(folder), "--only", "result"]) == 0
    names = {"a", "b", "c", "of_gif", "of_ppm", "of_tiff"}
    assert {path.name for path in (tmp_path / "out").iterdir()} == names
    said = capsys.readouterr().err
    assert f"{folder}: 2 images of formats that are not read are left out (new.avif, phone.HEIC)" in said


def test_what_a_killed_process_left_in_a_folder_is_removed(tmp_path: Path) -> None:
    (tmp_path / "a" / ".new").mkdir(parents=True)
    (tmp_path / "a" / ".new" / "half.png").touch()
    with result_folder(tmp_path / "a") as folder:
        (folder / "whole.png").touch()
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["whole.png"]


def test_a_result_speaks_for_itself(weights: Path, tmp_path: Path) -> None:  # noqa: F811
    result = HDR.from_pretrained(weights)(photo(64, 96))
    sides = [side for side in ("right", "left") if result[side].present]
    assert repr(result) == f"Result({result.found} in 96x64 px)" and all(side in result.found for side in sides)
    assert result["right"] is result.right and result["left"] is result.left
    with pytest.raises(KeyError, match="middle"):
        result["middle"]
    result.save(tmp_path / "out")
    assert json.loads((tmp_path / "out" / "result.json").read_text()) == json.loads(json.dumps(result.to_dict()))
    assert {path.name for path in (tmp_path / "out").iterdir()} == set().union(*FILES.values())
    assert result.draw().shape == (64, 96, 3) and result.draw().dtype == np.uint8
    assert result._repr_png_().startswith(b"\x89PNG")
    with np.load(tmp_path / "out" / "joints.npz") as stored:
        assert set(stored) == set(result.arrays()) >= {"joints_2d", "joints_3d", "crop", "present", "confidence"}


def test_save_refuses_a_place_that_is_a_file(weights: Path, tmp_path: Path) -> None:  # noqa: F811
    (tmp_path / "file").touch()
    with pytest.raises(AIHError, match="expected a folder"):
        HDR.from_pretrained(weights)(photo(64, 96)).save(tmp_path / "file")
