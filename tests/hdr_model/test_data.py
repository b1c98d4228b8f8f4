from __future__ import annotations

import hashlib
import threading
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from aih_gen.config import canonical_json
from aih_gen.errors import AIHError, ShardError
from aih_gen.shards.writer import write_shard
from hdr_model import AIHDataset
from hdr_model.config import training_preset
from hdr_model.data.aih import _read, batches
from hdr_model.data.batch import Batch, stack
from hdr_model.data.order import SampleOrder
from hdr_model.data.photometric import Photometric, add_blur_and_noise, change_colours
from hdr_model.data.rng import SampleRng
from hdr_model.data.targets import pose_targets
from hdr_model.masks import HandMasks
from hdr_model.painting import hdrm_input
from tests.data.samples import make_header, make_sample, write_samples

REFERENCE = Path(__file__).parents[3] / "shared/reference/hdrm_case.npz"
STRONG = Photometric(0.5, 0.5, 0.5, 0.3, 0.5, noise=0.1, blur=0.5)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    write_samples(tmp_path / "data/aih-00000.h5", 5)
    return tmp_path / "data"


def test_a_sample_is_a_row_of_a_batch_and_holds_the_bytes_of_the_shard(data: Path) -> None:
    dataset = AIHDataset(data, ("rgb", "masks", "joints_3d", "index"))
    batch = dataset[[3, 1]]
    assert batch["index"].tolist() == [3, 1]
    assert torch.equal(dataset[3]["rgb"], batch["rgb"][0])
    np.testing.assert_array_equal(batch["rgb"][0, 0].numpy(), make_sample(3).image)
    np.testing.assert_array_equal(batch["joints_3d"][1].numpy(), make_sample(1).joints_3d)


def test_torch_loaders_take_it_as_it_is(data: Path) -> None:
    (batch,) = DataLoader(AIHDataset(data, ("rgb", "index")), batch_size=5)
    assert batch["rgb"].shape == (5, 3, 64, 64, 3) and batch["index"].tolist() == [0, 1, 2, 3, 4]


def test_a_missing_folder_is_told(tmp_path: Path) -> None:
    with pytest.raises(ShardError, match="nowhere"):
        AIHDataset(tmp_path / "nowhere")


def test_a_target_is_valid_where_it_shows_one_hand_whatever_the_data_are_called(tmp_path: Path) -> None:
    both, right = make_sample(0), make_sample(1, hands=(0,))
    pasted = replace(both, target_left=both.image)
    photo = replace(pasted, target_right=both.image)
    samples = [both, pasted, photo, right, make_sample(2, hands=())]
    expected = [[True, True], [True, False], [False, False], [True, False], [False, False]]
    assert stack(samples, ("target_valid",))["target_valid"].tolist() == expected
    for subset in ("AIH_Render", "AIH_Syn", "Another"):
        config = canonical_json({"subset": subset})
        digest = hashlib.sha256(config.encode()).hexdigest()
        header = replace(make_header(), subset=subset, config=config, config_sha256=digest)
        path = tmp_path / subset / "aih-00000.h5"
        path.parent.mkdir()
        write_shard(path, [samples], len(samples), header)
        for name in ("target_valid", "alone"):  # its name of earlier versions
            batch = AIHDataset(path, (name,))[[0, 1, 2, 3, 4]]
            assert batch.keys() == {name} and batch[name].tolist() == expected, subset


def test_stacked_samples_are_those_of_shards_to_the_bit(data: Path) -> None:
    fields = ("rgb", "masks", "joints_2d", "joints_3d", "pose", "present", "occlusion", "target_valid", "index")
    stacked, read = stack([make_sample(3), make_sample(1)], fields), AIHDataset(data, fields)[[3, 1]]
    assert list(stacked) == list(read)
    for name in fields:
        assert torch.equal(stacked[name], read[name]), name
        assert stacked[name].dtype == read[name].dtype, name


def test_every_sample_comes_once_an_epoch_in_an_order_of_its_own() -> None:
    places = [k for batch in SampleOrder(10, 4, seed=3, start=0, steps=5) for k in batch]
    assert sorted(places[:10]) == sorted(places[10:]) == list(range(10))
    assert places[:10] != places[10:]
    other_seed = [k for batch in SampleOrder(10, 4, seed=4, start=0, steps=5) for k in batch]
    assert other_seed != places


def test_the_order_depends_on_the_step_alone() -> None:
    whole = list(SampleOrder(7, 3, seed=0, start=0, steps=9))
    assert list(SampleOrder(7, 3, seed=0, start=5, steps=9)) == whole[5:]


def test_processes_share_the_samples_of_a_step() -> None:
    alone = list(SampleOrder(20, 4, seed=0, start=0, steps=4))
    ranks = [list(SampleOrder(20, 2, seed=0, start=0, steps=4, rank=rank, world=2)) for rank in (0, 1)]
    assert [first + second for first, second in zip(*ranks, strict=True)] == alone


def test_reading_processes_change_nothing(data: Path) -> None:
    dataset = AIHDataset(data, ("rgb", "index"))
    config = replace(training_preset("hasm", "nano"), batch_size=2, steps=4)
    here, there = (list(batches(dataset, config, workers=workers)) for workers in (0, 2))
    for one, other in zip(here, there, strict=True):
        assert torch.equal(one["index"], other["index"]) and torch.equal(one["rgb"], other["rgb"])


LOCK = threading.Lock()


class Locked(AIHDataset):
    """Batches that tell whether ``LOCK`` was free where they were read."""

    def __getitem__(self, index: int | Sequence[int]) -> Batch:
        free = LOCK.acquire(timeout=0.1)
        if free:
            LOCK.release()
        return {"free": torch.tensor(free)}


def test_reading_processes_do_not_inherit_what_threads_of_this_one_hold(data: Path) -> None:
    config = replace(training_preset("hasm", "nano"), batch_size=2, steps=2)
    with LOCK:
        read = list(batches(Locked(data), config, workers=1))
    assert all(batch["free"] for batch in read)


@pytest.mark.skipif(not REFERENCE.exists(), reason=f"needs licensed files: {REFERENCE}")
def test_hdrm_sees_what_the_reference_implementation_shows_it() -> None:
    case = np.load(REFERENCE)
    amodal, visible, other = (
        torch.from_numpy(case[name])[None, None] for name in ("right_amodal", "right_visible", "left_visible")
    )
    image = torch.from_numpy(case["image"])
    x, validity = hdrm_input(image, HandMasks(amodal, visible, other, torch.zeros_like(other)))
    torch.testing.assert_close(validity, torch.from_numpy(case["net_mask"]))
    torch.testing.assert_close(x, torch.from_numpy(case["net_input"]))


def test_an_arm_of_the_other_hand_is_removed_and_is_no_background() -> None:
    nothing, arm = torch.zeros(1, 1, 2, 2, dtype=torch.bool), torch.tensor([[[[True, False], [False, False]]]])
    x, validity = hdrm_input(torch.ones(1, 3, 2, 2), HandMasks(nothing, nothing, nothing, arm))
    assert validity[0, :4].all() and not validity[0, 4:, 0, 0].any()
    assert x[0, 4:, 0, 0].tolist() == [0, 0, 0, 0] and x[0, 4:, 1, 1].tolist() == [1, 1, 1, 1]


def test_pose_targets_are_in_bone_units_and_peak_at_the_joint() -> None:
    joints_2d = torch.rand(1, 21, 2) * 200 + 20
    joints_2d[0, 4] = torch.tensor([300.0, 50.0])  # outside the crop
    joints_2d[0, 7] = torch.tensor([101.5, 53.5])  # the middle of cell (13, 25)
    joints_3d = torch.randn(1, 21, 3)
    joints_3d[0, 20] = torch.nan
    targets = pose_targets(joints_2d, joints_3d, size=256, map_size=64)
    assert targets.valid[0].nonzero().ravel().tolist() == [k for k in range(21) if k not in (4, 20)]
    peak = targets.heatmap[0, 7].flatten().argmax()
    assert divmod(int(peak), 64) == (13, 25)
    assert targets.heatmap[0, 7, 13, 27] == pytest.approx(np.exp(-0.5 * (2 / 2.5) ** 2))
    assert targets.heatmap[0, 4].max() == 0
    assert targets.location[0, 0].tolist() == targets.delta[0, 0].tolist() == [0, 0, 0]
    assert targets.location[0, 9].norm() == pytest.approx(1)
    torch.testing.assert_close(targets.delta[0, 6], targets.location[0, 6] - targets.location[0, 5])
    assert all(t.isfinite().all() for t in (targets.heatmap, targets.delta, targets.location))


def test_colours_change_but_equal_pixels_stay_equal() -> None:
    torch.manual_seed(0)
    image = torch.rand(6, 3, 8, 8)
    target = image.clone()
    target[:, :, :3] = torch.rand(6, 3, 3, 8)
    changed = change_colours(torch.cat([image, target], 1), STRONG, SampleRng(0, 0, 0, 6))
    assert torch.equal(changed[:, :3, 3:], changed[:, 3:, 3:])
    assert (changed[:, :3] - image).abs().mean() > 0.02
    for result in (changed, add_blur_and_noise(image, STRONG, SampleRng(0, 0, 0, 6))):
        assert result.min() >= 0 and result.max() <= 1


@pytest.mark.parametrize("error", [RuntimeError, ConnectionResetError, EOFError, FileNotFoundError])
def test_whatever_a_killed_reader_leaves_is_the_same_sentence(
    error: type[Exception], data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Torch notices the end of the process, or the connection to it breaks while its arrays are taken."""

    class Broken:
        def __init__(self, *_: Any, **__: Any) -> None:
            pass

        def __iter__(self) -> Any:
            return self

        def __next__(self) -> Any:
            raise error

    monkeypatch.setattr("hdr_model.data.aih.DataLoader", Broken)
    read = _read(AIHDataset(data), iter([[0]]), workers=1)
    assert next(read) == {}
    with pytest.raises(AIHError, match="found one that was killed"):
        next(read)
