"""``aih-gen verify`` reads every byte and knows what must be true of a sample; it says where it is not."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from aih_gen.compose.sample import JOINT_VISIBLE
from aih_gen.errors import ShardError
from aih_gen.shards.manifest import Manifest, describe_file, read_manifest, write_manifest
from aih_gen.shards.verify import Problem, verify
from aih_gen.shards.writer import write_shard
from tests.data.samples import make_header, make_sample, write_samples


def with_manifest(folder: Path, count: int = 3) -> Path:
    path = folder / "aih_render-00000.h5"
    write_samples(path, count)
    header = make_header()
    manifest = Manifest({}, header.config_sha256, 1000, "zstd", False, (describe_file(path, path.name, count),))
    write_manifest(folder, manifest)
    assert read_manifest(folder) == manifest
    return path


def problems(path: Path) -> list[Problem]:
    return [problem for found in verify(path) for problem in found]


def test_verify_finds_nothing_in_good_shards(tmp_path: Path) -> None:
    with_manifest(tmp_path)
    assert problems(tmp_path) == []


def test_verify_names_what_is_broken(tmp_path: Path) -> None:
    path = with_manifest(tmp_path)
    good = make_sample(1)
    target, occlusion, joints = good.target_left.copy(), good.occlusion + 0.1, good.joints_2d + 2
    target[0, 0] ^= 1
    visible, empty = np.full_like(good.joint_state, JOINT_VISIBLE), np.zeros_like(good.amodal_left)
    outside = ~good.amodal_right & ~good.amodal_left & ~good.arm_right & ~good.arm_left
    for sample, dataset, sentence in (
        (dataclasses.replace(good, target_left=target), "rgb", "target_left differs from the image in 1 pixels"),
        (
            dataclasses.replace(good, visible_right=good.visible_right | outside),
            "masks",
            "right hand are outside its amodal",
        ),
        (dataclasses.replace(good, visible_left=good.visible_right), "masks", "show two hands"),
        (dataclasses.replace(good, occlusion=occlusion), "occlusion", "right: expected"),
        (dataclasses.replace(good, joints_2d=joints), "joints_2d", "2.8 px"),
        (
            dataclasses.replace(good, amodal_left=empty, visible_left=empty, joint_state=visible),
            "joint_state",
            "left joint 0 is called visible, but is over 2 px",
        ),
        (dataclasses.replace(good, present=np.array([False, True])), "present", "right"),
    ):
        write_shard(path, [[make_sample(0), sample, make_sample(2)]], 3, make_header())
        found = [problem for problem in problems(path) if problem.dataset == dataset]
        assert [(problem.shard, problem.sample) for problem in found[:1]] == [(path.name, 1)], dataset
        assert sentence in found[0].what


def test_verify_compares_the_folder_with_its_manifest(tmp_path: Path) -> None:
    path = with_manifest(tmp_path)
    write_samples(path.with_name("aih_render-00001.h5"), 1)
    assert [str(problem) for problem in problems(tmp_path)] == [
        "aih_render-00001.h5, file: in the folder, but not in the manifest"
    ]
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 16  # in the pixels of a sample
    path.write_bytes(data)
    path.with_name("aih_render-00001.h5").unlink()
    checksum, damage = problems(tmp_path)
    assert "with SHA-256" in checksum.what
    assert damage.sample is not None and "damaged" in damage.what
    path.unlink()
    write_samples(path.with_name("aih_render-00002.h5"), 1)
    assert "in the manifest, but not in the folder" in {problem.what for problem in problems(tmp_path)}


def test_verify_compares_each_shard_with_the_manifest(tmp_path: Path) -> None:
    path = tmp_path / "aih_render-00000.h5"
    write_samples(path, 3)
    entry = describe_file(path, path.name, 4)
    write_manifest(tmp_path, Manifest({}, "0" * 64, 1000, "zstd", False, (entry,)))
    assert [(problem.dataset, problem.what.split(",")[0]) for problem in problems(tmp_path)] == [
        ("attribute config_sha256", f"expected {'0' * 64} as in the manifest"),
        ("index", "expected 4 samples as in the manifest"),
    ]


def test_a_visible_joint_may_lie_two_pixels_beside_its_hand(tmp_path: Path) -> None:
    good = make_sample(1)
    row = int(np.flatnonzero(good.amodal_right.any(1))[0])
    column = int(np.flatnonzero(good.amodal_right[row])[0])
    for beside, expected in ((2, []), (3, ["joint_state"])):
        joints_2d, joints_3d, state = good.joints_2d.copy(), good.joints_3d.copy(), good.joint_state.copy()
        joints_2d[0, 0] = column, row - beside
        joints_3d[0, 0] = np.linalg.solve(good.camera, [column, row - beside, 1]) * good.joints_3d[0, 0, 2]
        state[0, 0] = JOINT_VISIBLE
        moved = dataclasses.replace(good, joints_2d=joints_2d, joints_3d=joints_3d, joint_state=state)
        write_shard(tmp_path / f"{beside}.h5", [[moved]], 1, make_header())
        assert [problem.dataset for problem in problems(tmp_path / f"{beside}.h5")] == expected


def test_a_manifest_is_held_against_its_own_configuration_and_its_shards(tmp_path: Path) -> None:
    path = with_manifest(tmp_path)
    header = make_header()
    entry, config = describe_file(path, path.name, 3), json.loads(header.config)
    for changed, depth, expected in (
        (config, False, []),
        (config | {"seed": 4}, False, ["config_sha256"]),
        (config, True, ["depth"]),
    ):
        write_manifest(tmp_path, Manifest(changed, header.config_sha256, 1000, "zstd", depth, (entry,)))
        assert [problem.dataset for problem in problems(tmp_path)] == expected
    document = json.loads((tmp_path / "manifest.json").read_text())
    (tmp_path / "manifest.json").write_text(json.dumps(document | {"samples": 4}))
    with pytest.raises(ShardError, match="samples: expected 3 as in its shards, found 4"):
        problems(tmp_path)


def test_a_bit_of_a_manifest_is_missed(tmp_path: Path) -> None:
    """Wherever it is: a number that nothing else tells, or the name of a key."""
    with_manifest(tmp_path)
    path = tmp_path / "manifest.json"
    assert problems(tmp_path) == []
    raw = path.read_bytes()
    document = json.loads(raw)
    for place in range(len(raw)):
        flipped = raw[:place] + bytes([raw[place] ^ 1]) + raw[place + 1 :]
        try:
            same = json.loads(flipped) == document  # a space for another
        except ValueError:
            continue
        path.write_bytes(flipped)
        try:
            found = problems(tmp_path)
        except ShardError:
            continue
        assert same or found, flipped[max(0, place - 20) : place + 20]
    path.write_text(json.dumps({key: value for key, value in document.items() if key != "sha256"}))
    assert problems(tmp_path) == [], "manifests had none before"
