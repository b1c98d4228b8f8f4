"""File names that are not UTF-8, and names with line breaks and tabs, everywhere a name goes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from aih_gen.cli import main
from aih_gen.config import SIDES
from aih_gen.scenes.backgrounds import BackgroundLibrary
from aih_gen.shards.reader import AIHShards
from tests.aih_gen.test_folder import write_folder

NAMES = [os.fsdecode(name) for name in (b"\xc0\xef", b"a\nb", b"caf\xe9\tc")]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    hands = tmp_path / os.fsdecode(b"h\xe4nde\n")
    write_folder(hands, 3, 64)
    for side in SIDES:
        for number, name in enumerate(NAMES):
            for ending in (".jpg", "_mask.png"):
                (hands / side / f"{number}{ending}").rename(hands / side / f"{name}{ending}")
    return hands


def test_every_command_takes_any_name(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out, bad = tmp_path / os.fsdecode(b"\xff\t"), folder / "right" / f"{NAMES[1]}!.jpg"
    bad.write_bytes(b"none")
    command = ["import", "--from", "folder", str(folder), "--out", str(out), "--size", "64", "--most-broken", "0.5"]
    assert main(command) == 0
    assert (out / "skipped.tsv").read_bytes() == b"unreadable image\tright/a\\nb!.jpg\n"
    assert "right/a\\nb!.jpg" in capsys.readouterr().out
    assert {sample.provenance["file"] for sample in AIHShards(out)[:3]} == {f"right/{name}.jpg" for name in NAMES}
    assert main(["syn", "--source", str(folder), "--out", str(tmp_path / "syn"), "--count", "2", "--size", "64"]) == 2
    error = capsys.readouterr().err
    assert error.endswith("beside it, found none\n") and error.count("\n") == 1
    bad.unlink()
    for arguments in (
        ["syn", "--source", str(folder), "--out", str(tmp_path / "syn"), "--count", "2", "--size", "64"],
        ["info", str(out), "--write"],
        ["verify", str(out)],
        ["preview", str(out), "--out", str(out / "page.html")],
        ["export", str(out), "--to", "webdataset", "--out", str(out / os.fsdecode(b"\xff"))],
        ["export", str(tmp_path / "syn"), "--to", "coco", "--out", str(out / "coco")],
    ):
        assert main(arguments) == 0, arguments


def test_a_printed_name_that_is_not_utf_8_is_escaped(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / os.fsdecode(b"\xff")
    command = [sys.executable, "-m", "aih_gen.cli", "import", "--from", "folder", str(folder), "--out", str(out)]
    environment = os.environ | {"PYTHONIOENCODING": "utf-8:strict"}
    done = subprocess.run([*command, "--size", "64"], capture_output=True, check=False, env=environment)
    assert done.returncode == 0 and b"\\udcff: 6 samples" in done.stdout, done.stderr


def test_backgrounds_of_any_name_have_a_digest(folder: Path) -> None:
    assert len(BackgroundLibrary(folder).digest()) == 64
