"""Bombs, long videos, networks and other places: bounded memory, no connections, no writes but to --out."""

from __future__ import annotations

import contextlib
import json
import os
import re
import sys
import tempfile
import threading
import time
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from PIL import Image

from aih_gen import kernels
from hdr_model.cli import main as hdr
from tests.torture.children import start, typed
from tests.torture.conftest import Tally, times
from tests.torture.workshop import Workshop

GIB = 1.0
FRAMES_A_SECOND = 2
VIDEO_SIZE = (1920, 1080)
MAX_GROWTH_MB = 100.0
"""Between the first tenth of a video and its end, of the command and of its decoder."""
_LIBRARIES = re.compile(re.escape(tempfile.gettempdir()) + r"/(torchinductor_\w+|pymp-.*|[a-z0-9_]{8})")
"""PyTorch's cache, a folder for processes, and how Python tries whether it may write there."""


def _png_bomb(path: Path) -> None:
    """30,000 x 30,000 grey pixels in about a megabyte."""
    side = 30_000
    header = side.to_bytes(4, "big") * 2 + bytes([8, 0, 0, 0, 0])
    packer = zlib.compressobj(9)
    row = bytes(side + 1)
    data = b"".join(packer.compress(row) for _ in range(side)) + packer.flush()
    chunks = ((b"IHDR", header), (b"IDAT", data), (b"IEND", b""))
    parts = (
        len(body).to_bytes(4, "big") + name + body + zlib.crc32(name + body).to_bytes(4, "big") for name, body in chunks
    )
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(parts))


def _scans(path: Path) -> None:
    """A progressive JPEG with its scans repeated five thousand times."""
    image = path.with_suffix(".one.jpg")
    Image.fromarray(np.zeros((1024, 1024), np.uint8)).save(image, progressive=True)
    raw = image.read_bytes()
    image.unlink()
    first = raw.index(b"\xff\xda")
    path.write_bytes(raw[:first] + raw[first:-2] * 5000 + raw[-2:])


def _npz_bomb(path: Path) -> None:
    """A gigabyte of zeros in a megabyte."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("pose.npy", "w") as file:
        np.lib.format.write_array_header_1_0(
            file, {"descr": "<f4", "fortran_order": False, "shape": (2_796_202, 2, 48)}
        )
        for _ in range(1024):
            file.write(bytes(2**20))


def _brackets(path: Path) -> None:
    path.write_text('{"0": {"0": ' + "[" * 200_000)


def _deep_config(path: Path) -> None:
    path.write_text(json.dumps({"network": "hdrm", "config": {"widths": [8] * 8192, "kernels": [3] * 8192}}))


BOMBS: dict[str, tuple[str, Callable[[Path], None], list[str]]] = {
    "PNG of 900 million pixels": ("a.png", _png_bomb, ["hdr", "infer", "FILE", "--out", "OUT"]),
    "JPEG of thousands of scans": ("a.jpg", _scans, ["hdr", "infer", "FILE", "--out", "OUT"]),
    "npz of a gigabyte": ("a.npz", _npz_bomb, ["aih-gen", "import", "FILE", "--from", "npz", "--out", "OUT"]),
    "JSON of brackets": ("a.json", _brackets, ["aih-gen", "render", "--poses", "FILE", "--count", "1", "--out", "OUT"]),
    "settings of 8192 layers": (
        "hdrm/config.json", _deep_config, ["hdr", "infer", "PHOTO", "--weights", ".", "--out", "OUT"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", BOMBS)
def test_bomb(name: str, workshop: Workshop, tally: Tally) -> None:
    file, make, arguments = BOMBS[name]
    folder = workshop.new_folder()
    path = folder / file
    path.parent.mkdir(parents=True)
    if path.name == "config.json":
        for network in ("hasm", "hdrm", "shpe"):
            source, target = workshop.folder / "weights" / network, folder / network
            target.mkdir(exist_ok=True)
            for part in source.iterdir():
                (target / part.name).write_bytes(part.read_bytes())
    make(path)
    places = {"FILE": path, "OUT": folder / "out", ".": folder, "PHOTO": workshop.folder / "photo.png"}
    outcome = start(typed, [str(places.get(part, part)) for part in arguments], gib=GIB).outcome(60)
    tally.expect(outcome.code == 2 and "Traceback" not in outcome.said, str(outcome))


def test_minutes_of_video_in_constant_memory(workshop: Workshop, tally: Tally) -> None:
    seconds = times(600)
    path = workshop.new_folder() / "long.mp4"
    path.parent.mkdir(parents=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=FRAMES_A_SECOND)
        (stream.width, stream.height), stream.pix_fmt = VIDEO_SIZE, "yuv420p"
        image = np.asarray(Image.open(workshop.folder / "photo.png").resize(VIDEO_SIZE))
        for number in range(FRAMES_A_SECOND * seconds):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.roll(image, number, 1))))
        container.mux(stream.encode())
    grown = path.with_suffix(".json")
    outcome = start(_watched_video, path, workshop.folder / "weights", grown).outcome(120 + 10 * seconds)
    assert outcome.code == 0, str(outcome)
    for process, growth in json.loads(grown.read_text()).items():
        tally.expect(growth < MAX_GROWTH_MB, f"{process}: {growth:.0f} MB more after {seconds} s than after a tenth")


def _watched_video(path: Path, weights: Path, grown: Path) -> None:
    """Infer twice: a tenth of the frames, then all of them; the differences of the highest memory."""
    short = path.with_name("short.mp4")
    with av.open(str(path)) as source, av.open(str(short), "w") as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        for packet in list(source.demux(video=0))[: source.streams.video[0].frames // 10]:
            if packet.dts is not None:
                packet.stream = stream
                target.mux(packet)
    peaks: list[dict[str, float]] = []
    threading.Thread(target=_watch_children, args=(peaks,), daemon=True).start()
    for video in (short, path):
        peaks.append({"hdr infer": 0.0, "its decoder": 0.0})
        code = hdr(
            ["infer", "--video", str(video), "--weights", str(weights), "--out", f"{video}.out", "--device", "cpu"]
        )
        assert code == 0
        peaks[-1]["hdr infer"] = _peak_mb("self")
        assert peaks[-1]["its decoder"] > 0
    grown.write_text(json.dumps({name: peaks[1][name] - peaks[0][name] for name in peaks[0]}))


def _watch_children(peaks: list[dict[str, float]]) -> None:
    """Keep the highest memory of any child in the last of ``peaks``: rusage counts what a child was forked from too."""
    while True:
        for listing in Path("/proc/self/task").glob("*/children"):
            for child in listing.read_text().split():
                with contextlib.suppress(OSError, StopIteration):  # it has ended
                    peaks[-1]["its decoder"] = max(peaks[-1]["its decoder"], _peak_mb(child))
        time.sleep(0.05)


def _peak_mb(process: str) -> float:
    """The highest resident memory of a process so far."""
    lines = Path(f"/proc/{process}/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) / 1024


def test_no_connections_and_no_writes_elsewhere(workshop: Workshop, tally: Tally) -> None:
    for name, command in workshop.commands.items():
        workshop.expected(name)  # what is made once, such as caches of the driver, is there now
        out = workshop.new_folder()
        log = out.parent / "opened.json"
        out.parent.mkdir(parents=True)
        outcome = start(_recorded, command.at(out), log).outcome()
        assert outcome.code == 0, f"{name}: {outcome}"
        found = json.loads(log.read_text())
        caches = (str(Path.home() / ".cache/mesa"), str(Path(kernels.__file__).parent / "__pycache__"))
        allowed = (str(out), f"{out.parent}/.out.", "/dev/", "/proc/", *caches)
        elsewhere = [
            path
            for path in found["written"]
            if not path.startswith(allowed) and path != str(out.parent) and not _LIBRARIES.fullmatch(path)
        ]
        tally.expect(not elsewhere, f"{name} writes to {elsewhere[:3]}")
        tally.expect(not found["connections"], f"{name} connects to {found['connections'][:3]}")


def _recorded(arguments: list[str], log: Path) -> None:
    found: dict[str, list[Any]] = {"written": [], "connections": []}
    writes = os.O_WRONLY | os.O_RDWR
    recording = True

    def hook(event: str, given: tuple[Any, ...]) -> None:
        if not recording:
            return
        if event == "open" and isinstance(given[0], str | bytes) and isinstance(given[2], int) and given[2] & writes:
            found["written"].append(str(Path(os.fsdecode(given[0])).absolute()))
        elif event in ("os.mkdir", "os.rename"):
            found["written"].append(str(Path(os.fsdecode(given[event == "os.rename"])).absolute()))
        elif event in ("socket.connect", "socket.bind", "socket.getaddrinfo"):
            found["connections"].append(repr(given[1:]))

    sys.addaudithook(hook)
    try:
        typed(arguments)
    finally:
        recording = False
        log.write_text(json.dumps(found))
