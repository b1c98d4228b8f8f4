"""``hdr infer``: photos, folders of photos and videos in, folders of results out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import chain
from pathlib import Path

from tqdm import tqdm

from aih_gen.errors import AIHError
from hdr_model.device import choose_device
from hdr_model.inference.photos import photos_in, read_photo
from hdr_model.inference.pipeline import HDR
from hdr_model.inference.result import Box
from hdr_model.inference.video import VideoWriter, open_video
from hdr_model.inference.write import joints_of, on_photo, write_joints, write_result


def infer_photos(
    photos: Sequence[Path], weights: Path | None, out: Path, device: str, box: Box | None = None, batch: int = 1
) -> None:
    """Write, for each photo, ``out/NAME``: masks, each hand alone, joints on the photo and in 3D, overview, and JSON.

    A folder stands for the photos in it. Photos of one name are told apart by a number. ``box`` says where the hands
    are in every photo; ``batch`` photos are worked on together.

    Raises:
        AIHError: a photo cannot be read (checked before anything is written), or ``out`` is a file.
    """
    paths = [path for given in photos for path in photos_in(given)]
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
    joints = []
    with VideoWriter(folder / "overlay.mp4", first, rate) as writer:
        for frame in tqdm(chain([first], frames), desc=video.name, unit="frame"):
            result = hdr(frame, box)
            writer.add(on_photo(result, frame))
            joints.append(joints_of(result))
    write_joints(folder / "joints.npz", joints)


def _check_folder(out: Path) -> None:
    if out.exists() and not out.is_dir():
        raise AIHError(f"{out} is a file; --out needs a folder")
