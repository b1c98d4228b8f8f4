"""Every kind of file that the project reads, how it is read, and ways to damage it."""

from __future__ import annotations

import hashlib
import json
import shutil
import signal
from collections.abc import Callable, Mapping, Sequence
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from io import StringIO
from pathlib import Path

import av
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from aih_gen import AIHShards, load_hand_model
from aih_gen.cli import main as aih_gen
from aih_gen.errors import AIHError
from aih_gen.sources.fits import read_fits
from hdr_model import HASM
from hdr_model.cli import main as hdr
from hdr_model.inference.photos import read_photo
from hdr_model.nets.external_weights import read_external
from tests.data.samples import make_sample

SECONDS = 10
"""One file may take."""


class Refused(Exception):
    """A damaged file was found out, in one sentence."""


@dataclass(frozen=True)
class Kind:
    """A kind of file: where it lies in a folder of its own, and its reader."""

    name: str
    read: Callable[[Path], str]
    """Of the folder: a digest of all that was read, or an AIHError or Refused."""
    protected: bool = False
    """By a checksum: a damaged file is refused or reads as before."""
    cheap: bool = True


def read_shard(folder: Path) -> str:
    found = hashlib.sha256()
    for sample in AIHShards(folder / "a.h5"):
        for name, value in sorted(vars(sample).items()):
            found.update(name.encode() + (value.tobytes() if isinstance(value, np.ndarray) else repr(value).encode()))
    return found.hexdigest()


def read_manifest(folder: Path) -> str:
    _run(aih_gen, "verify", str(folder), refused=(1, 2))
    return json.dumps(json.loads((folder / "manifest.json").read_text()), sort_keys=True)


def read_weights(folder: Path) -> str:
    network = HASM.from_pretrained(folder)
    found = hashlib.sha256(repr(network.config).encode())
    for name, tensor in sorted(network.state_dict().items()):
        found.update(name.encode() + tensor.numpy().tobytes())
    return found.hexdigest()


def resume(folder: Path) -> str:
    arguments = json.loads((folder.parent / "resume.json").read_text())
    _run(hdr, *arguments, "--out", str(folder))
    return hashlib.sha256((folder / "weights/model.safetensors").read_bytes()).hexdigest()


def import_npz(folder: Path) -> str:
    out = folder / "imported"
    shutil.rmtree(out, ignore_errors=True)
    _run(aih_gen, "import", str(folder / "fits.npz"), "--from", "npz", "--out", str(out))
    return ""


def annotate(folder: Path) -> str:
    arguments = json.loads((folder.parent / "annotate.json").read_text())
    _run(aih_gen, *arguments, "--root", str(folder), "--out", str(folder / "made"))
    shutil.rmtree(folder / "made", ignore_errors=True)
    return ""


def infer_video(folder: Path) -> str:
    weights = str(folder.parent.parent / "weights")
    _run(hdr, "infer", "--video", str(folder / "a.mp4"), "--weights", weights, "--out", str(folder / "out"))
    shutil.rmtree(folder / "out", ignore_errors=True)
    return ""


KINDS = (
    Kind("a.h5", read_shard, protected=True),
    Kind("manifest.json", read_manifest, protected=True),
    Kind("model.safetensors", read_weights, protected=True),
    Kind("config.json", read_weights),
    Kind("last.pt", resume, protected=True, cheap=False),
    Kind("run.json", resume, cheap=False),
    Kind("metrics.jsonl", resume, cheap=False),
    Kind("fits.npz", import_npz),
    Kind("deflated.npz", lambda folder: str(len(read_fits(folder / "deflated.npz")))),
    Kind("fits.json", lambda folder: str(len(read_fits(folder / "fits.json")))),
    Kind("a.png", lambda folder: str(read_photo(folder / "a.png").shape)),
    Kind("a.jpg", lambda folder: str(read_photo(folder / "a.jpg").shape)),
    Kind("a.webp", lambda folder: str(read_photo(folder / "a.webp").shape)),
    Kind("a.tif", lambda folder: str(read_photo(folder / "a.tif").shape)),
    Kind("MANO_RIGHT.pkl", lambda folder: str(load_hand_model(folder / "MANO_RIGHT.pkl", side="right").num_vertices)),
    Kind("foreign.pth", lambda folder: str(len(read_external(folder / "foreign.pth")))),
    Kind("joint_3d.json", annotate, cheap=False),
    Kind("a.mp4", infer_video, cheap=False),
)


def _run(main: Callable[[list[str]], int], *arguments: str, refused: tuple[int, ...] = (2,)) -> None:
    with redirect_stderr(StringIO()) as said, redirect_stdout(StringIO()):
        code = main(list(arguments))
    if code in refused:
        raise Refused(said.getvalue())
    assert code == 0, said.getvalue()


Operation = Callable[[bytes, np.random.Generator], bytes]


def flip(raw: bytes, rng: np.random.Generator) -> bytes:
    """One bit the other way."""
    place, bit = int(rng.integers(len(raw))), int(rng.integers(8))
    return raw[:place] + bytes([raw[place] ^ (1 << bit)]) + raw[place + 1 :]


def truncate(raw: bytes, rng: np.random.Generator) -> bytes:
    """Only a beginning."""
    return raw[: int(rng.integers(len(raw)))]


_SPLINTERS = (
    b"\0", b"\xff" * 4, b"-1", b"1e999", b"NaN", b"null", b"[" * 5000, b'{"a":' * 5000, b'"', b"\n", b"%s", b"../",
    b"\x7f\xff\xff\xff", b"99999999999999999999", b"true", b"{}", b"[]",
)  # fmt: skip


def mutate(raw: bytes, rng: np.random.Generator) -> bytes:
    """Up to eight changes: bytes replaced, left out, repeated, moved, or splinters of other things put in."""
    data = bytearray(raw)
    for _ in range(int(rng.integers(1, 9))):
        start = int(rng.integers(len(data) + 1))
        stop = min(len(data), start + int(rng.geometric(0.1)))
        what = int(rng.integers(5))
        if what == 0:
            data[start:stop] = rng.bytes(stop - start)
        elif what == 1:
            del data[start:stop]
        elif what == 2:
            data[start:start] = data[start:stop] * int(rng.integers(1, 4))
        elif what == 3:
            data[start:stop] = _SPLINTERS[int(rng.integers(len(_SPLINTERS)))]
        else:
            other = int(rng.integers(len(data) + 1))
            data[start:stop] = data[other : other + stop - start]
    return bytes(data)


OPERATIONS: Mapping[str, Operation] = {"flip": flip, "truncate": truncate, "mutate": mutate}


def probe(folder: Path, name: str, operation: str, seeds: range, log: Path) -> None:
    """Damage the file of ``folder`` once a seed and read it; ``log`` gets each seed, and what broke a promise.

    A file that takes longer than ``SECONDS`` of processor time ends the process.
    """
    kind = next(kind for kind in KINDS if kind.name == name)
    path = next(folder.rglob(f"*{name}"))
    raw, expected = path.read_bytes(), kind.read(folder)
    copy = folder.parent / f"{folder.name}-{operation}"
    with log.open("w", buffering=1) as report:
        for seed in seeds:
            shutil.rmtree(copy, ignore_errors=True)
            shutil.copytree(folder, copy)
            damaged = copy / path.relative_to(folder)
            damaged.write_bytes(OPERATIONS[operation](raw, np.random.default_rng(seed)))
            report.write(f"{seed}\t")
            signal.setitimer(signal.ITIMER_PROF, SECONDS)
            try:
                found = kind.read(copy)
            except (AIHError, Refused):
                fault = ""
            except BaseException as error:  # a user would see a traceback
                fault = f"{type(error).__name__}: {str(error)[:200]!r}"
            else:
                fault = "read as something else" if kind.protected and found != expected else ""
            signal.setitimer(signal.ITIMER_PROF, 0)
            report.write(f"{fault}\n")


def make_files(folder: Path, commands: Mapping[str, Sequence[str]], made: Mapping[str, Path]) -> None:
    """Write a folder ``NAME`` with a file of each kind, and all that its reader needs.

    Args:
        folder: of the folders.
        commands: the arguments of ``train`` and ``annotate``, without places.
        made: the weights of HASM, a whole ``run``, generated ``shards``, ``interhand`` and ``hands``.
    """
    folder.mkdir()
    (folder / "resume.json").write_text(json.dumps(commands["train"]))
    (folder / "annotate.json").write_text(json.dumps(commands["annotate"]))
    trees = {"manifest.json": made["shards"], "joint_3d.json": made["interhand"]}
    trees |= dict.fromkeys(("model.safetensors", "config.json"), made["weights"])
    trees |= dict.fromkeys(("last.pt", "run.json", "metrics.jsonl"), made["run"])
    for name, source in trees.items():
        shutil.copytree(source, folder / name)
    for kind in KINDS:
        (folder / kind.name).mkdir(exist_ok=True)
    shutil.copyfile(next(made["shards"].glob("*.h5")), folder / "a.h5/a.h5")
    rng = np.random.default_rng(0)
    pose, betas, transl = rng.normal(0, 0.2, (5, 2, 48)), np.zeros((5, 2, 10)), np.full((5, 2, 3), 0.5)
    np.savez(folder / "fits.npz/fits.npz", pose=pose, betas=betas, transl=transl)
    np.savez_compressed(
        folder / "deflated.npz/deflated.npz",
        pose=pose, betas=betas, transl=transl, valid=np.ones((5, 2), bool),
    )  # fmt: skip
    frame = {
        side: {"pose": pose[0, k].tolist(), "shape": betas[0, k].tolist(), "trans": transl[0, k].tolist()}
        for k, side in enumerate(("right", "left"))
    }
    (folder / "fits.json/fits.json").write_text(json.dumps({"0": {str(number): frame for number in range(5)}}))
    image = Image.fromarray(make_sample(3, 96).image)
    for name in ("a.png", "a.jpg", "a.webp", "a.tif"):
        image.save(folder / name / name)
    shutil.copyfile(made["hands"] / "MANO_RIGHT.pkl", folder / "MANO_RIGHT.pkl/MANO_RIGHT.pkl")
    torch.save({"state_dict": HASM.from_pretrained(made["weights"]).state_dict()}, folder / "foreign.pth/foreign.pth")
    _write_video(folder / "a.mp4/a.mp4", np.asarray(image))


def _write_video(path: Path, image: NDArray[np.uint8]) -> None:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.height, stream.width, stream.pix_fmt = *image.shape[:2], "yuv420p"
        for _ in range(3):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image)))
        container.mux(stream.encode())
