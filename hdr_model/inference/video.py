"""Videos as frames with their times, through PyAV, which is an extra."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from aih_gen.errors import AIHError
from hdr_model.inference.photos import MIN_SIDE, check_size
from hdr_model.visual import RGB

CONTAINERS = "avi,matroska,mov,mpeg,mpegts,ogg"
"""FFmpeg's names of what is opened. Playlists are none of them: they read other files, and crash FFmpeg."""
_TICKS = 60_000
"""Of a written video, in a second: MPEG-4 allows 65,535; frames of 24, 25, 30, 50 and 60 a second are whole numbers."""


class Frame(NamedTuple):
    """One frame as it is to be shown."""

    image: RGB
    time: float
    """Seconds, as the file says."""


class Video:
    """The frames of a video, in the order in which they are shown. What cannot be decoded is left out and counted."""

    def __init__(self, path: Path) -> None:
        """Open the file.

        Raises:
            AIHError: PyAV is not installed, or there is no video that it can read, or one of frames too small or large.
        """
        self._av = _av()
        self.path = path
        self.damaged = 0
        """Packets or frames left out so far."""
        self.fault = ""
        """The sentence on which the frames ended before their time."""
        if not path.is_file():
            raise AIHError(f"{path}: expected a video, found {'a folder' if path.is_dir() else 'no file'}")
        options = {"format_whitelist": CONTAINERS, "protocol_whitelist": "file"}
        try:
            self._container = self._av.open(str(path), options=options, metadata_errors="replace")
        except (self._av.FFmpegError, ValueError, OSError) as error:
            raise AIHError(f"{path}: expected a video that PyAV can read (as {CONTAINERS}), found {error}") from error
        if not self._container.streams.video:
            kinds = ", ".join(sorted({stream.type for stream in self._container.streams})) or "nothing"
            raise AIHError(f"{path}: expected a video, found a file with {kinds} alone")
        self._stream = self._container.streams.video[0]
        if self._stream.width:  # else unknown until a frame is decoded
            self._check_size(self._stream.width, self._stream.height)

    @property
    def rate(self) -> float:
        """Frames a second on average, as the file says."""
        return float(self._stream.average_rate or 25)

    def __iter__(self) -> Iterator[Frame]:
        step = 1 / self.rate
        time, size = -step, None
        with self._container:
            for decoded in self._decoded():
                if size is None:
                    size = decoded.width, decoded.height
                    self._check_size(*size)
                if (decoded.width, decoded.height) != size:
                    found = f"{decoded.width}x{decoded.height} after {size[0]}x{size[1]}"
                    self.fault = f"{self.path}: expected frames of one size, found {found}"
                    return
                time = time + step if decoded.time is None else float(decoded.time)
                yield Frame(_upright(decoded), time)

    def _check_size(self, width: int, height: int) -> None:
        if min(width, height) < MIN_SIDE:
            least = f"{MIN_SIDE}x{MIN_SIDE}"
            raise AIHError(f"{self.path}: expected frames of at least {least} pixels, found {width}x{height}")
        check_size(str(self.path), width, height)

    def _decoded(self) -> Iterator[Any]:
        packets = self._container.demux(self._stream)
        while True:
            try:
                packet = next(packets)
            except StopIteration:
                return
            except self._av.FFmpegError:  # nothing behind it can be found
                self.damaged += 1
                return
            try:
                frames = packet.decode()
            except self._av.error.EOFError:
                return
            except self._av.FFmpegError:
                self.damaged += 1
                continue
            whole = [frame for frame in frames if not frame.is_corrupt]
            self.damaged += len(frames) - len(whole)
            yield from whole


class VideoWriter:
    """An MP4 file that frames are added to, of the first one's size (an odd row or column at the end is left out)."""

    def __init__(self, path: Path, like: RGB, rate: float = 25.0) -> None:
        """Begin a file. ``rate``: frames a second on average, of which the encoder makes its bits a frame."""
        self._height, self._width = (side // 2 * 2 for side in like.shape[:2])
        self._container = _av().open(str(path), "w")
        self._stream = self._container.add_stream("mpeg4", rate=round(min(max(rate, 1.0), 240.0)))
        self._stream.codec_context.time_base = Fraction(1, _TICKS)
        self._stream.width, self._stream.height, self._stream.pix_fmt = self._width, self._height, "yuv420p"
        self._stream.bit_rate = 8 * self._width * self._height
        self._last = -1

    def add(self, image: RGB, time: float) -> None:
        """The next frame, shown from ``time`` on, in seconds; later than the one before, else a tick after it."""
        frame = _av().VideoFrame.from_ndarray(np.ascontiguousarray(image[: self._height, : self._width]), "rgb24")
        self._last = frame.pts = max(round(time * _TICKS), self._last + 1)
        frame.time_base = self._stream.codec_context.time_base
        self._container.mux(self._stream.encode(frame))

    def __enter__(self) -> VideoWriter:
        return self

    def __exit__(self, *_: object) -> None:
        self._container.mux(self._stream.encode())
        self._container.close()


def _upright(frame: Any) -> RGB:
    """The pixels (H,W,3), turned and mirrored as the display matrix says, to the next 90 degrees."""
    pixels = frame.to_ndarray(format="rgb24")
    for data in frame.side_data:
        if data.type.name == "DISPLAYMATRIX":
            x_to_x, x_to_y, _, y_to_x, y_to_y = np.frombuffer(bytes(data), np.int32)[:5].tolist()
            if abs(x_to_x) < abs(x_to_y):
                x_to_x, y_to_y = y_to_x, x_to_y
                pixels = pixels.swapaxes(0, 1)
            pixels = pixels[:: -1 if y_to_y < 0 else 1, :: -1 if x_to_x < 0 else 1]
    return np.ascontiguousarray(pixels)


def _av() -> Any:
    try:
        import av
    except ImportError as error:
        raise AIHError('--video needs PyAV, which is not installed: pip install "aih-hdr[video]"') from error
    return av
