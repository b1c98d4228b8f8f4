"""Where the commands write: never over what they read."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from aih_gen.cli import main
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
