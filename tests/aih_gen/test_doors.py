"""Files from outside: what is too large, too deep or of another kind is refused before it is unpacked."""

from __future__ import annotations

import io
import json
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from aih_gen.cli import main
from aih_gen.errors import AIHError, AssetError
from aih_gen.io.archives import read_npz
from aih_gen.io.images import MAX_SCANS, image_fault, read_image
from aih_gen.io.json import MAX_DEPTH, Nesting, parse_json, read_json
from aih_gen.io.json_stream import JSONStream
from aih_gen.scenes.backgrounds import BackgroundLibrary
from aih_gen.sources.fits import read_fits


def progressive(scans: int) -> bytes:
    """A JPEG whose last scan is repeated."""
    stream = io.BytesIO()
    noise = np.random.default_rng(0).integers(0, 255, (128, 128, 3), np.uint8)
    Image.fromarray(noise).save(stream, "JPEG", progressive=True, quality=30)
    whole = stream.getvalue()
    last = whole.rindex(b"\xff\xda")
    return whole[:-2] + whole[last:-2] * scans + whole[-2:]


@pytest.mark.parametrize("name", ["scans.jpg", "large.png", "program.jpg", "noise.webp"])
def test_an_image_that_is_none_or_a_bomb_is_refused_at_once(tmp_path: Path, name: str) -> None:
    (tmp_path / "scans.jpg").write_bytes(progressive(3000))
    Image.new("1", (10_000, 10_000)).save(tmp_path / "large.png")
    (tmp_path / "program.jpg").write_bytes(
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 99 99\n%%EndComments\n{} loop\n"
    )
    (tmp_path / "noise.webp").write_bytes(b"RIFF\xff\xff\xff\xffWEBPVP8 ")
    started = time.perf_counter()
    with pytest.raises(AssetError, match=r"scans|million pixels|expected an image"):
        read_image(tmp_path / name, "RGB")
    with pytest.raises(AssetError, match=name):
        BackgroundLibrary(tmp_path).photo(name)
    assert image_fault(tmp_path / name) == "unreadable image"
    assert time.perf_counter() - started < 2


def test_a_progressive_jpeg_is_read(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(progressive(MAX_SCANS - 20))
    assert read_image(tmp_path / "a.jpg", "RGB").size == (128, 128)


def write_zip(path: Path, content: bytes, name: str = "pose.npy") -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, content)


def npy(array: np.ndarray) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


def test_an_archive_is_read_and_only_the_arrays_that_are_wanted(tmp_path: Path) -> None:
    arrays = {
        "a": np.arange(6.0).reshape(2, 3),
        "b": np.asfortranarray(np.eye(3)),
        "c": np.array(["x", "yz"]),
        "d": np.array(7),
    }
    for save in (np.savez, np.savez_compressed):
        save(tmp_path / "a.npz", **arrays)
        for name, array in read_npz(tmp_path / "a.npz").items():
            np.testing.assert_array_equal(array, arrays[name])
        assert set(read_npz(tmp_path / "a.npz", ("a", "none"))) == {"a"}


def test_a_single_array_is_named_as_one_under_any_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("a.npz", "a.npy"):
        path = tmp_path / name
        path.write_bytes(npy(np.zeros((3, 2, 48))))
        out = ["--out", str(tmp_path / "out")]
        for command in (
            ["import", "--from", "npz", str(path)],
            ["render", "--count", "1", "--poses", str(path)],
            ["render", "--count", "1", "--hand-model", str(path)],
        ):
            assert main([*command, *out]) == 2
            error = capsys.readouterr().err
            assert (
                f"{name}: expected an npz, found none that can be read (a single array" in error
                and error.count("\n") == 1
            )


def test_an_archive_is_read_under_any_name(tmp_path: Path) -> None:
    arrays = {"pose": np.zeros((3, 2, 48)), "betas": np.zeros((3, 2, 10)), "transl": np.zeros((3, 2, 3))}
    np.savez(tmp_path / "a.npz", **arrays)  # type: ignore[arg-type]
    (tmp_path / "a.npz").rename(tmp_path / "a.npy")
    assert len(read_fits(tmp_path / "a.npy").pose) == 3


def test_one_wrong_byte_in_a_compressed_archive_is_one_sentence(tmp_path: Path) -> None:
    np.savez_compressed(tmp_path / "a.npz", a=np.arange(99.0))
    whole = (tmp_path / "a.npz").read_bytes()
    refused = 0
    for place in range(0, len(whole), 3):
        (tmp_path / "b.npz").write_bytes(whole[:place] + bytes([whole[place] ^ 0xFF]) + whole[place + 1 :])
        try:
            read_npz(tmp_path / "b.npz")
        except AssetError:
            refused += 1
    assert refused > len(whole) / 6


def test_a_hostile_archive_is_one_sentence(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    write_zip(path, npy(np.zeros(1 << 24)))
    with pytest.raises(AssetError, match=r"a\.npz: expected arrays, found [\d,]+ bytes that would become 134,"):
        read_npz(path)
    write_zip(path, npy(np.array([{}], object)))
    with pytest.raises(AssetError, match="pose: expected plain numbers, found object"):
        read_npz(path)
    write_zip(path, npy(np.zeros(3)).replace(b"(3,)", b"(9,)"))
    with pytest.raises(AssetError, match="pose: expected plain numbers, found float64"):
        read_npz(path)
    write_zip(path, npy(np.random.default_rng(0).random(999)))
    whole = path.read_bytes()
    place = whole.index(b"PK\x01\x02") + 10
    for damaged in (
        npy(np.zeros(3)),
        whole[:900] + b"\xff" * 40 + whole[940:],
        whole[:-30],
        whole[:8] + b"\x63" + whole[9:place] + b"\x63" + whole[place + 1 :],  # an unknown compression
        b"",
    ):
        path.write_bytes(damaged)
        with pytest.raises(AssetError, match=r"a\.npz: expected an npz, found none that can be read") as caught:
            read_npz(path)
        assert "\n" not in str(caught.value)
    with pytest.raises(AssetError, match="No such file"):
        read_npz(tmp_path / "none.npz")


def test_json_nested_too_deep_is_refused_before_it_is_parsed(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    for text in ("[" * 200_000, '{"a":' * 200_000, '["]",' * (MAX_DEPTH + 1), '["\\"]",' * (MAX_DEPTH + 1)):
        path.write_text(text)
        with pytest.raises(AssetError, match="nested more than 100 deep"):
            read_json(path)
        path.write_text('{"rows": [1, ' + text)
        with pytest.raises(AIHError, match="nested more than 100 deep"):
            list(JSONStream(path).items("rows"))
    for document in (["[" * 500, "\\", '"[', {"a]": ["{"] * 300}], [[]] * 500, 7):
        assert parse_json(json.dumps(document).encode()) == document
    nesting = Nesting()
    for piece in (b'["a[[,', b'[",', b"[" * (MAX_DEPTH - 1)):
        nesting.check(piece)
    with pytest.raises(ValueError, match="nested"):
        nesting.check(b"[")


def test_json_that_is_too_large_or_none_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_bytes(b"[1, 2]")
    assert read_json(tmp_path / "a.json", max_bytes=6) == [1, 2]
    with pytest.raises(AssetError, match="more than 5 bytes"):
        read_json(tmp_path / "a.json", max_bytes=5)
    for content in (b"", b"[", b'"\xff"', b"1" * 10_000):
        (tmp_path / "a.json").write_bytes(content)
        with pytest.raises(AssetError, match=r"a\.json: expected JSON, found something else"):
            read_json(tmp_path / "a.json")
