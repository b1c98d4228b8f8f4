"""``hdr infer``: photos, folders of photos and videos in, folders of results out."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from aih_gen.errors import AIHError
from aih_gen.interruption import Interruption
from aih_gen.io.write import check_apart, check_writable, write_bytes
from aih_gen.reports.rerun import Recording
from hdr_model.config import Engine
from hdr_model.inference.detection import check_box
from hdr_model.inference.folders import folders_for, result_folder
from hdr_model.inference.mesh import check_focal_length
from hdr_model.inference.photos import photos_in, read_photo
from hdr_model.inference.pipeline import HDR
from hdr_model.inference.rerun import add_result, photos_recording
from hdr_model.inference.result import PARTS, Box, Part, Result
from hdr_model.inference.smoothing import SMOOTH
from hdr_model.inference.tracking import HandTracker
from hdr_model.inference.video import Video, VideoWriter
from hdr_model.inference.views import VIDEO_VIEWS


@dataclass(frozen=True)
class Written:
    """The results of one photo or video, on the disk."""

    source: Path
    found: str
    """In words."""
    folder: Path
    replaced: bool
    """The folder was there before."""
    numbers: dict[str, object]
    """Figures for a line of JSON."""

    @property
    def line(self) -> str:
        """One line for people."""
        return f"{_one_line(self.source)}: {self.found} -> {_one_line(self.folder)}{' (replaced)' * self.replaced}"

    def to_dict(self) -> dict[str, object]:
        """The same and its numbers, in plain types."""
        return {"source": str(self.source), "folder": str(self.folder), "replaced": self.replaced, **self.numbers}


Tell = Callable[[Written], None]


@dataclass(frozen=True)
class Meshes:
    """Asks for meshes."""

    hand_model: str = "free"
    """Or the path of a MANO file or of the folder with them."""
    focal_length: float | None = None
    """Pixels; by default each photo's diagonal."""


def infer_photos(
    photos: Sequence[Path],
    weights: Path | None,
    out: Path,
    device: str,
    box: Box | None = None,
    batch: int = 1,
    only: Collection[Part] = PARTS,
    tell: Tell = lambda _: None,
    meshes: Meshes | None = None,
    engine: Engine = "torch",
    rerun: Path | None = None,
) -> None:
    """Write, for each photo, ``out/NAME``: masks, each hand alone, joints on the photo and in 3D, overview, and JSON.

    A folder stands for the photos in it; photos of one name get a number each. ``box`` says where the hands are in
    every photo; ``batch`` photos are worked on together; ``tell`` hears of each when its folder is complete. With
    ``meshes`` also those of the hands. ``rerun`` is a file for that viewer, with all photos; it is written last.

    Raises:
        AIHError: a photo, the box or the hand model is not what it should be, ``out`` or ``rerun`` cannot be written,
            or rerun is not installed: before the networks run and anything is written.
        KeyboardInterrupt: Ctrl-C or SIGTERM, between two batches.
    """
    check_apart(out, [given for given in photos if given.is_dir()])
    check_focal_length(meshes.focal_length if meshes else None)
    paths = [path for given in photos for path in photos_in(given)]
    for path in paths:
        image = read_photo(path)
        if box is not None:
            check_box(box, *image.shape[:2])
    folders = folders_for(paths, out)
    recording = _photos_recording(rerun, paths) if rerun else None
    options = meshes or Meshes()
    hdr = HDR.from_pretrained(weights, device=device, hand_model=options.hand_model, engine=engine)
    if meshes:
        _ = hdr.fitter  # which says what is wrong with the hand model
    with tqdm(total=len(paths), desc="photos", unit="photo", disable=None) as bar, Interruption() as interruption:
        for start in range(0, len(paths), batch):
            chosen = paths[start : start + batch]
            images, boxes = [read_photo(path) for path in chosen], [box] * len(chosen)
            results = hdr.batch(images, boxes, mesh=meshes is not None, focal_length=options.focal_length)
            done = zip(chosen, folders[start : start + batch], results, strict=True)
            for number, (path, folder, result) in enumerate(done, start):
                replaced = folder.exists()
                result.save(folder, only)
                if recording:
                    add_result(recording, number, str(path), result)
                tell(Written(path, result.found, folder, replaced, result.to_dict()))
                bar.update()
            interruption.check()
    if rerun and recording:
        write_bytes(rerun, recording.data())


def _photos_recording(path: Path, photos: Sequence[Path]) -> Recording:
    check_writable(path, "file")
    check_apart(path, photos)
    return photos_recording()


def infer_video(
    path: Path,
    weights: Path | None,
    out: Path,
    device: str,
    box: Box | None = None,
    smooth: float = SMOOTH,
    tell: Tell = lambda _: None,
    engine: Engine = "torch",
) -> None:
    """Write ``out/NAME``: ``overlay.mp4`` (masks and joints on every frame) and ``joints.npz`` (first axis: frames).

    Hands are followed from frame to frame as ``HandTracker`` does, with ``box`` and ``smooth`` as it takes them.

    Frames that cannot be decoded are left out. What takes memory is one frame. After Ctrl-C or SIGTERM, and before a
    frame of another size, the folder has all of the frames until then.

    Raises:
        AIHError: PyAV is not installed, the file is no video of frames of one size, or ``out`` cannot be written into.
        KeyboardInterrupt: Ctrl-C or SIGTERM.
    """
    (folder,) = folders_for([path], out)
    video = Video(path)
    frames = iter(video)
    first = next(frames, None)
    if first is None:
        found = f"{path}: expected a video with at least one whole frame, found {video.damaged} damaged ones"
        raise AIHError(video.fault or found)
    if box is not None:
        check_box(box, *first.image.shape[:2])
    hdr = HDR.from_pretrained(weights, device=device, views=VIDEO_VIEWS, engine=engine)
    replaced = folder.exists()
    with (
        Interruption() as interruption,
        result_folder(folder) as temporary,
        VideoWriter(temporary / "overlay.mp4", first.image, video.rate) as overlay,
        tempfile.TemporaryFile(dir=temporary) as file,
        tqdm(desc=path.name, unit="frame", disable=None) as bar,
    ):
        joints, track = _JointsOfFrames(file), HandTracker(hdr, box, smooth)
        for frame in chain([first], frames):
            result = track(frame.image, frame.time)
            overlay.add(result.draw(), frame.time)
            joints.add(result, frame.time)
            bar.update()
            if interruption.requested:
                break
        joints.write(temporary / "joints.npz")
    damaged = f", {video.damaged} damaged left out" if video.damaged else ""
    counts: dict[str, object] = {"frames": joints.count, "damaged": video.damaged}
    tell(Written(path, f"{joints.count} frames{damaged}", folder, replaced, counts))
    interruption.check()
    if video.fault:
        raise AIHError(f"{video.fault}; results of the {joints.count} frames before it are in {folder}")


class _JointsOfFrames:
    """The joints of frame after frame, in an unnamed file, so that a video may be long."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._frame = np.dtype([])
        self.count = 0

    def add(self, result: Result, time: float) -> None:
        arrays = {"times": np.array(time), **result.arrays()}
        self._frame = np.dtype([(name, array.dtype, array.shape) for name, array in arrays.items()])
        self._file.write(b"".join(array.tobytes() for array in arrays.values()))
        self.count += 1

    def write(self, path: Path) -> None:
        """``times`` (T,) s, and the ``arrays`` of T frames with a first axis of T."""
        self._file.flush()
        stored: NDArray[np.void] = np.memmap(self._file, self._frame, "r", shape=(self.count,))
        np.savez_compressed(path, allow_pickle=False, **{name: stored[name] for name in self._frame.names or ()})


def _one_line(path: Path) -> str:
    text = str(path)
    return text if text.isprintable() else ascii(text)[1:-1]
