"""The speed at which shards are read, beside a folder of JPEG and PNG files and beside gzip in plain h5py, in one run.

python scripts/bench_read.py data/aih_render [--samples 256]

Writes the same samples three times into a temporary folder: as a shard; as AIH was first shipped, a JPEG for the image
and for each of the two targets and a PNG for each of the four masks, read with Pillow; and as one gzip dataset each,
read with h5py. Then reads random batches of all seven arrays, one process, files in the page cache, the three taking
turns, and prints megabytes on disk and the median of samples a second. Shards and gzip give the samples back to the bit
(checked here), JPEG does not. Last, the samples that one core reads, decodes and lays into a batch of tensors, pinned
where there is a GPU, by processor time and beside what FFCV publishes.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import h5py  # only here, outside aih_gen.shards: it is what shards are compared with
import numpy as np
import torch
import tyro
from PIL import Image

from aih_gen.compose.sample import Sample
from aih_gen.shards.reader import AIHShards
from aih_gen.shards.writer import write_shard
from aih_gen.typing import AnyArray, UInt8

IMAGES = ("image", "target_right", "target_left")
MASKS = ("amodal_right", "amodal_left", "visible_right", "visible_left")
FIELDS = (*IMAGES, *MASKS)
FFCV = 1800
"""Raw images of 256 x 256 a second and vCPU, from memory: what FFCV publishes of itself. Not measured here."""

TRAINED = ("rgb", "masks")
"""As training reads them: all images, and the bits of all masks."""

Batch = dict[str, AnyArray]
Read = Callable[[Sequence[int]], Batch]


@dataclass(frozen=True)
class Arguments:
    path: tyro.conf.Positional[Path]
    """A shard, or a folder of shards, to take samples from."""
    samples: int = 256
    batch: int = 32
    rounds: int = 9
    """Times that each contender reads all samples."""
    quality: int = 95
    """Of the JPEG files."""


def main() -> None:
    arguments = tyro.cli(Arguments, description=__doc__)
    source = AIHShards(arguments.path)
    samples = source[: arguments.samples]
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        write_shard(folder / "aih-00000.h5", [samples], len(samples), source.shards[0].header)
        _write_images(folder / "images", samples, arguments.quality)
        _write_gzip(folder / "gzip.h5", samples)
        shards = AIHShards(folder / "aih-00000.h5")
        with h5py.File(folder / "gzip.h5") as file:
            contenders: dict[str, tuple[Path, Read]] = {
                "shard, Zstd": (folder / "aih-00000.h5", lambda batch: shards.read(batch, FIELDS)),
                "JPEG + PNG, Pillow": (folder / "images", lambda batch: _read_images(folder / "images", batch)),
                "HDF5 gzip, h5py": (folder / "gzip.h5", lambda batch: _read_gzip(file, batch)),
            }
            seconds = _measure([read for _, read in contenders.values()], len(samples), arguments)
            height, width = source.size
            print(f"{len(samples)} samples of {width}x{height}, batches of {arguments.batch}, one process")
            print(f"JPEG quality {arguments.quality}; median of {arguments.rounds} rounds (slowest-fastest)")
            print(f"{'':20} {'MB':>8} {'samples/s':>10} {'':15} {'ms':>6}  {'shards are':14} lossless")
            for (name, (path, read)), times in zip(contenders.items(), seconds, strict=True):
                rate, worst, best = (len(samples) / f(times) for f in (statistics.median, max, min))
                ratio = statistics.median(theirs / ours for ours, theirs in zip(seconds[0], times, strict=True))
                print(f"{name:20} {_size(path) / 1e6:8.1f} {rate:10,.0f} {f'({worst:,.0f}-{best:,.0f})':15} "
                      f"{1e3 / rate:6.2f}  {f'{ratio:.1f}x as fast':14} {_lossless(read, samples)}")  # fmt: skip
            _print_collated(shards, len(samples), arguments)


def _print_collated(shards: AIHShards, count: int, arguments: Arguments) -> None:
    """Print what one core lays into batches: all three images of each sample, and its masks."""
    first = {name: torch.from_numpy(array) for name, array in shards.read(range(arguments.batch), TRAINED).items()}
    batch = {name: torch.empty_like(tensor, pin_memory=torch.cuda.is_available()) for name, tensor in first.items()}

    def read(chosen: Sequence[int]) -> Batch:
        arrays = shards.read(chosen, TRAINED)
        for name, array in arrays.items():
            batch[name][: len(array)].copy_(torch.from_numpy(array))
        return arrays

    (seconds,) = _measure([read], count, arguments, time.process_time)
    rate, (height, width) = count / statistics.median(seconds), shards.size
    kind = "pinned batches" if torch.cuda.is_available() else "batches (not pinned: no GPU)"
    print(f"into {kind}, a second and core: {rate:,.0f} samples, {len(IMAGES) * rate:,.0f} images of {width}x{height}")
    print(f"FFCV publishes {FFCV:,} raw images of 256x256 a second and vCPU (not measured here)")


def _measure(
    readers: Sequence[Read], count: int, arguments: Arguments, clock: Callable[[], float] = time.perf_counter
) -> list[list[float]]:
    """Seconds of each round of each reader; the first round warms up."""
    seconds: list[list[float]] = [[] for _ in readers]
    for number in range(-1, arguments.rounds):
        order = np.random.default_rng(number + 1).permutation(count).tolist()
        for read, times in zip(readers, seconds, strict=True):
            start = clock()
            for first in range(0, count, arguments.batch):
                read(order[first : first + arguments.batch])
            if number >= 0:
                times.append(clock() - start)
    return seconds


def _write_images(folder: Path, samples: Sequence[Sample], quality: int) -> None:
    folder.mkdir()
    for k, sample in enumerate(samples):
        for name in IMAGES:
            Image.fromarray(getattr(sample, name)).save(folder / f"{k}_{name}.jpg", quality=quality)
        for name in MASKS:
            Image.fromarray(getattr(sample, name)).convert("L").save(folder / f"{k}_{name}.png")


def _read_images(folder: Path, batch: Sequence[int]) -> Batch:
    read: Batch = {name: np.stack([_image(folder / f"{k}_{name}.jpg") for k in batch]) for name in IMAGES}
    return read | {name: np.stack([_image(folder / f"{k}_{name}.png") != 0 for k in batch]) for name in MASKS}


def _image(path: Path) -> UInt8:
    with Image.open(path) as image:
        return np.asarray(image)


def _write_gzip(path: Path, samples: Sequence[Sample]) -> None:
    with h5py.File(path, "w") as file:
        for name in FIELDS:
            arrays = np.stack([getattr(sample, name) for sample in samples])
            file.create_dataset(name, data=arrays, chunks=(1, *arrays.shape[1:]), compression="gzip")


def _read_gzip(file: h5py.File, batch: Sequence[int]) -> Batch:
    return {name: np.stack([file[name][k] for k in batch]) for name in FIELDS}


def _size(path: Path) -> int:
    return sum(file.stat().st_size for file in (path.iterdir() if path.is_dir() else [path]))


def _lossless(read: Read, samples: Sequence[Sample]) -> str:
    found = read(range(len(samples)))
    same = all(np.array_equal(found[name][k], getattr(s, name)) for name in FIELDS for k, s in enumerate(samples))
    return "yes" if same else "no"


if __name__ == "__main__":
    main()
