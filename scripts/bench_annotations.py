"""Speed and peak memory of reading InterHand2.6M's annotations: python scripts/bench_annotations.py.

Writes a tree of --count annotations in the layout of v1.0 into a temporary folder (about 700 bytes an annotation; 40
cameras see each frame; fits and joints agree; every image has a name of its own, but all names lead to one file).
Then reads it in a fresh process as ``aih-gen annotate`` does: four files joined, fits compared with joints, each
image decoded. Prints annotations a second of CPU time, and the peak of the process's memory (resident set).
"""

from __future__ import annotations

import json
import multiprocessing
import resource
import tempfile
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

import numpy as np
import torch
import tyro
from PIL import Image
from scipy.spatial.transform import Rotation
from tqdm import tqdm

from aih_gen.config import SIDES
from aih_gen.hands import export_free_hand, load_hand_model
from aih_gen.hands.joints import FROM_INTERHAND
from aih_gen.sources.interhand26m import read_interhand

CAMERAS = tuple(str(400000 + 7 * k) for k in range(40))
WIDTH, HEIGHT = 334, 512
SEQUENCE = "Capture0/0266_dh_cmonmyhand"
FIRST_FRAME = 10000
FRAMES_AT_ONCE = 256


@dataclass(frozen=True)
class Arguments:
    count: int = 1_000_000
    """Annotations."""


def main() -> None:
    count = tyro.cli(Arguments, description=__doc__).count
    with tempfile.TemporaryDirectory() as temporary:
        root, hand_model = Path(temporary) / "data", Path(temporary) / "mano"
        for side in SIDES:
            export_free_hand(hand_model, side)
        size = write_tree(root, hand_model, count)
        with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as fresh:
            used, wall, seconds, peak = fresh.submit(measure, root, hand_model).result()
    print(f"{count:,} annotations, {size / 1e6:.0f} MB of JSON: {used:,} used")
    print(f"{count / seconds:,.0f} annotations a second of CPU time ({seconds:.1f} s; {wall:.1f} s on the clock)")
    print(f"peak memory: {peak / 1024:.0f} MiB")


def measure(root: Path, hand_model: Path) -> tuple[int, float, float, float]:
    """Annotations used, seconds on the clock and of CPU time, and the peak of the resident set in KiB."""
    wall, started = time.perf_counter(), time.process_time()
    read = read_interhand(root, "test", "all", str(hand_model), max_fit_error=0.02, keep_unfitted=False)
    seconds = time.process_time() - started
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return len(read.annotations), time.perf_counter() - wall, seconds, peak


def write_tree(root: Path, hand_model: Path, count: int) -> int:
    """A tree of ``count`` annotations; returns the bytes of its JSON."""
    frames = -(-count // len(CAMERAS))
    _write_images(root / "images" / "test" / SEQUENCE, frames)
    prefix = root / "annotations" / "test" / "InterHand2.6M_test_"
    prefix.parent.mkdir(parents=True)
    with open(f"{prefix}data.json", "w") as file:
        file.write('{"images": ')
        _write_list(file, (_image(k) for k in tqdm(range(count), desc="images", unit="record", leave=False)))
        file.write(', "annotations": ')
        _write_list(file, (_annotation(k) for k in tqdm(range(count), desc="annotations", unit="record", leave=False)))
        file.write("}")
    Path(f"{prefix}camera.json").write_text(json.dumps({"0": _cameras()}))
    with open(f"{prefix}joint_3d.json", "w") as joints, open(f"{prefix}MANO_NeuralAnnot.json", "w") as fits:
        for file in (joints, fits):
            file.write('{"0": {')
        for k, (joint, fit) in enumerate(_frames(hand_model, frames)):
            for file, value in ((joints, joint), (fits, fit)):
                file.write(f'{", " if k else ""}"{FIRST_FRAME + k}": {json.dumps(value)}')
        for file in (joints, fits):
            file.write("}}")
    return sum(path.stat().st_size for path in prefix.parent.iterdir())


def _write_images(folder: Path, frames: int) -> None:
    """A folder of names of one image, and a link to that folder for each other camera."""
    first = folder / f"cam{CAMERAS[0]}"
    first.mkdir(parents=True)
    slope = np.linspace(20, 60, HEIGHT).astype(np.uint8)[:, None, None]
    image = folder / "image.jpg"
    Image.fromarray(np.broadcast_to(slope, (HEIGHT, WIDTH, 3)).copy()).save(image, quality=95)
    for k in range(frames):
        (first / f"image{FIRST_FRAME + k}.jpg").symlink_to(image)
    for camera in CAMERAS[1:]:
        (folder / f"cam{camera}").symlink_to(first)


def _write_list(file: TextIO, items: Iterable[Any]) -> None:
    for k, item in enumerate(items):
        file.write(("[" if k == 0 else ", ") + json.dumps(item))
    file.write("]")


def _image(k: int) -> dict[str, Any]:
    frame, camera = FIRST_FRAME + k // len(CAMERAS), CAMERAS[k % len(CAMERAS)]
    name = f"{SEQUENCE}/cam{camera}/image{frame}.jpg"
    return {
        "id": k, "file_name": name, "width": WIDTH, "height": HEIGHT, "capture": 0, "subject": 3,
        "seq_name": "0266_dh_cmonmyhand", "camera": camera, "frame_idx": frame,
    }  # fmt: skip


def _annotation(k: int) -> dict[str, Any]:
    return {
        "id": k, "image_id": k, "bbox": [80.5 + k % 7, 120.25, 170.75, 190.5], "joint_valid": [[1]] * 42,
        "hand_type": "interacting", "hand_type_valid": 1,
    }  # fmt: skip


def _cameras() -> dict[str, Any]:
    rotation = Rotation.from_euler("y", 0.2).as_matrix().tolist()
    values = {"campos": [10.0, 15.0, -1000.0], "camrot": rotation, "focal": [1250.0, 1253.0], "princpt": [168.4, 254.7]}
    return {name: dict.fromkeys(CAMERAS, value) for name, value in values.items()}


def _frames(hand_model: Path, frames: int) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """joint_3d's and the fits' entry of each frame."""
    models = [load_hand_model(str(hand_model), side, tips="smplx") for side in SIDES]
    rng = np.random.default_rng(0)
    for start in tqdm(range(0, frames, FRAMES_AT_ONCE), desc="frames", unit="batch", leave=False):
        count = min(FRAMES_AT_ONCE, frames - start)
        parts = {"pose": rng.normal(0, 0.2, (2, count, 48)), "shape": rng.normal(0, 0.5, (2, count, 10))}
        parts["trans"] = rng.normal(0, 0.05, (2, count, 3))
        theirs = np.zeros((count, 2, 21, 3))
        for side, model in enumerate(models):
            with torch.no_grad():
                out = model(*(torch.from_numpy(part[side]).float() for part in parts.values()))
            theirs[:, side, FROM_INTERHAND] = 1000 * out.joints.numpy()
        for k in range(count):
            world = theirs[k].reshape(42, 3).tolist()
            fit: dict[str, Any] = {name: {part: values[side, k].tolist() for part, values in parts.items()}
                   for side, name in enumerate(SIDES)}  # fmt: skip
            yield {"world_coord": world, "joint_valid": [[1]] * 42, "hand_type": "interacting"}, fit


if __name__ == "__main__":
    main()
