"""Folders of single hands, arrays of poses, Tzionas' frames, broken images, and what goes out as webdataset."""

from __future__ import annotations

import io
import json
import tarfile
from collections import defaultdict
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from aih_gen.cli import main
from aih_gen.compose.sample import IMAGES, JOINT_OUTSIDE, MASK_BITS, Sample
from aih_gen.hands.joints import JOINT_NAMES, TO_TZIONAS
from aih_gen.io.images import image_fault
from aih_gen.shards.reader import AIHShards
from aih_gen.shards.verify import sample_problems
from aih_gen.sources import open_source
from aih_gen.sources.fits import read_fits
from aih_gen.sources.poses_npz import import_poses
from aih_gen.sources.tzionas import TzionasConfig
from tests.aih_gen.test_folder import write_folder
from tests.data.samples import make_sample, write_samples
from tests.data.tzionas import REAL, write_frames


def test_a_picture_with_a_whole_header_that_does_not_decode_is_a_fault(tmp_path: Path) -> None:
    photo = Image.fromarray(make_sample(0, 96).image)
    for name, damage in (
        ("cut.jpg", lambda content: content[: len(content) // 2]),
        ("changed.png", lambda content: content[:2000] + b"\0\0\0\0" + content[2004:]),
    ):
        photo.save(tmp_path / name)
        assert image_fault(tmp_path / name, photo.size) is None
        assert image_fault(tmp_path / name, (96, 95)) == "image of another size"
        (tmp_path / name).write_bytes(damage((tmp_path / name).read_bytes()))
        with Image.open(tmp_path / name) as header:
            assert header.size == photo.size
        assert image_fault(tmp_path / name) == "unreadable image", name
    assert image_fault(tmp_path / "none.jpg") == "missing image"


def test_a_folder_of_single_hands_becomes_shards_and_its_broken_files_are_counted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, out = tmp_path / "hands", tmp_path / "out"
    write_folder(folder, 3, 64)
    (folder / "right" / "1_mask.png").unlink()
    Image.new("L", (64, 64)).save(folder / "left" / "0_mask.png")
    (folder / "left" / "2.jpg").write_bytes((folder / "left" / "2.jpg").read_bytes()[:700])
    command = ["import", "--from", "folder", str(folder), "--out", str(out), "--size", "64"]
    assert main(command) == 2 and not out.exists()
    assert "expected at most 1.0% broken images, found 3 of 6" in capsys.readouterr().err
    assert main([*command, "--most-broken", "0.5"]) == 0
    assert (out / "skipped.tsv").read_text().splitlines() == [
        "no mask\tright/1.jpg",
        "empty mask (no level of 128 or more)\tleft/0.jpg",
        "unreadable image\tleft/2.jpg",
    ]
    assert main(["verify", str(out)]) == 0 and (out / "preview.jpg").exists()
    shards = AIHShards(out)
    assert [sample.provenance["file"] for sample in shards[:]] == ["right/0.jpg", "right/2.jpg", "left/1.jpg"]
    assert [sample.present.tolist() for sample in shards[:]] == [[True, False], [True, False], [False, True]]
    true = make_sample(1, 64)
    np.testing.assert_array_equal(shards[2].visible_left, true.amodal_left)
    assert np.abs(shards[2].image.astype(int) - true.target_left).mean() < 6 and not shards[2].amodal_right.any()


def test_poses_of_other_people_become_recorded_fits(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rng = np.random.default_rng(0)
    hands = {side: rng.normal(0, 0.2, (3, 61)) for side in ("right", "left")}
    hands["left"][:, 58] += 0.3
    hands["right"][1, 50] = np.nan
    names = {"mano_pose": slice(0, 48), "shape": slice(48, 58), "trans": slice(58, 61)}
    stored = {f"{side}_{name}": array[:, part] for side, array in hands.items() for name, part in names.items()}
    np.savez(tmp_path / "theirs.npz", **stored)  # type: ignore[arg-type]
    command = ["import", "--from", "npz", str(tmp_path / "theirs.npz"), "--out", str(tmp_path / "out"), "--size", "64"]
    assert main(command) == 2 and "found 1 of 3: 1 NaN or infinity (pair 1)" in capsys.readouterr().err
    assert main([*command, "--most-broken", "0.4"]) == 0
    huge = {**stored, "left_shape": stored["left_shape"] * [[1], [1], [1e300]]}
    np.savez(tmp_path / "huge.npz", **huge)  # type: ignore[arg-type]
    _, report = import_poses(tmp_path / "huge.npz")
    assert report.broken == {"NaN or infinity": ["pair 1"], "numbers too large for a hand": ["pair 2"]}
    fits = read_fits(tmp_path / "out" / "poses.npz")
    for side, name in enumerate(("right", "left")):
        found = np.concatenate([fits.pose[:, side], fits.betas[:, side], fits.transl[:, side]], 1)
        np.testing.assert_array_equal(found, hands[name][[0, 2]])
    assert (tmp_path / "out" / "preview.jpg").exists()
    del stored["left_trans"]
    np.savez(tmp_path / "theirs.npz", **stored)  # type: ignore[arg-type]
    assert main(command) == 2 and "expected transl as transl, trans," in capsys.readouterr().err


def test_webdataset_holds_every_sample_under_one_key(tmp_path: Path) -> None:
    write_samples(tmp_path / "in" / "aih_render-00000.h5", 3)
    assert main(["export", str(tmp_path / "in"), "--to", "webdataset", "--out", str(tmp_path / "out")]) == 0
    groups: defaultdict[str, dict[str, bytes]] = defaultdict(dict)
    keys: list[str] = []
    with tarfile.open(tmp_path / "out" / "00000.tar") as archive:
        for member in archive:
            key, _, ending = member.name.partition(".")
            stream = archive.extractfile(member)
            assert stream is not None
            keys.append(key)
            groups[key][ending] = stream.read()
    assert keys == sorted(keys)  # a sample's files adjoin
    for before, parts in zip(AIHShards(tmp_path / "in")[:], groups.values(), strict=True):
        for name in IMAGES:
            np.testing.assert_array_equal(
                np.asarray(Image.open(io.BytesIO(parts[f"{name}.png"]))), getattr(before, name)
            )
        numbers, bits = json.loads(parts["json"]), np.asarray(Image.open(io.BytesIO(parts["masks.png"])))
        assert numbers["mask_bits"] == MASK_BITS and numbers["index"] == before.index
        for name in ("amodal_left", "visible_right", "arm_left"):
            np.testing.assert_array_equal((bits & numbers["mask_bits"][name]) != 0, getattr(before, name))
        np.testing.assert_allclose(np.array(numbers["joints_3d"], float), before.joints_3d, rtol=1e-6)


def at_joints(sample: Sample) -> np.ndarray:
    """(K,3) the colours under the known joints."""
    known = np.isfinite(sample.joints_2d).all(-1)
    column, row = np.rint(sample.joints_2d[known]).astype(int).T
    return sample.image[row, column].astype(int)


def test_tzionas_joints_stay_on_what_they_mark_and_get_our_names(tmp_path: Path) -> None:
    spots = write_frames(tmp_path)
    frames = open_source(TzionasConfig(source=str(tmp_path), size=192))
    assert frames.report.broken == {
        "wrong count of joints": ["01/joints_2D_GT/0002.txt"],
        "joints that are no numbers": ["01/joints_2D_GT/0003.txt"],
        "no joint annotated": ["01/joints_2D_GT/0004.txt"],
        "missing image": ["01/joints_2D_GT/0005.txt"],
    }
    (sample,) = frames.samples([0])
    known = np.isfinite(sample.joints_2d).all(-1)
    assert [JOINT_NAMES[k] for k in TO_TZIONAS[[0, 3, 11, 12, 13]]] == [
        "little1",
        "ring1",
        "index3",
        "thumb2",
        "thumb3",
    ]
    assert (
        known.sum() == 26 and not known[0, JOINT_NAMES.index("little3")] and not known[1, JOINT_NAMES.index("little2")]
    )
    assert (at_joints(sample) > 200).all() and sample.image.mean() < 60
    scale = 192 / sample.provenance["crop_side"]
    assert np.ptp(sample.joints_2d[known], 0).max() == pytest.approx(192 / 2, abs=1)
    first, last = (sample.joints_2d[side, TO_TZIONAS[k]] for side, k in ((0, 0), (1, 13)))
    np.testing.assert_allclose((last - first) / scale, spots[27] - spots[0], atol=1e-3)
    assert (
        sample.provenance["hand_type"] == "interacting" and sample.present.all() and not list(sample_problems(sample))
    )
    assert not (sample.joint_state == JOINT_OUTSIDE).any() and np.isnan(sample.joints_3d).all()


@pytest.mark.skipif(not REAL.is_dir(), reason=f"needs licensed files: {REAL}")
def test_the_real_frames_joints_lie_on_skin(tmp_path: Path) -> None:
    frames = open_source(TzionasConfig(source=str(REAL), size=256))
    (sample,) = frames.samples([0])
    red, _, blue = at_joints(sample).T
    assert len(red) == 25 and (red > blue).all()  # the shirt behind is blue
    right, left = (np.nanmean(hand[:, 0]) for hand in sample.joints_2d)
    assert right < left and not frames.report.broken


def test_an_unknown_occlusion_is_accepted_only_where_the_source_does_not_know_the_hand() -> None:
    made = make_sample(0, 64)
    lacking = replace(made, occlusion=np.array([np.nan, made.occlusion[1]], np.float32))
    assert [what for what, _ in sample_problems(lacking)] == ["occlusion"]
    assert not list(sample_problems(replace(lacking, provenance={"known": ["left"]})))
    assert list(sample_problems(replace(lacking, provenance={"known": ["right"]})))
