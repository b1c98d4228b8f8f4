"""The program that decodes a video in a process of its own: a file on which FFmpeg crashes takes nothing else along.

``python decoder.py PATH CONTAINERS MAX_PIXELS`` writes messages to stdout, each a line of JSON: first ``rate`` and
``size`` of the video, or an ``error``; then for each frame ``time`` (s, or null), ``size`` as decoded, ``shape`` as it
is to be shown, followed by its pixels (H,W,3) uint8 unless they are more than MAX_PIXELS; then ``end``. ``damaged``
counts packets and frames left out. It imports nothing of the project, so that it starts at once.
"""

from __future__ import annotations

import contextlib
import gc
import json
import sys
from collections.abc import Iterator
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray


def decode(path: str, containers: str, max_pixels: int, out: BinaryIO) -> None:
    """Write the messages of a video."""
    import av  # an extra

    def send(**message: object) -> None:
        out.write(json.dumps(message).encode() + b"\n")

    try:
        options = {"format_whitelist": containers, "protocol_whitelist": "file"}
        container = av.open(path, options=options, metadata_errors="replace")
    except (av.FFmpegError, ValueError, OSError) as error:
        found = getattr(error, "strerror", None) or error  # without the number and the path
        return send(error=f"a video that PyAV can read (as {containers}), found: {found}")
    if not container.streams.video:
        kinds = ", ".join(sorted({stream.type for stream in container.streams})) or "nothing"
        return send(error=f"a video, found a file with {kinds} alone")
    stream = container.streams.video[0]
    send(rate=float(stream.average_rate or 25), size=[stream.width, stream.height])
    out.flush()
    damaged = [0]
    gc.freeze()  # what is loaded stays; looking for garbage takes no time
    with container:
        for frame in _frames(container, stream, damaged):
            small = frame.width * frame.height <= max_pixels
            pixels = _upright(frame) if small else np.empty((0, 0, 3), np.uint8)
            time = None if frame.time is None else float(frame.time)
            send(time=time, size=[frame.width, frame.height], shape=pixels.shape[:2], damaged=damaged[0])
            out.write(pixels.data)
            out.flush()
            gc.collect()  # a frame and its side data hold each other: hundreds would stay
    send(end=True, damaged=damaged[0])


def _frames(container: Any, stream: Any, damaged: list[int]) -> Iterator[Any]:
    """Whole frames; ``damaged[0]`` counts what is left out."""
    import av

    packets = container.demux(stream)
    while True:
        try:
            packet = next(packets)
        except StopIteration:
            return
        except av.FFmpegError:  # nothing behind it can be found
            damaged[0] += 1
            return
        try:
            frames = packet.decode()
        except av.error.EOFError:
            return
        except av.FFmpegError:
            damaged[0] += 1
            continue
        whole = [frame for frame in frames if not frame.is_corrupt]
        damaged[0] += len(frames) - len(whole)
        yield from whole


def _upright(frame: Any) -> NDArray[np.uint8]:
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


if __name__ == "__main__":
    with contextlib.suppress(BrokenPipeError):  # the reader has ended
        decode(sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.stdout.buffer)
        sys.stdout.flush()
