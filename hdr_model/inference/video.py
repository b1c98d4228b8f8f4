"""Videos as frames, through PyAV, which is an extra."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from aih_gen.errors import AIHError
from hdr_model.inference.photos import check_size
from hdr_model.visual import Picture

CONTAINERS = "avi,matroska,mov,mpeg,mpegts,ogg"
"""FFmpeg's names of what is opened. Playlists are none of them: they read other files, and crash FFmpeg."""


def open_video(path: Path) -> tuple[Iterator[Picture], Fraction]:
    """The frames of a video, (H,W,3) uint8 each, and how many there are in a second.

    Raises:
        AIHError: PyAV is not installed, or there is no video that it can read.
    """
    av = _av()
    if not path.is_file():
        raise AIHError(f"{path}: expected a video, found {'a folder' if path.is_dir() else 'no file'}")
    try:
        container = av.open(str(path), options={"format_whitelist": CONTAINERS, "protocol_whitelist": "file"})
        stream = container.streams.video[0]
        check_size(str(path), stream.width, stream.height)
    except (av.FFmpegError, IndexError) as error:
        raise AIHError(f"{path}: expected a video that PyAV can read (as {CONTAINERS}), found {error}") from error

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


def _av() -> Any:
    try:
        import av
    except ImportError as error:
        raise AIHError('--video needs PyAV, which is not installed: pip install "aih-hdr[video]"') from error
    return av
