"""Small inputs for every command that writes, and what each should leave behind."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from aih_gen.shards.writer import write_shard
from hdr_model.config import preset
from hdr_model.nets.hasm import HASM
from hdr_model.nets.hdrm import HDRM
from hdr_model.nets.shpe import SHPE
from tests.data.interhand import export_hands, write_tree
from tests.data.samples import make_header, make_sample
from tests.torture.children import command

Tree = dict[str, str]
"""SHA-256 by path within a folder, or of a single file by ''."""


@dataclass(frozen=True)
class Command:
    """A command that writes to OUT."""

    arguments: tuple[str, ...]
    whole: bool = False
    """OUT appears in one step; else file by file, each whole, and the same command goes on."""
    needs_folder: bool = False
    """OUT must be there."""

    def at(self, out: Path) -> list[str]:
        """The arguments that write to ``out``."""
        if self.needs_folder:
            out.mkdir(parents=True, exist_ok=True)
        return [argument.replace("OUT", str(out)) for argument in self.arguments]

    def without(self, *options: str) -> list[str]:
        """The arguments behind the program's name, but for these options and their values."""
        kept, rest = [], list(self.arguments[1:])
        while rest:
            argument = rest.pop(0)
            if argument in options:
                rest.pop(0)
            else:
                kept.append(argument)
        return kept


UNSTEADY = ("tensorboard", "run.json", "metrics.jsonl", "last.pt")
"""Parts of a run that hold times, or the names of places."""


SHEETS = ("preview.jpg",)
"""Show the samples that there are when a command, or one task of several, ends."""


@dataclass(frozen=True)
class Result:
    """The undisturbed result of a command."""

    tree: Tree
    events: int
    """Changes to files on the way."""
    writes: int
    """Writes to files on the way, where they are counted."""


@dataclass
class Workshop:
    """Inputs, commands and their results."""

    folder: Path
    commands: Mapping[str, Command]
    results: dict[str, Result] = field(default_factory=dict)
    tries: int = 0
    _made: dict[str, Path] = field(default_factory=dict)

    def expected(self, name: str) -> Result:
        """The result of one command, which is run once."""
        if name not in self.results:
            out = self.new_folder()
            outcome = command(self.commands[name].at(out))
            assert outcome.code == 0, f"{name}: {outcome}"
            self.results[name], self._made[name] = Result(tree(out), outcome.events, outcome.writes), out
        return self.results[name]

    def made(self, name: str) -> Path:
        """The folder of that result."""
        self.expected(name)
        return self._made[name]

    def new_folder(self) -> Path:
        """The path of a folder that is not there yet."""
        self.tries += 1
        return self.folder / f"try-{self.tries}" / "out"

    def fault(self, name: str, out: Path) -> str:
        """The fault of ``out`` after an attack: half of something in it, or it can't be completed; '' if none."""
        expected, found = self.expected(name).tree, tree(out)
        if self.commands[name].whole and found not in ({}, expected):
            return f"{name}: half a folder: {sorted(found)}"
        finished = {
            key for key in found if key.endswith((".h5", ".png", ".jpg", ".html", ".npz")) and key not in SHEETS
        }
        if half := [key for key in finished if found[key] != expected.get(key)]:
            return f"{name}: {half[0]} is not whole"
        if found != expected or temporaries(out):
            again = command(self.commands[name].at(out))
            if again.code:
                return f"{name}: cannot be completed: {again}"
        if (completed := tree(out)) != expected:
            differing = sorted(key for key in expected.keys() | completed if expected.get(key) != completed.get(key))
            return f"{name}: completed otherwise: {differing[:3]}"
        if left := temporaries(out):
            return f"{name}: left behind {left[0]}"
        return ""


def make_inputs(folder: Path) -> Mapping[str, Command]:
    """Shards, weights and a photo in ``folder``; the commands that read them, by name.

    Raises:
        AssertionError: the shards that others are made from could not be made.
    """
    for number in range(3):
        _write_shard(folder / f"shards/aih_render-{number:05d}.h5", range(4 * number, 4 * number + 4))
    _write_weights(folder / "weights")
    photo = make_sample(3, 96).image
    Image.fromarray(photo).save(folder / "photo.png")
    rng = np.random.default_rng(0)
    pose = rng.normal(0, 0.2, (5, 2, 48)).astype(np.float32)
    np.savez(folder / "fits.npz", pose=pose, betas=np.zeros((5, 2, 10)), transl=np.full((5, 2, 3), 0.5))
    shards, weights = str(folder / "shards"), str(folder / "weights")
    hands = export_hands(folder / "hands")
    write_tree(folder / "interhand", hands, frames=1)
    run = (
        "--data", shards, "--preset", "nano", "--size", "32", "--batch-size", "2", "--steps", "6", "--log-every", "2",
        "--checkpoint-every", "2", "--picture-every", "3", "--device", "cpu", "--resume",
    )  # fmt: skip
    export = ("aih-gen", "export", shards, "--out", "OUT", "--to")
    syn = ("aih-gen", "syn", "--source", shards, "--count", "12", "--size", "64", "--shard-size", "3", "--out", "OUT")
    annotate = (
        "aih-gen", "annotate", "--dataset", "interhand26m", "--root", str(folder / "interhand"), "--split", "test",
        "--hand-model", str(hands), "--size", "64", "--shard-size", "2", "--out", "OUT",
    )  # fmt: skip
    infer = ("hdr", "infer", str(folder / "photo.png"), "--weights", weights, "--device", "cpu", "--out", "OUT")
    made = folder / "made"
    outcome = command([argument.replace("OUT", str(made)) for argument in syn])
    assert outcome.code == 0, str(outcome)
    return {
        "syn": Command(syn),
        "train": Command(("hdr", "train", "shpe", *run, "--out", "OUT")),
        "annotate": Command(annotate),
        "import npz": Command(("aih-gen", "import", str(folder / "fits.npz"), "--from", "npz", "--out", "OUT")),
        "export coco": Command((*export, "coco"), whole=True),
        "export webdataset": Command((*export, "webdataset"), whole=True),
        "export aih-folders": Command((*export, "aih-folders"), whole=True),
        "merge": Command(("aih-gen", "merge", str(made), "--out", "OUT"), whole=True),
        "split": Command(("aih-gen", "split", str(made), "--out", "OUT"), whole=True),
        "preview": Command(("aih-gen", "preview", shards, "--out", "OUT/page.html"), needs_folder=True),
        "infer": Command(infer),
    }


def temporaries(out: Path) -> list[str]:
    """Files of writes that did not come to their end; the same command again takes them away."""
    return [path.name for path in out.parent.rglob(".*.tmp")]


def tree(folder: Path) -> Tree:
    """All files of a folder but for temporary ones, whose names begin with a dot, and ``UNSTEADY`` ones."""
    if not folder.exists():
        return {}
    files = {str(path.relative_to(folder)): path for path in sorted(folder.rglob("*")) if path.is_file()}
    return {
        name: hashlib.sha256(path.read_bytes()).hexdigest()
        for name, path in files.items()
        if not any(part.startswith(".") or part in UNSTEADY for part in Path(name).parts)
    }


def _write_shard(path: Path, indices: range) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_shard(path, [[make_sample(index) for index in indices]], len(indices), make_header())


def _write_weights(folder: Path) -> None:
    torch.manual_seed(0)  # the same attacks in every run
    for network in (HASM(preset("hasm", "nano")), HDRM(preset("hdrm", "nano")), SHPE(preset("shpe", "nano"))):
        network.save_pretrained(folder / network.task)
