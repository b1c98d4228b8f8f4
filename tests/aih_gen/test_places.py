"""The places that commands write to: never over what they read, and only once the arguments are in order."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from aih_gen.cli import main
from aih_gen.config import RenderConfig
from aih_gen.errors import WriteError
from aih_gen.factory import check_place
from aih_gen.io.write import check_writable
from tests.aih_gen.test_folder import write_folder
from tests.data.samples import write_samples


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def world(tmp_path: Path) -> Path:
    """Shards, a folder of single hands and recorded poses, and a link to each."""
    write_samples(tmp_path / "shards" / "aih_render-00000.h5", 2)
    write_folder(tmp_path / "hands", 1, 64)
    (tmp_path / "fits").mkdir()
    arrays = {"pose": np.zeros((3, 2, 48)), "betas": np.zeros((3, 2, 10)), "transl": np.zeros((3, 2, 3))}
    np.savez(tmp_path / "fits" / "poses.npz", **arrays)  # type: ignore[arg-type]
    for name in ("shards", "hands", "fits"):
        (tmp_path / f"link_{name}").symlink_to(tmp_path / name)
    return tmp_path


@pytest.mark.parametrize("written", ["", "link_"])
@pytest.mark.parametrize(
    "command",
    [
        "import --from npz fits/poses.npz --out {}fits --limit 1",
        "import --from folder hands --out {}hands",
        "import --from aih-folders hands --out {}hands",
        "annotate --dataset tzionas --root hands --out {}hands",
        "render --count 1 --backgrounds hands --out {}hands",
        "render --count 1 --textures hands --out {}hands",
        "render --count 1 --poses shards --out {}shards",
        "render --count 1 --hand-model fits --out {}fits",
        "syn --count 1 --source hands --out {}hands",
        "export --to aih-folders shards --out {}shards",
        "preview shards --out {}shards/aih_render-00000.h5",
        "preview shards/aih_render-00000.h5 --out {}shards/aih_render-00000.h5",
    ],
)
def test_no_command_writes_over_what_it_reads(
    world: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], command: str, written: str
) -> None:
    monkeypatch.chdir(world)
    before = contents(world)
    assert main(command.format(written).split()) == 2
    error = capsys.readouterr().err
    assert "expected another place than" in error and error.count("\n") == 1
    assert contents(world) == before


@pytest.mark.parametrize("written", ["", "link_"])
@pytest.mark.parametrize(
    ("command", "read"),
    [
        ("syn --count 1 --source hands --out {}hands/right", "hands/right"),
        ("syn --count 1 --source hands --out {}hands/left/new", "hands/left"),
        ("import --from folder hands --out {}hands/left", "hands/left"),
        ("render --count 1 --backgrounds hands --out {}hands/new", "hands"),
        ("render --count 1 --textures hands/right --out {}hands/right/new/new", "hands/right"),
    ],
)
def test_no_command_writes_where_the_next_run_would_read_it(
    world: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    command: str,
    read: str,
    written: str,
) -> None:
    monkeypatch.chdir(world)
    before = contents(world)
    assert main([*command.format(written).split(), "--size", "64"]) == 2
    error = capsys.readouterr().err
    assert f"expected a place outside {read}, whose images are read" in error and error.count("\n") == 1
    assert contents(world) == before


def test_a_word_is_no_folder_that_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "free").mkdir()
    check_place(RenderConfig(backgrounds="recorded"), Path("recorded"))
    check_place(RenderConfig(), Path("free"))


@pytest.mark.parametrize("size", ["0", "-64", "100", "100000", "1000000000000"])
@pytest.mark.parametrize(
    "command",
    [
        "import --from npz fits/poses.npz",
        "import --from folder hands",
        "import --from aih-folders hands",
        "annotate --dataset tzionas --root hands",
        "annotate --dataset interhand26m --root hands --hand-model fits",
        "syn --count 1 --source hands",
        "render --count 1",
    ],
)
def test_a_size_is_checked_before_anything_is_read_or_written(
    world: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], command: str, size: str
) -> None:
    monkeypatch.chdir(world)
    assert main([*command.split(), "--out", "out", "--size", size]) == 2
    assert f"size: expected a multiple of 32 from 64 to 1024, found {size}" in capsys.readouterr().err
    assert not (world / "out").exists()


@pytest.mark.parametrize(
    ("command", "sentence"),
    [
        ("import --from npz fits/poses.npz --limit -1", "limit: expected 1 or more, found -1"),
        ("import --from npz fits/poses.npz --limit 0", "limit: expected 1 or more, found 0"),
        ("split shards --seed -1", "seed: expected 0 or more, found -1"),
    ],
)
def test_a_number_out_of_range_is_one_sentence(
    world: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], command: str, sentence: str
) -> None:
    monkeypatch.chdir(world)
    assert main([*command.split(), "--out", "out"]) == 2
    assert sentence in capsys.readouterr().err and not (world / "out").exists()


@pytest.mark.parametrize("out", ["file/out", "file/a/b"])
@pytest.mark.parametrize(
    "command",
    [
        "import --from npz fits/poses.npz",
        "import --from folder hands",
        "annotate --dataset tzionas --root hands",
        "syn --count 1 --source hands",
        "render --count 1",
        "export --to coco shards",
        "merge shards",
        "split shards",
        "preview shards",
    ],
)
def test_a_place_under_a_file_is_refused_before_anything_is_read(
    world: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], command: str, out: str
) -> None:
    def read(*arguments: object) -> None:
        raise AssertionError("read before the place was checked")

    for name in ("import_export.open_source", "factory.open_source", "import_export.import_poses", "cli.AIHShards"):
        monkeypatch.setattr(f"aih_gen.{name}", read)
    monkeypatch.setattr("aih_gen.shards.rearrange._listed", read)
    monkeypatch.setattr("aih_gen.import_export.AIHShards", read)
    monkeypatch.chdir(world)
    (world / "file").write_text("")
    if command.startswith("syn"):
        command += " --size 64"
    assert main([*command.split(), "--out", out]) == 2
    error = capsys.readouterr().err
    assert f"{out}: expected a f" in error and "can be written to" in error and error.count("\n") == 1
    assert (world / "file").read_text() == ""


def test_a_full_or_read_only_disk_is_known_before_the_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stated = os.statvfs(tmp_path)
    for change, reason in (({"f_bavail": 0}, "No space left"), ({"f_flag": os.ST_RDONLY}, "Read-only file system")):
        numbers = {name: getattr(stated, name) for name in ("f_blocks", "f_bavail", "f_flag")} | change
        monkeypatch.setattr("os.statvfs", lambda place, numbers=numbers: SimpleNamespace(**numbers))
        with pytest.raises(WriteError, match=f"new/out: expected a folder that can be written to .*{reason}"):
            check_writable(tmp_path / "new" / "out")
