"""The card of a data set states its content, and programs can read it."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from pathlib import Path

import pytest

from aih_gen.assets import asset_path
from aih_gen.cli import main
from aih_gen.config import canonical_json
from aih_gen.errors import AIHError
from aih_gen.reports.card import SHIPPED, card, croissant, write_card
from aih_gen.shards.manifest import describe_file
from aih_gen.shards.reader import AIHShards
from aih_gen.shards.writer import write_shard
from tests.data.samples import make_header, make_sample


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Four samples of known tone, with the shipped hand and a user's backgrounds."""
    config = canonical_json({
        "subset": "AIH_Render",
        "hand_model": {"name": "free", "sha256": "0"},
        "backgrounds": {"name": "holidays", "sha256": "1"},
        "textures": {"name": "none", "sha256": ""},
    })  # fmt: skip
    header = dataclasses.replace(
        make_header(), config=config, config_sha256=hashlib.sha256(config.encode()).hexdigest()
    )
    tones = ("light", "brown", "brown", "two|cells\n# heading")
    samples = [dataclasses.replace(make_sample(k), provenance={"tone": tone}) for k, tone in enumerate(tones)]
    write_shard(tmp_path / "aih_render-00000.h5", [samples], 4, header)
    return tmp_path


def test_the_card_counts_and_names_licences(folder: Path) -> None:
    said = card(AIHShards(folder), "here")
    assert said.startswith("# here: AIH_Render, 4 samples of 64x64 in 1 shards\n")
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in said.splitlines() if line.startswith("|")]
    assert ["brown", "2", "50.0%"] in rows and ["light", "1", "25.0%"] in rows and ["dark", "0", "0.0%"] in rows
    assert ["two?cells?# heading", "1", "25.0%"] in rows
    occlusions = [row for row in rows if " to " in row[0] and "%" in row[0] and len(row) == 3 and "." not in row[2]]
    assert sum(int(row[1]) for row in occlusions) == sum(int(row[2]) for row in occlusions) == 4
    assert "- hand_model free: CC0-1.0, see assets/free_hand/LICENSE.md" in said
    assert "> # The free hand" in said
    assert "- backgrounds holidays: not of this project" in said
    assert "- textures" not in said


def test_the_card_names_sources_that_have_no_name(tmp_path: Path) -> None:
    """Photos are known by their bytes: the configuration has no path of theirs."""
    for subset, source in (("InterHand26M", {"data": "0", "cameras": "1"}), ("Hands", {"samples": 4})):
        config = canonical_json({"subset": subset, "source": source})
        digest = hashlib.sha256(config.encode()).hexdigest()
        header = dataclasses.replace(make_header(), subset=subset, config=config, config_sha256=digest)
        folder = tmp_path / subset
        folder.mkdir()
        write_shard(folder / f"{subset.lower()}-00000.h5", [[make_sample(0)]], 1, header)
        shards = AIHShards(folder)
        assert f"- source of {subset}: known by its files alone: the licence that it came with" in card(shards, "here")
        assert len(croissant(shards, folder)["license"]) == 1


def test_shipped_assets_have_the_licence_that_the_card_states() -> None:
    for name in SHIPPED.values():
        assert "CC0 1.0" in (asset_path(name) / "LICENSE.md").read_text()


def test_the_card_is_printed_and_only_written_when_asked(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = sorted(folder.iterdir())
    assert main(["info", str(folder)]) == 0
    assert "## By skin tone" in capsys.readouterr().out
    assert sorted(folder.iterdir()) == before
    assert main(["info", str(folder), "--write"]) == 0
    assert capsys.readouterr().out.endswith(f"{folder / 'README.md'}\n{folder / 'croissant.json'}\n")
    assert (folder / "README.md").read_text() == card(AIHShards(folder), "AIH_Render")
    assert {path.name for path in folder.iterdir()} == {"README.md", "croissant.json", "aih_render-00000.h5"}
    with pytest.raises(AIHError, match=r"expected a folder to write README\.md and croissant\.json into"):
        write_card(AIHShards(folder), folder / "aih_render-00000.h5")


def test_a_card_that_cannot_be_written_is_one_sentence(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "README.md").mkdir()
    assert main(["info", str(folder), "--write"]) == 2
    assert "README.md: expected a file or nothing yet, found a folder" in capsys.readouterr().err
    assert {path.name for path in folder.iterdir()} == {"README.md", "aih_render-00000.h5"}


def test_croissant_lists_every_shard(folder: Path) -> None:
    path = folder / "aih_render-00000.h5"
    (shard,) = croissant(AIHShards(folder), folder)["distribution"]
    assert (shard["contentUrl"], shard["sha256"]) == (path.name, describe_file(path, path.name, 4).sha256)
    assert shard["contentSize"] == f"{path.stat().st_size} B"


@pytest.mark.filterwarnings("ignore")
def test_croissant_is_valid(folder: Path) -> None:
    mlcroissant = pytest.importorskip("mlcroissant", reason="mlcroissant (it brings pandas) is not installed")
    _, path = write_card(AIHShards(folder), folder)
    found = mlcroissant.Dataset(str(path)).metadata
    assert found.name == json.loads(path.read_text())["name"] == "AIH_Render"
    assert [file.name for file in found.distribution] == ["aih_render-00000.h5"]
    assert not found.ctx.issues.errors
