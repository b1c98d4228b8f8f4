"""InterHand2.6M's tree -> samples; the truth is known, since we rendered the photos."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from aih_gen.cli import main
from aih_gen.compose.sample import Sample
from aih_gen.config import TWO_HANDS, RenderConfig, SynConfig
from aih_gen.errors import AIHError
from aih_gen.hands.joints import FROM_INTERHAND, JOINT_NAMES
from aih_gen.import_export import annotate
from aih_gen.scenes.clean_plates import to_fill
from aih_gen.shards.reader import AIHShards
from aih_gen.shards.verify import sample_problems
from aih_gen.sources import open_source
from aih_gen.sources.annotate import AnnotateConfig, AnnotatedPhotos
from aih_gen.sources.interhand26m import InterHand, annotation_files, read_interhand
from aih_gen.typing import Mask
from tests.data.interhand import CAMERAS, HEIGHT, WIDTH, Tree, export_hands, read_json, write_json, write_tree

SIZE = 128


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Tree:
    folder = tmp_path_factory.mktemp("interhand")
    return write_tree(folder / "data", export_hands(folder / "mano"), frames=1)


@pytest.fixture(scope="module")
def photos(tree: Tree) -> AnnotatedPhotos:
    return AnnotatedPhotos(config_of(tree, crops="all"))


@pytest.fixture
def copy(tree: Tree, tmp_path: Path) -> Tree:
    """Links to the photos, and annotations of its own."""
    root = tmp_path / "copy"
    shutil.copytree(tree.root, root, copy_function=lambda source, place: Path(place).hardlink_to(source))
    prefix = root / tree.prefix.relative_to(tree.root)
    for path in prefix.parent.glob("*.json"):
        content = path.read_bytes()
        path.unlink()
        path.write_bytes(content)
    return replace(tree, root=root, prefix=prefix)


def config_of(tree: Tree, **settings: Any) -> AnnotateConfig:
    settings = {"size": SIZE, **settings}
    return AnnotateConfig(source=str(tree.root), split="test", hand_model=str(tree.hand_model), **settings)


def read(tree: Tree, max_fit_error: float = 0.02, keep_unfitted: bool = False) -> InterHand:
    return read_interhand(tree.root, "test", "all", str(tree.hand_model), max_fit_error, keep_unfitted)


def all_of(photos: AnnotatedPhotos) -> list[Sample]:
    return photos.samples(range(len(photos)))


def test_masks_lie_where_the_photo_shows_the_hands(tree: Tree, photos: AnnotatedPhotos) -> None:
    for sample in all_of(photos):
        truth, present = tree.truth[sample.provenance["annotation"]], sample.present
        scale = SIZE / sample.provenance["crop_side"]
        steps = (np.arange(SIZE) - (SIZE - 1) / 2) / scale
        column, row = (np.rint(steps + middle).astype(int) for middle in sample.provenance["crop_centre"])
        inside = ((row >= 0) & (row < HEIGHT))[:, None] & (column >= 0) & (column < WIDTH)
        at = np.ix_(row.clip(0, HEIGHT - 1), column.clip(0, WIDTH - 1))
        for side, amodal in enumerate((sample.amodal_right, sample.amodal_left)):
            true = (truth.part[side][at] > 0) & inside & present[side]
            assert (amodal ^ true).sum() <= 0.03 * max(true.sum(), 1)
            assert not (amodal & ~inside).any()
        assert not list(sample_problems(sample))


def test_joints_are_the_annotated_ones_in_our_order_and_the_crops_camera(tree: Tree, photos: AnnotatedPhotos) -> None:
    for sample in all_of(photos):
        true = tree.joints[sample.provenance["annotation"]]
        np.testing.assert_allclose(sample.joints_3d[sample.present], true[sample.present], atol=1e-5)
        assert np.isnan(sample.joints_3d[~sample.present]).all() and np.isnan(sample.pose[~sample.present]).all()
        middle, side = np.array(sample.provenance["crop_centre"]), sample.provenance["crop_side"]
        pixels = true[..., :2] / true[..., 2:] * [1250.0, 1253.0] + [168.4, 254.7]
        wanted = (pixels - middle) * SIZE / side + (SIZE - 1) / 2
        np.testing.assert_allclose(sample.joints_2d[sample.present], wanted[sample.present], atol=1e-2)


def test_fits_in_the_cameras_space_pose_the_hands_where_the_joints_are(tree: Tree, photos: AnnotatedPhotos) -> None:
    import torch

    from aih_gen.hands import load_hand_model

    model = load_hand_model(tree.hand_model, "left", tips="smplx")
    for sample in all_of(photos):
        if sample.present[1]:
            parameters = (torch.from_numpy(array[1:]) for array in (sample.pose, sample.betas, sample.transl))
            np.testing.assert_allclose(model(*parameters).joints[0].numpy(), sample.joints_3d[1], atol=1e-4)


def test_crops_are_of_the_pair_and_of_each_hand(photos: AnnotatedPhotos) -> None:
    kinds = [(sample.provenance["hand_type"], sample.provenance["crop"]) for sample in all_of(photos)]
    interacting = [("interacting", kind) for kind in ("pair", "right", "left")]
    assert kinds == 2 * interacting + 2 * [("right", "pair")] + 2 * [("left", "pair")]
    stories = [sample.provenance for sample in all_of(photos)]
    assert {s["camera"] for s in stories} == {"400262", "400498"} and stories[0]["capture"] == "0"


def test_both_layouts_and_all_branches_are_found(tree: Tree, tmp_path: Path) -> None:
    found = annotation_files(tree.root, "test", "all")
    assert found == str(tree.prefix)
    with pytest.raises(AIHError, match=r"below annotations/human_annot for the branch human"):
        annotation_files(tree.root, "test", "human")
    for branch, folders in (("human", "human_annot/test"), ("machine", "machine_annot"), ("all", "all")):
        place = tmp_path / "annotations" / folders
        place.mkdir(parents=True)
        (place / "InterHand2.6M_test_data.json").write_text("{}")
        assert annotation_files(tmp_path, "test", branch) == f"{place}/InterHand2.6M_test_"  # type: ignore[arg-type]


def test_frames_without_fits_and_fits_off_the_joints_are_left_out_and_listed(copy: Tree) -> None:
    document = read_json(copy.prefix, "MANO_NeuralAnnot")
    right, left = (frame for frame, hands in document["0"].items() if None in hands.values())
    document["0"][right]["right"] = None
    document["0"][left]["left"]["trans"][0] += 0.042
    write_json(copy.prefix, MANO_NeuralAnnot=document)
    found = read(copy)
    assert {reason: len(names) for reason, names in found.report.left_out.items()} == {
        "no fit": 2,
        "fit over 20 mm off": 2,
    }
    assert len(found.annotations) == 2 and not found.report.broken
    assert len(read(copy, max_fit_error=0.05).annotations) == 4
    kept = open_source(config_of(copy, keep_unfitted=True))
    unfitted = kept.samples([2])[0]
    assert len(kept) == 6 and unfitted.present[0] and not unfitted.amodal_right.any()
    assert np.isfinite(unfitted.joints_3d[0]).all() and np.isnan(unfitted.pose).all()


def _break_everything(copy: Tree) -> None:
    data, joints = read_json(copy.prefix, "data"), read_json(copy.prefix, "joint_3d")
    cameras = read_json(copy.prefix, "camera")
    (copy.root / "images" / "test" / data["images"][0]["file_name"]).unlink()
    data["annotations"][1]["bbox"][2] = 0
    data["annotations"][2]["hand_type"] = "foot"
    data["annotations"][3]["joint_valid"] = [[1]] * 41
    frame = str(data["images"][4]["frame_idx"])
    joints["0"][frame]["world_coord"][30] = [float("nan")] * 3
    del cameras["0"]["campos"]["400498"]
    write_json(copy.prefix, data=data, joint_3d=joints, camera=cameras)


def test_every_broken_record_is_counted_with_its_id(copy: Tree) -> None:
    _break_everything(copy)
    report = read(copy).report
    assert report.broken == {
        "box of zero size": ["annotation 101"],
        "unknown hand type": ["annotation 102"],
        "wrong count of joints": ["annotation 103"],
        "joints that are no numbers": ["annotation 104", "annotation 105"],
        "missing image": ["annotation 100"],
    }
    with pytest.raises(AIHError, match=r"expected at most 1.0% broken annotations, found 6 of 6"):
        report.check("tree", 0.01)


def test_an_absent_camera_and_a_cut_photo_are_counted(copy: Tree) -> None:
    cameras, data = read_json(copy.prefix, "camera"), read_json(copy.prefix, "data")
    del cameras["0"]["campos"]["400498"]
    write_json(copy.prefix, camera=cameras)
    photo = copy.root / "images" / "test" / data["images"][0]["file_name"]
    content = photo.read_bytes()
    photo.unlink()
    photo.write_bytes(content[: len(content) // 2])
    found = read(copy)
    assert found.report.broken == {
        "unreadable image": ["annotation 100"],
        "camera absent": ["annotation 101", "annotation 103", "annotation 105"],
    }
    assert len(found.annotations) == 2


def shift_box(data: Any, cameras: Any) -> None:
    data["annotations"][0]["bbox"][:2] = [WIDTH + 5.0, 20.0]


def put_behind(data: Any, cameras: Any) -> None:
    campos = np.array(cameras["campos"][CAMERAS[0]])
    cameras["campos"][CAMERAS[0]] = (-campos).tolist()


def look_elsewhere(data: Any, cameras: Any) -> None:
    cameras["princpt"][CAMERAS[0]] = [5000.0, 254.7]


def in_metres(data: Any, cameras: Any) -> None:
    cameras["campos"][CAMERAS[0]] = (np.array(cameras["campos"][CAMERAS[0]]) / 1000).tolist()


def in_shares(data: Any, cameras: Any) -> None:
    cameras["princpt"][CAMERAS[0]] = [0.5, 0.5]


def short_focal(data: Any, cameras: Any) -> None:
    cameras["focal"][CAMERAS[0]] = [12.5, 12.5]


@pytest.mark.parametrize(
    ("change", "reasons"),
    [
        (shift_box, {"box outside the photo"}),
        (put_behind, {"hands behind the camera"}),
        (look_elsewhere, {"hands outside the photo"}),
        (in_metres, {"hands behind the camera", "hands beside their box", "camera inside a hand"}),
        (in_shares, {"hands beside their box", "hands outside the photo"}),
        (short_focal, {"hands of another size than their box"}),
    ],
)
def test_a_photo_that_shows_none_of_its_hands_is_not_used(copy: Tree, change: Any, reasons: set[str]) -> None:
    data, cameras = read_json(copy.prefix, "data"), read_json(copy.prefix, "camera")
    change(data, cameras["0"])
    write_json(copy.prefix, data=data, camera=cameras)
    report = read(copy).report
    assert report.used == (5 if change is shift_box else 3)
    assert {*report.left_out, *report.broken} <= reasons and report.num_read == 6


def test_a_photo_of_one_colour_is_left_out(copy: Tree) -> None:
    name = read_json(copy.prefix, "data")["images"][0]["file_name"]
    photo = copy.root / "images" / "test" / name
    photo.unlink()
    Image.new("RGB", (WIDTH, HEIGHT)).save(photo)
    assert read(copy).report.left_out == {"image of one colour": ["annotation 100"]}


@pytest.mark.parametrize("box", [[0, 0, 20_000, 20_000], [0, 0, 1e12, 10], [-1e12, 0, 1e12, 10]])
def test_a_box_beyond_measure_is_broken(copy: Tree, tmp_path: Path, box: list[float]) -> None:
    data = read_json(copy.prefix, "data")
    data["annotations"][0]["bbox"] = box
    write_json(copy.prefix, data=data)
    report = annotate(config_of(copy), tmp_path / "out", most_broken=0.2)
    assert report.used == 5 and [*report.broken.values()] == [["annotation 100"]]


@pytest.mark.parametrize("rotation", [np.zeros((3, 3)), np.diag([1.0, 1.0, -1.0]), 2 * np.eye(3)])
def test_a_camera_that_turns_nothing_is_broken(copy: Tree, rotation: Any) -> None:
    cameras = read_json(copy.prefix, "camera")
    cameras["0"]["camrot"][CAMERAS[1]] = rotation.tolist()
    write_json(copy.prefix, camera=cameras)
    assert read(copy).report.broken == {"broken camera": ["annotation 101", "annotation 103", "annotation 105"]}


def test_a_camera_inside_a_hand_and_a_fit_out_of_range_are_broken(copy: Tree) -> None:
    cameras, fits = read_json(copy.prefix, "camera"), read_json(copy.prefix, "MANO_NeuralAnnot")
    frame = str(read_json(copy.prefix, "data")["images"][0]["frame_idx"])
    fits["0"][frame]["right"]["trans"][0] = 1e300
    joints = np.array(read_json(copy.prefix, "joint_3d")["0"])  # the frames by their names
    cameras["0"]["campos"][CAMERAS[1]] = np.mean(joints.item()[frame]["world_coord"], 0).tolist()
    write_json(copy.prefix, camera=cameras, MANO_NeuralAnnot=fits)
    report = read(copy).report
    assert report.broken["broken fit"] == ["annotation 100", "annotation 101"]
    assert report.used == 2 and report.num_read == 6


def test_what_comes_before_a_break_in_a_file_is_used(copy: Tree) -> None:
    path = Path(f"{copy.prefix}data.json")
    text = path.read_text()
    path.write_text(text[: text.index('"id": 103')])
    found = read(copy)
    assert len(found.annotations) == 3 and list(found.report.broken) == ["cut JSON"]
    assert "data.json: expected JSON to the end, found a break" in found.report.broken["cut JSON"][0]


def test_the_command_writes_shards_a_list_and_a_sheet(
    copy: Tree, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = read_json(copy.prefix, "data")
    data["annotations"][0]["bbox"][3] = -1
    write_json(copy.prefix, data=data)
    out = tmp_path / "out"
    command = ["annotate", "--dataset", "interhand26m", "--root", str(copy.root), "--split", "test", "--out", str(out)]
    command += ["--size", "64", "--hand-model", str(copy.hand_model)]
    assert main(command) == 2 and not out.exists()
    assert "found 1 of 6: 1 box of zero size (annotation 100)" in capsys.readouterr().err
    assert main([*command, "--most-broken", "0.2"]) == 0
    assert "6 annotations: 5 used, 1 broken\n  1 box of zero size (annotation 100)" in capsys.readouterr().out
    assert (out / "skipped.tsv").read_text() == "box of zero size\tannotation 100\n" and (out / "preview.jpg").exists()
    assert main(["verify", str(out)]) == 0 and len(AIHShards(out)) == 5
    assert json.loads(AIHShards(out).shards[0].header.config)["branch"] == "all"
    assert main([*command[:-2], "--most-broken", "1"]) == 2
    assert "hand_model: expected the folder of the MANO files" in capsys.readouterr().err


def test_only_single_hands_of_one_branch_are_pasted(tree: Tree, tmp_path: Path) -> None:
    for branch in ("human_annot", "machine_annot"):
        shutil.copytree(tree.prefix.parent, tmp_path / "data" / "annotations" / branch / "test")
    (tmp_path / "data" / "images").symlink_to(tree.root / "images")
    command = ["annotate", "--dataset", "interhand26m", "--root", str(tmp_path / "data"), "--split", "test"]
    command += ["--hand-model", str(tree.hand_model), "--size", "128"]
    for branch in ("human", "machine"):
        assert main([*command, "--branch", branch, "--out", str(tmp_path / branch)]) == 0
    source = open_source(SynConfig(source=str(tmp_path / "human"), size=SIZE, smallest_hand=0.01, longest_cut=1))
    used = [crop.origin["position"] for index in range(6) for crop in source.arrangement(index)[0]]
    assert used and min(used) >= 2  # positions 0 and 1 show two hands
    assert main(["merge", str(tmp_path / "human"), str(tmp_path / "machine"), "--out", str(tmp_path / "both")]) == 0
    with pytest.raises(AIHError, match="expected photos of one branch, found"):
        open_source(SynConfig(source=str(tmp_path / "both"), size=SIZE))


def test_their_joints_run_from_tip_to_base_and_end_with_the_wrist() -> None:
    theirs = dict(zip(JOINT_NAMES, FROM_INTERHAND.tolist(), strict=True))
    fingers = ("thumb", "index", "middle", "ring", "little")
    assert [theirs[f"{finger}4"] for finger in fingers] == [0, 4, 8, 12, 16]
    assert [theirs[f"{finger}1"] for finger in fingers] == [3, 7, 11, 15, 19] and theirs["wrist"] == 20


@pytest.fixture(scope="module")
def shards(tree: Tree, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("annotated") / "shards"
    command = [
        "annotate",
        "--dataset",
        "interhand26m",
        "--root",
        str(tree.root),
        "--split",
        "test",
        "--size",
        str(SIZE),
    ]
    assert main([*command, "--hand-model", str(tree.hand_model), "--out", str(out)]) == 0
    return out


@pytest.fixture(scope="module")
def drawn(tree: Tree, shards: Path) -> list[Sample]:
    """Both photos of the pair as AIH_Render draws them in the frames' own places, at half the size."""
    recorded: dict[str, Any] = {
        "poses": str(shards),
        "hands": TWO_HANDS,
        "cameras": "recorded",
        "backgrounds": "recorded",
    }
    config = RenderConfig(hand_model=str(tree.hand_model), look="plain", contact=False, size=SIZE // 2, **recorded)
    return open_source(config).samples([0, 1])


def halved(mask: Mask) -> Mask:
    return np.asarray(mask.reshape(SIZE // 2, 2, SIZE // 2, 2).mean((1, 3)) >= 0.5)


def test_recorded_hands_are_drawn_where_their_photo_shows_them(shards: Path, drawn: list[Sample]) -> None:
    for photo, sample in zip(AIHShards(shards)[:2], drawn, strict=True):
        assert photo.present.all()
        shown = halved(photo.image.any(-1))
        for name in ("amodal_right", "amodal_left", "visible_right"):
            one, other = halved(getattr(photo, name)) & shown, getattr(sample, name) & shown
            assert (one & other).sum() > 0.93 * (one | other).sum() > 0, name
        tips = [4, 8, 12, 16, 20]  # other vertices stand for them in InterHand2.6M
        theirs, ours = (np.delete(joints + 0.5, tips, 1) for joints in (photo.joints_2d, sample.joints_2d))
        np.testing.assert_allclose(ours, theirs / 2, atol=0.02)


def test_recorded_backgrounds_are_the_photos_without_their_hands(shards: Path, drawn: list[Sample]) -> None:
    for photo, sample in zip(AIHShards(shards)[:2], drawn, strict=True):
        small = np.asarray(Image.fromarray(photo.image).reduce(2)).astype(int)
        gone = sample.amodal_left & ~sample.amodal_right & small.any(-1)
        red, _, blue = sample.target_right[gone].astype(int).T
        assert gone.sum() > 100 and np.abs(red - blue).max() < 8 and red.min() > 15 and red.max() < 75, "a grey studio"
        assert (np.ptp(small[gone], axis=1) > 8).mean() > 0.8, "where the photo has skin"
        around = to_fill(photo.image, photo.amodal_right | photo.amodal_left, photo.joints_2d)
        kept = ~around.reshape(SIZE // 2, 2, SIZE // 2, 2).any((1, 3))
        kept &= ~(sample.amodal_right | sample.amodal_left)
        assert kept.mean() > 0.2 and np.abs(sample.image.astype(int) - small)[kept].max() <= 2


def test_recorded_cameras_need_shards_with_cameras(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    zeros = {name: np.zeros((1, 2, width)) for name, width in (("pose", 48), ("betas", 10), ("transl", 3))}
    np.savez(tmp_path / "fits.npz", **zeros)  # type: ignore[arg-type]
    render = ["render", "--out", str(tmp_path / "out"), "--count", "1"]
    for poses in ("sampled", str(tmp_path / "fits.npz")):
        for setting in ("cameras", "backgrounds"):
            assert main([*render, "--poses", poses, f"--{setting}", "recorded"]) == 2
            said = capsys.readouterr().err
            wanted = f"{setting}: expected poses from shards of aih-gen annotate, found {poses}"
            assert said == f"aih-gen: error: {wanted}\n"
    assert not (tmp_path / "out").exists()
