"""``hdr infer``: photos, folders of photos and videos in, folders of results out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from aih_gen.config import SIDES
from aih_gen.errors import AIHError
from hdr_model.device import choose_device
from hdr_model.finding import Box
from hdr_model.photos import PHOTO_SUFFIXES, check_size, read_photo, write_joints, write_result
from hdr_model.pipeline import HDR, Result
from hdr_model.visual import HAND_COLOURS, Picture, draw_joints, draw_masks


def infer_photos(
    photos: Sequence[Path], weights: Path | None, out: Path, device: str, box: Box | None = None, batch: int = 1
) -> None:
    """Write, for each photo, ``out/NAME``: masks, each hand alone, joints on the photo and in 3D, overview, and JSON.

    A folder stands for the photos in it. Photos of one name are told apart by a number. ``box`` says where the hands
    are in every photo; ``batch`` photos are worked on together.

    Raises:
        AIHError: a photo cannot be read (checked before anything is written), or ``out`` is a file.
    """
    paths = [path for given in photos for path in _photos_in(given)]
    for path in paths:
        read_photo(path)
    _check_folder(out)
    hdr = HDR.from_pretrained(weights, device=choose_device(device))
    seen: Counter[str] = Counter()
    with tqdm(total=len(paths), desc="photos", unit="photo") as bar:
        for start in range(0, len(paths), batch):
            some = paths[start : start + batch]
            images = [read_photo(path) for path in some]
            for path, image, result in zip(some, images, hdr.batch(images, [box] * len(some)), strict=True):
                seen[path.stem] += 1
                name = path.stem if seen[path.stem] == 1 else f"{path.stem}-{seen[path.stem]}"
                write_result(result, image, out / name)
                bar.update()


def infer_video(video: Path, weights: Path | None, out: Path, device: str, box: Box | None = None) -> None:
    """Write ``out/NAME``: ``overlay.mp4`` (masks and joints on every frame) and ``joints.npz`` (first axis: frames).

    Raises:
        AIHError: PyAV is not installed, the file is no video, or ``out`` is a file.
    """
    _check_folder(out)
    frames, rate = open_video(video)
    first = next(frames, None)
    if first is None:
        raise AIHError(f"{video}: expected a video with at least one frame, found none")
    hdr = HDR.from_pretrained(weights, device=choose_device(device))
    folder = out / video.stem
    folder.mkdir(parents=True, exist_ok=True)
    results = []
    with VideoWriter(folder / "overlay.mp4", first, rate) as writer:
        for frame in tqdm(_with_first(first, frames), desc=video.name, unit="frame"):
            result = hdr(frame, box)
            writer.add(on_photo(result, frame))
            results.append(result)
    write_joints(folder / "joints.npz", results)


def on_photo(result: Result, image: Picture) -> Picture:
    """The photo with masks and joints on it."""
    picture = draw_masks(image, result.masks)
    for side in SIDES:
        picture = draw_joints(picture, getattr(result, side).joints_2d, HAND_COLOURS[side])
    return picture


def open_video(path: Path) -> tuple[Iterator[Picture], Fraction]:
    """The frames of a video, (H,W,3) uint8 each, and how many there are in a second.

    Raises:
        AIHError: PyAV is not installed, or there is no video that it can read.
    """
    av = _av()
    if not path.is_file():
        raise AIHError(f"{path}: expected a video, found {'a folder' if path.is_dir() else 'no file'}")
    try:
        container = av.open(str(path))
        stream = container.streams.video[0]
        check_size(str(path), stream.width, stream.height)
    except (av.FFmpegError, IndexError) as error:
        raise AIHError(f"{path}: expected a video that PyAV can read, found {error}") from error

    def frames() -> Iterator[Picture]:
        with container:
            try:
                for frame in container.decode(stream):
                    yield frame.to_ndarray(format="rgb24")
            except av.FFmpegError as error:
                raise AIHError(f"{path}: damaged video ({error})") from error

    return frames(), Fraction(stream.average_rate or 25)


class VideoWriter:
    """An MP4 file that frames are added to, of the first one's size (an odd row or column at the end is left out)."""

    def __init__(self, path: Path, like: Picture, rate: Fraction) -> None:
        self._height, self._width = (side // 2 * 2 for side in like.shape[:2])
        self._container = _av().open(str(path), "w")
        self._stream = self._container.add_stream("mpeg4", rate=rate.limit_denominator(60_000))
        self._stream.width, self._stream.height, self._stream.pix_fmt = self._width, self._height, "yuv420p"
        self._stream.bit_rate = 8 * self._width * self._height

    def add(self, picture: Picture) -> None:
        """The next frame."""
        pixels = np.ascontiguousarray(picture[: self._height, : self._width])
        frame = _av().VideoFrame.from_ndarray(pixels, format="rgb24")
        self._container.mux(self._stream.encode(frame))

    def __enter__(self) -> VideoWriter:
        return self

    def __exit__(self, *_: object) -> None:
        self._container.mux(self._stream.encode())
        self._container.close()


def _with_first(first: Picture, rest: Iterator[Picture]) -> Iterator[Picture]:
    yield first
    yield from rest


def _photos_in(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    found = sorted(file for file in path.iterdir() if file.suffix.lower() in PHOTO_SUFFIXES)
    if not found:
        raise AIHError(f"{path}: expected photos ({', '.join(PHOTO_SUFFIXES)}) in this folder, found none")
    return found


def _check_folder(out: Path) -> None:
    if out.exists() and not out.is_dir():
        raise AIHError(f"{out} is a file; --out needs a folder")


def _av() -> Any:
    try:
        import av
    except ImportError as error:
        raise AIHError('--video needs PyAV, which is not installed: pip install "aih-hdr[video]"') from error
    return av
