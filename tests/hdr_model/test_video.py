"""Videos in, an overlay and joints with their times out; with networks that were never trained."""

from __future__ import annotations

import gc
import io
import signal
import subprocess
import tracemalloc
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from aih_gen.errors import AIHError
from hdr_model.cli import main
from hdr_model.inference import video
from hdr_model.inference.decoder import decode
from hdr_model.inference.infer import infer_video
from hdr_model.inference.pipeline import HDR
from hdr_model.inference.result import Result
from hdr_model.inference.tracking import HandTracker
from hdr_model.inference.video import CONTAINERS, Video, VideoWriter
from hdr_model.inference.views import VIDEO_VIEWS
from tests.hdr_model.test_pipeline import photo, weights  # noqa: F401

av = pytest.importorskip("av", reason="PyAV is not installed")
TIMES = (0.0, 0.1, 0.15, 0.9, 2.14)


def write_clip(path: Path, images: Sequence[np.ndarray], times: Sequence[float] = TIMES) -> Path:
    with VideoWriter(path, images[0]) as writer:
        for image, time in zip(images, times, strict=True):
            writer.add(image, time)
    return path


def clip(path: Path, count: int = 3) -> Path:
    return write_clip(path, [photo(64, 96)] * count, [k / 10 for k in range(count)])


def joints(folder: Path) -> dict[str, np.ndarray]:
    with np.load(folder / "joints.npz") as stored:
        return dict(stored)


def test_a_video_gives_a_video_and_joints_of_every_frame(weights: Path, tmp_path: Path) -> None:  # noqa: F811
    write_clip(tmp_path / "clip.mp4", [photo(65, 97)] * len(TIMES))
    infer_video(tmp_path / "clip.mp4", weights, tmp_path / "out", "cpu", smooth=0)
    assert {path.name for path in (tmp_path / "out" / "clip").iterdir()} == {"overlay.mp4", "joints.npz"}
    overlay = list(Video(tmp_path / "out" / "clip" / "overlay.mp4"))
    assert [frame.image.shape for frame in overlay] == [(64, 96, 3)] * len(TIMES)
    np.testing.assert_allclose([frame.time for frame in overlay], TIMES, atol=1e-4)
    stored = joints(tmp_path / "out" / "clip")
    np.testing.assert_allclose(stored["times"], TIMES, atol=1e-4)
    assert stored["joints_2d"].shape == (len(TIMES), 2, 21, 2) and stored["present"].dtype == bool
    images = [frame.image for frame in Video(tmp_path / "clip.mp4")]
    expected = [result.arrays() for result in HDR.from_pretrained(weights, views=VIDEO_VIEWS)(images)]
    for name in ("joints_2d", "joints_3d", "crop", "present"):
        np.testing.assert_allclose(stored[name], [frame[name] for frame in expected], atol=1e-4)


@pytest.mark.parametrize("angle", [0, 90, 180, -90])
def test_frames_are_turned_as_the_phone_was(tmp_path: Path, angle: int) -> None:
    image = np.zeros((64, 96, 3), np.uint8)
    image[:16, :32] = 255
    with av.open(str(tmp_path / "turned.mp4"), "w") as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
        stream.set_display_rotation(angle)
        container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode())
    (frame,) = Video(tmp_path / "turned.mp4")
    difference = np.abs(frame.image.astype(int) - np.rot90(image, angle // 90))
    assert difference.mean() < 5


def test_a_damaged_frame_is_left_out_and_counted(
    weights: Path,  # noqa: F811
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = clip(tmp_path / "clip.mp4", 20)
    with av.open(str(path)) as container:
        packets = [(packet.pos, packet.size) for packet in container.demux(video=0) if packet.size]
    data = bytearray(path.read_bytes())
    start, size = packets[12]
    data[start : start + size] = bytes(size)
    path.write_bytes(data)
    assert main(["infer", "--video", str(path), "--out", str(tmp_path / "out"), "--weights", str(weights)]) == 0
    assert "clip.mp4: 19 frames, 1 damaged left out -> " in capsys.readouterr().out
    times = joints(tmp_path / "out" / "clip")["times"]
    np.testing.assert_allclose(times, [k / 10 for k in range(20) if k != 12], atol=1e-4)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_video_leaves_a_whole_prefix(
    weights: Path,  # noqa: F811
    tmp_path: Path,
    number: signal.Signals,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path, seen, call = clip(tmp_path / "clip.mp4", 9), [], HandTracker.__call__

    def interrupted(self: HandTracker, image: np.ndarray, time: float) -> Result:
        seen.append(image)
        if len(seen) == 4:
            signal.raise_signal(number)
        return call(self, image, time)

    monkeypatch.setattr(HandTracker, "__call__", interrupted)
    arguments = ["infer", "--video", str(path), "--out", str(tmp_path / "out"), "--weights", str(weights)]
    assert main(arguments) == 130
    assert len(joints(tmp_path / "out" / "clip")["times"]) == 4
    assert len(list(Video(tmp_path / "out" / "clip" / "overlay.mp4"))) == 4
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["clip"]


def test_before_a_frame_of_another_size_everything_is_written(
    weights: Path,  # noqa: F811
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    # One container of packets of two encoders, as a camera writes that is switched over.
    parts = [clip(tmp_path / "a.avi", 3), write_clip(tmp_path / "b.avi", [photo(48, 64)] * 2, (0.3, 0.4))]
    with av.open(str(tmp_path / "both.ts"), "w") as container:
        for path in parts:
            with av.open(str(path)) as source:
                if not container.streams.video:
                    stream = container.add_stream_from_template(source.streams.video[0])
                for k, packet in enumerate(packet for packet in source.demux(video=0) if packet.size):
                    packet.stream = stream
                    packet.pts = packet.dts = 9000 * (k + 3 * (path.stem == "b"))
                    packet.time_base = stream.time_base
                    container.mux(packet)
    arguments = ["infer", "--video", str(tmp_path / "both.ts"), "--out", str(tmp_path / "out")]
    assert main([*arguments, "--weights", str(weights)]) == 2
    said = capsys.readouterr().err
    assert "expected frames of one size, found 64x48 after 96x64; results of the 3 frames before it" in said
    assert said.count("\n") == 1
    assert len(joints(tmp_path / "out" / "both")["times"]) == 3


def sound(path: Path) -> None:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=8000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        frame.sample_rate = 8000
        container.mux(stream.encode(frame))
        container.mux(stream.encode())


def dot(path: Path) -> None:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("rawvideo", rate=10)
        stream.width, stream.height, stream.pix_fmt = 1, 1, "bgr24"
        container.mux(stream.encode(av.VideoFrame.from_ndarray(np.zeros((1, 1, 3), np.uint8), format="bgr24")))
        container.mux(stream.encode())


def cut(path: Path) -> None:
    data = clip(path, 1).read_bytes()
    with av.open(str(path)) as container:
        (start, size), *_ = ((packet.pos, packet.size) for packet in container.demux(video=0) if packet.size)
    path.write_bytes(data[:start] + bytes(size) + data[start + size :])


@pytest.mark.parametrize(
    ("name", "make", "said"),
    [
        ("sound.mp4", sound, "expected a video, found a file with audio alone"),
        ("dot.avi", dot, "expected frames of at least 16x16 pixels, found 1x1"),
        ("cut.mp4", cut, "at least one whole frame, found 1 damaged ones"),
        ("text.mp4", lambda path: path.write_text("not a video"), "expected a video that PyAV can read"),
        ("empty.mp4", lambda path: path.touch(), "expected a video that PyAV can read"),
        ("folder.mp4", lambda path: path.mkdir(), "expected a video, found a folder"),
        ("none.mp4", lambda path: None, "expected a video, found no file"),
    ],
)
def test_what_is_no_video_is_one_sentence(
    name: str,
    make: object,
    said: str,
    weights: Path,  # noqa: F811
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    make(tmp_path / name)  # type: ignore[operator]
    arguments = ["infer", "--video", str(tmp_path / name), "--out", str(tmp_path / "out"), "--weights", str(weights)]
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert said in error and error.count("\n") == 1
    assert not (tmp_path / "out").exists()


CRASH = """
import os, runpy, signal, sys

class Out:
    def __init__(self):
        self.written = 0
    def write(self, data):
        self.written += 1
        if self.written > {writes}:
            self.flush()
            os.kill(os.getpid(), signal.SIGSEGV)
        sys.stdout.buffer.write(data)
    def flush(self):
        sys.stdout.flush()

runpy.run_path({decoder!r})["decode"](sys.argv[1], sys.argv[2], int(sys.argv[3]), Out())
"""
"""A decoder that crashes at a write: 1 opens the video, each frame has 2."""


@pytest.mark.parametrize(
    ("writes", "frames"), [(0, 0), (1, 0), (2, 0), (7, 3)], ids=["opening", "first", "pixels", "fourth"]
)
def test_a_crash_of_the_decoder_is_one_sentence_and_what_was_written_is_whole(
    writes: int,
    frames: int,
    weights: Path,  # noqa: F811
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "crash.py").write_text(CRASH.format(writes=writes, decoder=str(video.DECODER)))
    monkeypatch.setattr(video, "DECODER", tmp_path / "crash.py")
    path, out = clip(tmp_path / "clip.mp4", 9), tmp_path / "out"
    assert main(["infer", "--video", str(path), "--out", str(out), "--weights", str(weights)]) == 2
    said = capsys.readouterr().err
    assert f"{path}: expected a video that PyAV can decode, found one on which it crashes (SIGSEGV)" in said
    assert said.count("\n") == 1
    if not frames:
        assert not out.exists()
        return
    monkeypatch.undo()
    assert f"results of the {frames} frames before it are in {out / 'clip'}" in said
    assert len(joints(out / "clip")["times"]) == len(list(Video(out / "clip" / "overlay.mp4"))) == frames


def test_the_decoder_ends_with_whoever_reads_its_frames(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[subprocess.Popen[bytes]] = []

    class Noted(subprocess.Popen[bytes]):
        def __init__(self, *arguments: Any, **options: Any) -> None:
            super().__init__(*arguments, **options)
            started.append(self)

    monkeypatch.setattr(subprocess, "Popen", Noted)
    path = clip(tmp_path / "clip.mp4", 200)
    frames = iter(Video(path))
    next(frames)
    assert started[0].poll() is None, "the pipe is full long before the last frame"
    del frames
    opened = Video(path)
    del opened
    assert [process.poll() for process in started] == [-signal.SIGKILL] * 2


def test_a_playlist_is_no_video(tmp_path: Path) -> None:
    clip(tmp_path / "secret.mp4", 1)
    (tmp_path / "list.mp4").write_text("ffconcat version 1.0\nfile secret.mp4\n")
    with pytest.raises(AIHError, match="expected a video that PyAV can read"):
        Video(tmp_path / "list.mp4")
    assert len(list(Video(tmp_path / "secret.mp4"))) == 1


def test_the_memory_of_a_video_does_not_grow_with_its_length(
    weights: Path,  # noqa: F811
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    result = HDR.from_pretrained(weights)(photo(64, 96))
    monkeypatch.setattr(HandTracker, "__call__", lambda self, image, time: replace(result, image=image.copy()))
    peaks = []
    for count in (10, 200):
        clip(tmp_path / f"{count}.mp4", count)
        tracemalloc.start()
        infer_video(tmp_path / f"{count}.mp4", weights, tmp_path / "out", "cpu")
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < peaks[0] + 500_000, "190 frames are 3,500,000 bytes"


def test_the_decoder_keeps_no_frames(tmp_path: Path) -> None:
    """Each of a large video takes megabytes, and only the search for garbage frees one whose side data was read."""

    class Counting(io.BytesIO):
        most = 0

        def flush(self) -> None:
            self.most = max(self.most, sum(type(found) is av.VideoFrame for found in gc.get_objects()))

    written = Counting()
    try:
        decode(str(clip(tmp_path / "clip.mp4", 30)), CONTAINERS, 10_000, written)
    finally:
        gc.unfreeze()
    assert written.getvalue().endswith(b'"damaged": 0}\n') and 0 < written.most < 8


def test_a_written_video_is_as_sharp_at_its_end_as_at_its_start(tmp_path: Path) -> None:
    y, x = np.mgrid[:128, :192]
    waves = [128 + 60 * np.sin(x / 9 + c) * np.cos(y / 7) + 40 * np.sin((x + y) / 3 + c) for c in range(3)]
    images = [np.roll(np.stack(waves, -1).astype(np.uint8), 3 * k, 1) for k in range(20)]
    write_clip(tmp_path / "clip.mp4", images, [k / 10 for k in range(20)])
    frames = [frame.image.astype(int) for frame in Video(tmp_path / "clip.mp4")]
    errors = [float(((frame - image) ** 2).mean()) for frame, image in zip(frames, images, strict=True)]
    assert max(errors[-3:]) < 1.5 * errors[0]
