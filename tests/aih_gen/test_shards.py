"""A shard holds what was written, to the bit; anything else says so."""

from __future__ import annotations

import dataclasses
import functools
import json
import multiprocessing
import pickle
import resource
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any

import h5py
import hdf5plugin
import numpy as np
import pytest
from numpy.typing import NDArray

from aih_gen.compose.sample import MASK_BITS, Sample, Stored
from aih_gen.errors import ShardError, WriteError
from aih_gen.shards.inspect import inspect_shard
from aih_gen.shards.manifest import Manifest, describe_file, read_manifest, write_manifest
from aih_gen.shards.reader import AIHShards, max_open_files
from aih_gen.shards.schema import columns
from aih_gen.shards.verify import verify
from aih_gen.shards.writer import write_shard
from tests.data.samples import make_header, make_sample, write_samples

COUNT = 7


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two shards of AIH_Render, samples 0-6 and again 0-2."""
    folder = tmp_path_factory.mktemp("shards")
    write_samples(folder / "aih_render-00000.h5", COUNT)
    write_samples(folder / "aih_render-00001.h5", 3)
    return folder


def assert_same(one: Sample, other: Sample) -> None:
    for field in dataclasses.fields(Sample):
        expected, found = getattr(one, field.name), getattr(other, field.name)
        if isinstance(expected, np.ndarray):
            assert expected.dtype == found.dtype, field.name
            np.testing.assert_array_equal(expected, found, err_msg=field.name)
        else:
            assert expected == found, field.name


@pytest.mark.parametrize("codec", ["zstd", "gzip"])
def test_what_is_written_is_read(tmp_path: Path, codec: str) -> None:
    path = tmp_path / "aih_render-00000.h5"
    samples = [make_sample(index) for index in range(4)]
    unknown = np.full((2, 48), np.nan, np.float32)
    samples[1] = dataclasses.replace(samples[1], pose=unknown, provenance={"é": [1.5, None, {"a": "b"}]})
    write_shard(path, [samples[:3], samples[3:]], 4, make_header(), codec, depth=True)  # type: ignore[arg-type]
    shards = AIHShards(path)
    assert len(shards) == 4
    for written, found in zip(samples, shards, strict=True):
        assert_same(written, found)
    assert inspect_shard(path).codec == codec


def test_a_sample_says_in_a_line_what_it_shows() -> None:
    sample = dataclasses.replace(make_sample(4), occlusion=np.array([0.25, 0], np.float32))
    assert repr(sample) == "Sample(index=4, 64x64 px: right hand, 25% hidden; left hand, 0% hidden)"
    unknown = dataclasses.replace(make_sample(4, hands=(1,)), occlusion=np.full(2, np.nan, np.float32))
    assert repr(unknown) == "Sample(index=4, 64x64 px: left hand)"
    assert repr(make_sample(4, hands=())) == "Sample(index=4, 64x64 px: no hand)"


@dataclasses.dataclass(frozen=True, eq=False)
class WiderSample(Sample):
    """A sample with a field that was added later."""

    grip: Annotated[NDArray[np.float32], Stored("<f4", (2,))] = dataclasses.field(
        default_factory=lambda: np.full(2, np.nan, np.float32)
    )


def test_a_shard_from_before_a_field_was_added_reads_as_unknown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, new = tmp_path / "aih_render-00000.h5", tmp_path / "aih_render-00001.h5"
    write_shard(old, [[make_sample(0), make_sample(1)]], 2, make_header())
    monkeypatch.setattr("aih_gen.shards.schema.Sample", WiderSample)
    monkeypatch.setattr("aih_gen.shards.reader.Sample", WiderSample)
    columns.cache_clear()
    try:
        wider = WiderSample(**vars(make_sample(2)), grip=np.array([0.25, 1], np.float32))
        write_shard(new, [[wider]], 1, make_header())
        shards = AIHShards([old, new])
        grips = [[np.nan, np.nan], [np.nan, np.nan], [0.25, 1]]
        np.testing.assert_array_equal([sample.grip for sample in shards], grips)  # type: ignore[attr-defined]
        np.testing.assert_array_equal(shards.read([2, 0], ("grip",))["grip"], [grips[2], grips[0]])
        np.testing.assert_array_equal(shards.column("grip"), grips)
        assert [problem for path in (old, new) for found in verify(path) for problem in found] == []
    finally:
        columns.cache_clear()


def test_a_shard_is_what_the_schema_says_to_plain_h5py(folder: Path) -> None:
    sample = make_sample(2)
    with h5py.File(folder / "aih_render-00000.h5") as file:
        attributes = dict(file.attrs)
        assert (attributes["format"], attributes["schema_version"], attributes["subset"]) == (b"AIH", 1, b"AIH_Render")
        assert set(attributes) == {
            "format", "schema_version", "subset", "config", "config_sha256", "seed", "hand_model", "generator_version",
        }  # fmt: skip
        assert file["rgb"].shape == (COUNT, 3, 64, 64, 3) and file["rgb"].chunks == (1, 3, 64, 64, 3)
        assert all(dataset.fletcher32 for dataset in file.values())
        assert all(dataset.chunks[0] == 1 for name, dataset in file.items() if not name.startswith("provenance"))
        np.testing.assert_array_equal(file["rgb"][2], [sample.image, sample.target_right, sample.target_left])
        for bit, name in enumerate(MASK_BITS):
            np.testing.assert_array_equal((file["masks"][2] >> bit) & 1, getattr(sample, name), err_msg=name)
        start, stop = file["provenance_offsets"][2:4]
        assert (
            file["provenance"][start:stop].tobytes() == b'{"drawn":"ellipses","front":%d}' % sample.provenance["front"]
        )


def test_equal_samples_make_equal_bytes(tmp_path: Path) -> None:
    write_samples(tmp_path / "a.h5", 3)
    time.sleep(1.1)  # a time stamp, were there one, would differ
    write_samples(tmp_path / "b.h5", 3)
    assert (tmp_path / "a.h5").read_bytes() == (tmp_path / "b.h5").read_bytes()


def test_arrays_come_in_the_order_asked_for(folder: Path) -> None:
    shards = AIHShards(folder)
    order = [8, 2, np.int64(2), -1, 0]
    fields = ("rgb", "image", "target_left", "masks", "visible_right", "joints_3d", "present", "index", "provenance")
    read = shards.read(order, fields)  # type: ignore[arg-type]
    assert set(read) == set(fields)
    samples = [make_sample(index) for index in (1, 2, 2, 2, 0)]
    for name in ("image", "target_left", "visible_right", "joints_3d", "present", "index", "provenance"):
        np.testing.assert_array_equal(read[name], np.array([getattr(s, name) for s in samples]), err_msg=name)
    np.testing.assert_array_equal(read["rgb"][:, 0], read["image"])
    np.testing.assert_array_equal((read["masks"] & MASK_BITS["visible_right"]) != 0, read["visible_right"])
    assert shards.read([], ("image",))["image"].shape == (0, 64, 64, 3)


def test_a_column_is_a_dataset_of_all_samples(folder: Path, tmp_path: Path) -> None:
    shards = AIHShards([shutil.copy(folder / "aih_render-00001.h5", tmp_path), folder])
    for name in ("index", "present", "joints_3d", "camera"):
        np.testing.assert_array_equal(shards.column(name), shards.read(range(len(shards)), (name,))[name])
    with pytest.raises(ShardError, match=r"expected a dataset among .*, found 'provenance'"):
        shards.column("provenance")


@pytest.mark.parametrize("again", ["file", "folder", "symlink", "hard link", "link of the folder"])
def test_a_shard_is_taken_once(again: str, tmp_path: Path) -> None:
    file = tmp_path / "shards" / "a.h5"
    write_samples(file, 2)
    (tmp_path / "symlink.h5").symlink_to(file)
    (tmp_path / "hard.h5").hardlink_to(file)
    (tmp_path / "link").symlink_to("shards")
    names = {"file": file, "folder": file.parent, "symlink": tmp_path / "symlink.h5", "hard link": tmp_path / "hard.h5"}
    with pytest.raises(ShardError, match=r"expected each shard once, found .* before it, which is the same file"):
        AIHShards([file, names.get(again, tmp_path / "link")])


def test_shards_are_a_sequence(folder: Path, tmp_path: Path) -> None:
    shards = AIHShards([shutil.copy(folder / "aih_render-00001.h5", tmp_path), folder])
    assert len(shards) == 3 + COUNT + 3
    assert [sample.index for sample in shards[1:5]] == [1, 2, 0, 1]
    assert shards[-1].index == 2
    for position in (len(shards), -len(shards) - 1):
        with pytest.raises(IndexError):
            shards[position]
    with pytest.raises(TypeError):
        shards["3"]  # type: ignore[call-overload]


def _first_pixel(shards: AIHShards, position: int) -> list[int]:
    return shards[position].image[0, 0].tolist()


def in_a_fresh_process(check: Callable[[Path], None], folder: Path) -> None:
    """Forks are tested there: a process that has threads, as that of the tests has, may hang in a fork."""
    process = multiprocessing.get_context("spawn").Process(target=check, args=(folder,))
    process.start()
    process.join(120)
    process.kill()
    assert process.exitcode == 0


def check_crossing(method: str, folder: Path) -> None:
    shards = AIHShards(folder)
    expected = [_first_pixel(shards, k) for k in range(len(shards))]  # now files are open here
    with multiprocessing.get_context(method).Pool(2) as pool:
        found = pool.starmap(_first_pixel, [(shards, k) for k in range(len(shards))])
    assert found == expected


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_an_open_data_set_crosses_into_other_processes(folder: Path, method: str) -> None:
    in_a_fresh_process(functools.partial(check_crossing, method), folder)
    shards = AIHShards(folder)
    assert_same(pickle.loads(pickle.dumps(shards))[1], shards[1])  # noqa: S301


def _inherited(queue: multiprocessing.Queue[tuple[list[int], bool]]) -> None:
    parents = INHERITED[0]._open[0].file
    queue.put((_first_pixel(INHERITED[0], 4), bool(parents)))


INHERITED: list[AIHShards] = []


def check_inheriting(folder: Path) -> None:
    INHERITED[:] = [AIHShards(folder)]
    expected = _first_pixel(INHERITED[0], 4)
    parents = INHERITED[0]._open[0].file.id.get_vfd_handle()
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    child = context.Process(target=_inherited, args=(queue,))
    child.start()
    pixel, still_uses_the_parents_file = queue.get(timeout=30)
    child.join()
    assert pixel == expected and not still_uses_the_parents_file
    assert INHERITED.pop()._open[0].file.id.get_vfd_handle() == parents


def test_a_forked_process_opens_its_own_files(folder: Path) -> None:
    in_a_fresh_process(check_inheriting, folder)


def test_more_shards_than_may_be_open(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aih_gen.shards.reader.MAX_OPEN_FILES", 1)
    shards = AIHShards(folder)
    assert [sample.index for sample in shards] == [*range(COUNT), *range(3)]
    assert len(shards._open) == 1


@pytest.fixture
def listed(tmp_path: Path) -> Path:
    """Two shards of three samples with a manifest."""
    entries = []
    for number in range(2):
        path = tmp_path / f"aih_render-{number:05d}.h5"
        write_samples(path, 3)
        entries.append(describe_file(path, path.name, 3))
    header = make_header()
    manifest = Manifest(json.loads(header.config), header.config_sha256, 3, "zstd", False, tuple(entries))
    write_manifest(tmp_path, manifest)
    return tmp_path


def test_some_shard_may_always_be_open_whatever_the_process_may_open() -> None:
    assert [max_open_files(limit) for limit in (3, 40, 1024, 10**6, resource.RLIM_INFINITY)] == [1, 10, 256, 256, 256]


def test_a_manifest_tells_the_lengths_and_every_shard_is_checked_before_it_is_believed(listed: Path) -> None:
    second = listed / "aih_render-00001.h5"
    second.write_bytes(bytes(second.stat().st_size))
    shards = AIHShards(listed)
    assert len(shards) == 6 and shards[2].index == 2
    for _ in range(2):
        with pytest.raises(ShardError, match=r"00001\.h5: expected an HDF5 file"):
            shards.read([3], ("index",))


def test_a_shard_of_another_size_than_its_manifest_lists_is_looked_at_at_once(listed: Path) -> None:
    second = listed / "aih_render-00001.h5"
    second.write_bytes(second.read_bytes()[:-1])
    with pytest.raises(ShardError, match=r"00001\.h5: expected an HDF5 file"):
        AIHShards(listed)
    write_samples(second, 5)
    assert len(AIHShards(listed)) == 8


@pytest.mark.parametrize(
    ("change", "found"),
    [
        ({"samples": 4}, r"00001\.h5: expected 4 samples as in manifest\.json, found 3"),
        ({"config_sha256": "0" * 64}, r"00000\.h5: expected the configuration 0{64} as in manifest\.json, found "),
    ],
)
def test_a_manifest_that_lies_is_found_out_before_a_sample_is_read(
    listed: Path, change: dict[str, Any], found: str
) -> None:
    manifest = read_manifest(listed)
    assert manifest is not None
    if "samples" in change:
        first, second = manifest.shards
        write_manifest(listed, dataclasses.replace(manifest, shards=(first, dataclasses.replace(second, **change))))
    else:
        write_manifest(listed, dataclasses.replace(manifest, **change))
    for _ in range(2):
        with pytest.raises(ShardError, match=found):
            AIHShards(listed)[4]


def _replace(file: h5py.File, name: str, **options: object) -> None:
    data = file[name][:]
    del file[name]
    file.create_dataset(name, data=data, **{"chunks": (1, *data.shape[1:]), "fletcher32": True, **options})


def _external_link(file: h5py.File) -> None:
    del file["pose"]
    file["pose"] = h5py.ExternalLink("elsewhere.h5", "pose")


def _soft_link(file: h5py.File) -> None:
    del file["betas"]
    file["betas"] = h5py.SoftLink("/pose")


def _virtual(file: h5py.File) -> None:
    layout = h5py.VirtualLayout(shape=file["camera"].shape, dtype="<f4")
    layout[:] = h5py.VirtualSource("elsewhere.h5", "camera", shape=file["camera"].shape)
    del file["camera"]
    file.create_virtual_dataset("camera", layout)


def _external_storage(file: h5py.File) -> None:
    shape = file["transl"].shape
    del file["transl"]
    file.create_dataset("transl", shape, "<f4", external=[("/etc/hostname", 0, h5py.h5f.UNLIMITED)])


def _objects(file: h5py.File) -> None:
    del file["index"]
    file.create_dataset("index", (COUNT,), h5py.string_dtype(), chunks=(1,))


def _huge(file: h5py.File) -> None:
    del file["masks"]
    file.create_dataset("masks", (COUNT, 1 << 20, 1 << 20), "u1", chunks=(1, 1 << 10, 1 << 10), fletcher32=True)


def _unknown_field(file: h5py.File) -> None:
    file["secrets"] = np.zeros(3)


def _attribute(name: str, value: object) -> Callable[[h5py.File], None]:
    """Text as the writer stores it."""
    stored = np.bytes_(value) if isinstance(value, str) else value
    return lambda file: file.attrs.create(name, stored)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (_attribute("format", "COCO"), "attribute format: expected 'AIH', found 'COCO'"),
        (
            # Such text lies in HDF5's global heap: no checksum, and damage there can keep HDF5 busy for ever.
            lambda file: file.attrs.create("format", "AIH"),
            "attribute format: expected str of a fixed length, found one of variable length",
        ),
        (_attribute("schema_version", 2), "attribute schema_version: expected 1, found 2"),
        (_attribute("config", "{}"), "attribute config_sha256: expected 44136fa355b3"),
        (_attribute("subset", "AIH_Syn"), "attribute subset: expected 'AIH_Render' as in config, found 'AIH_Syn'"),
        (lambda file: file.__delitem__("joints_2d"), "joints_2d: expected a dataset, found none"),
        (lambda file: _replace(file, "joints_3d", dtype="f8"), "joints_3d: expected type float32, found float64"),
        (
            lambda file: _replace(file, "masks", chunks=(2, 64, 64)),
            "masks: expected chunks of (1, 64, 64), found (2, 64, 64)",
        ),
        (lambda file: _replace(file, "rgb", fletcher32=False), "rgb: expected one of the filters (32015, 1), then 3"),
        (
            lambda file: _replace(file, "rgb", **hdf5plugin.Blosc()),
            "rgb: expected one of the filters (32015, 1), then 3",
        ),
        (_external_link, "pose: expected a dataset, found a ExternalLink"),
        (_soft_link, "betas: expected a dataset, found a SoftLink"),
        (_virtual, "camera: expected chunks in this file"),
        (_external_storage, "transl: expected chunks in this file"),
        (_objects, "index: expected type int64, found object"),
        (_huge, "masks: expected 1 to 10000000 samples of sides up to 4096"),
        (_unknown_field, "secrets: expected only datasets of schema 1, found another"),
    ],
)
def test_what_is_not_a_shard_is_refused_by_name(
    tmp_path: Path, change: Callable[[h5py.File], None], sentence: str
) -> None:
    path = tmp_path / "aih_render-00000.h5"
    write_samples(path, COUNT)
    with h5py.File(path, "r+") as file:
        change(file)
    with pytest.raises(ShardError) as caught:
        AIHShards(path)
    said = str(caught.value)
    assert said.startswith(f"{path}") and sentence in said
    assert "\n" not in str(caught.value)


def test_missing_empty_and_foreign_paths_are_named(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "text.h5").write_text("not a shard")
    write_samples(tmp_path / "large.h5", 1, size=96)
    write_samples(tmp_path / "small.h5", 1)
    whole = (tmp_path / "small.h5").read_bytes()
    (tmp_path / "half.h5").write_bytes(whole[: len(whole) // 2])
    for paths, sentence in (
        ([], "empty list"),
        ("missing", "missing: expected a shard or a folder of shards, found nothing"),
        ("empty", "empty: expected a folder with shards"),
        ("text.h5", "text.h5: expected an HDF5 file"),
        ("half.h5", "half.h5: expected an HDF5 file"),
        (["small.h5", "large.h5"], "large.h5: expected images of 64x64"),
    ):
        with pytest.raises(ShardError, match=sentence):
            AIHShards(tmp_path / paths if isinstance(paths, str) else [tmp_path / path for path in paths])
    with pytest.raises(ShardError, match="expected a field among"):
        AIHShards(tmp_path / "small.h5").read([0], ("colour",))
    with pytest.raises(ShardError, match="depth: expected a dataset, found none"):
        AIHShards(tmp_path / "small.h5").read([0], ("depth",))


def test_a_shard_is_absent_or_whole(tmp_path: Path) -> None:
    def failing() -> Iterator[list[Sample]]:
        yield [make_sample(0)]
        raise KeyboardInterrupt

    path = tmp_path / "aih_render-00000.h5"
    with pytest.raises(KeyboardInterrupt):
        write_shard(path, failing(), 2, make_header())
    with pytest.raises(ValueError, match="expected 2 samples, found 1"):
        write_shard(path, [[make_sample(0)]], 2, make_header())
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(WriteError, match=r"nowhere/a\.h5: expected a file that can be written to"):
        write_shard(tmp_path / "nowhere" / "a.h5", [[make_sample(0)]], 1, make_header())


def test_a_sample_of_another_shape_or_type_is_not_written(tmp_path: Path) -> None:
    sample = make_sample(5)
    for wrong in ({"pose": sample.pose[:1]}, {"joints_3d": sample.joints_3d.astype(np.float64)}):
        (name,) = wrong
        with pytest.raises(ValueError, match=f"sample 5, {name}: expected float32"):
            write_shard(tmp_path / "a.h5", [[dataclasses.replace(sample, **wrong)]], 1, make_header())


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("[", "expected JSON"),
        ("[]", "expected an object"),
        ('{"format": "AIH", "schema_version": 9}', "schema_version: expected 1, found 9"),
        ('{"format": "AIH", "schema_version": 1}', "shards: expected a list"),
        ('{"format": "AIH", "schema_version": 1, "shards": [{"name": 3}]}', "name: expected str, found 3"),
        (
            '{"format": "AIH", "schema_version": 1, "shards": '
            '[{"name": "../a-00000.h5", "samples": 1, "bytes": 1, "sha256": ""}]}',
            "expected shard names such as",
        ),
    ],
)
def test_a_manifest_that_is_none_is_refused(tmp_path: Path, text: str, sentence: str) -> None:
    (tmp_path / "manifest.json").write_text(text)
    with pytest.raises(ShardError, match=sentence):
        read_manifest(tmp_path)
