"""Merged and split folders hold the same shards byte for byte, or do not exist."""

from __future__ import annotations

import dataclasses
import errno
import hashlib
import os
import shutil
from pathlib import Path

import pytest

from aih_gen.cli import main
from aih_gen.config import SynConfig
from aih_gen.errors import AIHError, ShardError
from aih_gen.factory import generate
from aih_gen.shards.manifest import read_manifest
from aih_gen.shards.reader import AIHShards
from aih_gen.shards.rearrange import merge, split
from aih_gen.shards.verify import verify
from tests.data.samples import write_samples


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Ten samples each of two seeds, in shards of two."""
    place = tmp_path_factory.mktemp("folders")
    write_samples(place / "source" / "aih_render-00000.h5", 40)
    for seed in (0, 1):
        config = SynConfig(source=str(place / "source"), size=64, seed=seed)
        generate(config, place / f"seed{seed}", 10, shard_size=2)
    return place / "seed0", place / "seed1"


def digests(*folders: Path) -> list[str]:
    return sorted(hashlib.sha256(path.read_bytes()).hexdigest() for folder in folders for path in folder.glob("*.h5"))


def assert_whole(folder: Path) -> None:
    assert [problem for found in verify(folder) for problem in found] == []


@pytest.mark.parametrize("links", [True, False])
def test_merged_shards_are_the_same_bytes(
    tmp_path: Path, folders: tuple[Path, Path], links: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(source: Path, target: Path) -> None:
        raise OSError(errno.EXDEV, "another file system")

    if not links:
        monkeypatch.setattr(os, "link", refuse)
    merged = tmp_path / "merged"
    merge(folders, merged)
    assert digests(merged) == digests(*folders)
    assert [path.name for path in sorted(merged.glob("*.h5"))] == [f"aih_syn-{k:05d}.h5" for k in range(10)]
    assert_whole(merged)
    linked = (merged / "aih_syn-00000.h5").samefile(folders[0] / "aih_syn-00000.h5")
    assert linked is links
    read = [sample.index for sample in AIHShards(merged)]
    assert read == [*range(10), *range(10)]
    manifest = read_manifest(merged)
    assert manifest is not None and len(manifest.configurations()) == 2
    assert list(tmp_path.iterdir()) == [merged]


def test_a_collection_can_be_merged_and_split_again_but_not_added_to(
    tmp_path: Path, folders: tuple[Path, Path]
) -> None:
    merge(folders, tmp_path / "merged")
    split(tmp_path / "merged", tmp_path / "split", {"val": 0.2, "test": 0.3})
    parts = [tmp_path / "split" / name for name in ("train", "val", "test")]
    assert [len(AIHShards(part)) for part in parts] == [10, 4, 6]
    merge(parts, tmp_path / "again")
    assert digests(*parts) == digests(tmp_path / "again") == digests(*folders)
    for folder in (*parts, tmp_path / "again"):
        assert_whole(folder)
    config = SynConfig(source=str(folders[0].parent / "source"), size=64, seed=0)
    with pytest.raises(ShardError, match="another configuration"):
        generate(config, parts[0], 10, shard_size=2)


def test_a_split_depends_on_its_seed_alone(tmp_path: Path, folders: tuple[Path, Path]) -> None:
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        split(folders[0], tmp_path / name, {"val": 0.2, "test": 0.2}, seed)
    tests = [AIHShards(tmp_path / name / "test").read([0], ("index",))["index"].tolist() for name in "abc"]
    assert tests[0] == tests[1] != tests[2]


def test_what_does_not_belong_together_is_refused_and_nothing_is_left(
    tmp_path: Path, folders: tuple[Path, Path]
) -> None:
    first, second = folders
    copy, render, damaged, bare = (tmp_path / name for name in ("copy", "render", "damaged", "bare"))
    shutil.copytree(first, copy)
    shutil.copytree(second, damaged)
    with (damaged / "aih_syn-00003.h5").open("r+b") as file:
        file.seek(-200, os.SEEK_END)
        file.write(b"damage")
    write_samples(bare / "aih_render-00000.h5", 1)
    config = dataclasses.replace(SynConfig(source=str(first.parent / "source"), size=64), seed=7)
    generate(config, render, 2, codec="gzip")
    there = sorted(tmp_path.iterdir())
    for paths, sentence in (
        ((first, copy), "copy/aih_syn-00000.h5: expected samples of its own, found sample 0"),
        ((first, render), "expected codec zstd as in"),
        ((first, damaged), "aih_syn-00003.h5"),
        ((first, bare), "bare: expected a folder of shards with a manifest, found none"),
        ((first, tmp_path / "none"), "none: expected a folder of shards with a manifest"),
    ):
        with pytest.raises(ShardError, match=sentence):
            merge(paths, tmp_path / "out")
    with pytest.raises(AIHError, match="copy: expected a folder that is not there yet"):
        merge(folders, copy)
    with pytest.raises(AIHError, match="expected a folder that can be written to"):
        merge(folders, first / "manifest.json" / "out")
    with pytest.raises(AIHError, match="shares: expected"):
        split(first, tmp_path / "out", {"val": 0.5, "test": 0.5})
    with pytest.raises(ShardError, match="expected at least 3 shards, found 1"):
        split(render, tmp_path / "out", {"val": 0.1, "test": 0.1})
    assert sorted(tmp_path.iterdir()) == there


def test_the_commands(tmp_path: Path, folders: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    merged, divided = tmp_path / "merged", tmp_path / "split"
    assert main(["merge", *map(str, folders), "--out", str(merged)]) == 0
    assert main(["split", str(merged), "--out", str(divided), "--val", "0.1", "--test", "0.2"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        f"{merged}: 20 samples",
        f"{divided}/train: 14 samples",
        f"{divided}/val: 2 samples",
        f"{divided}/test: 4 samples",
    ]
    assert main(["merge", str(folders[0]), "--out", str(merged)]) == 2
    assert capsys.readouterr().err == f"aih-gen: error: {merged}: expected a folder that is not there yet, found one\n"
