"""Configurations as JSON files."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from aih_gen.cli import main
from aih_gen.config import GENERATOR_VERSION, TWO_HANDS, RenderConfig, SynConfig
from aih_gen.errors import AIHError
from aih_gen.factory import generate
from aih_gen.sources import describe_source, open_source
from aih_gen.sources.config_file import config_text, read_config
from tests.data.samples import write_samples


def test_a_configuration_written_and_read_is_the_same(tmp_path: Path) -> None:
    path = tmp_path / "any.json"
    for config in (RenderConfig(size=96, look="plain", occlusion=(0.1, 0.5)), SynConfig(source="a/b", min_occlusion=0)):
        path.write_text(config_text(config))
        assert read_config(path) == config
    path.write_text('{"subset": "AIH_Render", "pose_noise": 3}')
    assert read_config(path) == RenderConfig(pose_noise=3.0)


def test_the_command_prints_what_render_would_make(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "render.json"
    for arguments, config in (
        (["--size", "128", "--seed", "4"], RenderConfig(size=128, seed=4)),
        (["--poses", "fits.npz"], RenderConfig(poses="fits.npz", hands=TWO_HANDS)),
    ):
        assert main(["config", *arguments]) == 0
        path.write_text(capsys.readouterr().out)
        assert read_config(path) == config
    assert main(["config", "--size", "65"]) == 2
    assert "size: expected a multiple of 32" in capsys.readouterr().err


def test_the_manifest_of_shards_is_one_where_all_is_shipped(tmp_path: Path) -> None:
    config = RenderConfig(size=64, seed=9, look="plain")
    assert read_config(generate(config, tmp_path / "rendered", 1) / "manifest.json") == config
    pasted = generate(SynConfig(source=str(tmp_path / "rendered"), size=64, smallest_hand=0), tmp_path / "pasted", 1)
    with pytest.raises(AIHError, match="source: expected a text, found a description of files"):
        read_config(pasted / "manifest.json")


def test_a_source_is_described_without_what_draws_it(tmp_path: Path) -> None:
    write_samples(tmp_path / "hands/aih-00000.h5", 2)
    for config in (RenderConfig(size=64), SynConfig(source=str(tmp_path / "hands"), size=64)):
        assert describe_source(config) == open_source(config).describe()


@pytest.mark.parametrize(
    ("document", "said"),
    [
        ([], ": expected a configuration, an object of names and values, found"),
        ({"format": "AIH"}, ": expected a configuration, an object"),
        ({"subset": None}, ", subset: expected AIH_Render or AIH_Syn, found None"),
        ({"subset": ["AIH_Render"]}, ", subset: expected AIH_Render or AIH_Syn, found"),
        (
            {"generator_version": "1"},
            f", generator_version: expected {GENERATOR_VERSION}, that of this program, found '1'",
        ),
        ({"sizes": 64}, ": expected fields of RenderConfig, found 'sizes'"),
        ({"size": "64"}, ", size: expected an integer, found '64'"),
        ({"size": 64.0}, ", size: expected an integer, found 64.0"),
        ({"contact": 1}, ", contact: expected true or false, found 1"),
        ({"people": True}, ", people: expected a number, found True"),
        ({"people": 10**400}, ", people: expected a number, found 1000"),
        ({"poses": None}, ", poses: expected a text, found None"),
        ({"hands": [1, 0]}, r", hands: expected 3 numbers, found \[1, 0\]"),
        ({"occlusion": ["a", 0]}, ", occlusion: expected 2 numbers, found"),
        ({"look": "fine"}, ", look: expected full or plain, found 'fine'"),
        ({"look": {}}, ", look: expected full or plain, found {}"),
        (
            {"hand_model": {"name": "MANO", "sha256": "0"}},
            ", hand_model: expected a text, found a description of files",
        ),
    ],
)
def test_a_file_that_is_none_is_named(tmp_path: Path, document: object, said: str) -> None:
    path = tmp_path / "c.json"
    if isinstance(document, dict) and not {"format", "subset"} & document.keys():
        document = {"subset": "AIH_Render"} | document
    path.write_text(json.dumps(document))
    with pytest.raises(AIHError, match=f"^{path}{said}"):
        read_config(path)


@pytest.mark.parametrize("text", ["", "RenderConfig()", "[" * 1000])
def test_what_is_no_json_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "c.json").write_text(text)
    for path, said in ((tmp_path / "c.json", "expected JSON"), (tmp_path / "d.json", "expected the file of a conf")):
        with pytest.raises(AIHError, match=f"^{path}: {said}"):
            read_config(path)
