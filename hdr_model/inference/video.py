"""Videos as frames with their times, through PyAV, which is an extra."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import weakref
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple, Self, cast

import numpy as np

from aih_gen.errors import AIHError
from aih_gen.extras import import_extra
from hdr_model.inference.photos import MAX_PIXELS, MIN_SIDE, check_size
from hdr_model.visual import RGB

DECODER = Path(__file__).with_name("decoder.py")
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
    """The frames of a video, in the order in which they are shown. What cannot be decoded is left out and counted.

    They are decoded in a process of their own (``decoder``), whose crash ends the frames and nothing else.
    """

    def __init__(self, path: Path) -> None:
        """Open the file.

        Raises:
            AIHError: PyAV is not installed, or there is no video that it can read, or one of frames too small or large.
        """
        _av()
        self.path = path
        self.damaged = 0
        """Packets or frames left out so far."""
        self.fault = ""
        """The sentence on which the frames ended before their time."""
        if not path.is_file():
            raise AIHError(f"{path}: expected a video, found {'a folder' if path.is_dir() else 'no file'}")
        self._decoder = _Decoder(path)
        opened = self._decoder.message()
        if "rate" not in opened:
            raise AIHError(f"{path}: expected {opened.get('error') or self._decoder.crash()}")
        self.rate: float = opened["rate"]
        """Frames a second on average, as the file says."""
        if opened["size"][0]:  # else unknown until a frame is decoded
            self._check_size(*opened["size"])

    def __iter__(self) -> Iterator[Frame]:
        step = 1 / self.rate
        time, size = -step, None
        with self._decoder as decoder:
            while "size" in (message := decoder.message()):
                found, self.damaged = message["size"], message["damaged"]
                if size is None:
                    size = found
                    self._check_size(*size)
                if found != size:
                    what = f"{found[0]}x{found[1]} after {size[0]}x{size[1]}"
                    self.fault = f"{self.path}: expected frames of one size, found {what}"
                    return
                pixels = decoder.pixels(*message["shape"])
                if pixels is None:
                    break
                time = time + step if message["time"] is None else message["time"]
                yield Frame(pixels, time)
            if "end" in message:
                self.damaged = message["damaged"]
            else:
                self.fault = f"{self.path}: expected {decoder.crash()}"

    def _check_size(self, width: int, height: int) -> None:
        if min(width, height) < MIN_SIDE:
            least = f"{MIN_SIDE}x{MIN_SIDE}"
            raise AIHError(f"{self.path}: expected frames of at least {least} pixels, found {width}x{height}")
        check_size(str(self.path), width, height)


class _Decoder:
    """A process that runs ``decoder.py``, ended on exit or when it is no longer referenced."""

    def __init__(self, path: Path) -> None:
        command = [sys.executable, "-P", str(DECODER), str(path.absolute()), CONTAINERS, str(MAX_PIXELS)]
        # In a session of its own Ctrl-C does not reach it: it ends when the loop does, or when its pipe is closed.
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
            start_new_session=True,
        )
        assert self._process.stdout
        self._out = self._process.stdout
        self.close = weakref.finalize(self, _end, self._process)

    def message(self) -> dict[str, Any]:
        """The next message; empty where the process ended before it was whole."""
        line = self._out.readline()
        return cast("dict[str, Any]", json.loads(line)) if line.endswith(b"\n") else {}

    def pixels(self, height: int, width: int) -> RGB | None:
        """The pixels (H,W,3) behind a frame's message; None where the process ended before they were whole."""
        data = self._out.read(3 * height * width)
        whole = len(data) == 3 * height * width
        return np.frombuffer(data, np.uint8).reshape(height, width, 3).copy() if whole else None

    def crash(self) -> str:
        """The sentence for a process that ended early."""
        code = self._process.wait()
        how = signal.Signals(-code).name if code < 0 else f"exit code {code}"
        return f"a video that PyAV can decode, found one on which it crashes ({how})"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    if process.stdout:
        process.stdout.close()
    process.wait()


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


def _av() -> Any:
    return import_extra("av", "video", "--video", "PyAV")
