"""A run on disk, from which it can be resumed.

A run is a folder: ``run.json`` (its settings, the code and the data it was made with), ``last.pt`` (everything needed
to go on as if never stopped), ``metrics.jsonl`` and ``tensorboard/``, ``pictures/``, ``weights/``, the trained network,
and, where it was validated, ``best/``, the network of the step whose validation loss was lowest.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, BinaryIO, Protocol, cast

import torch

import aih_gen
import hdr_model
from aih_gen.errors import AIHError, AssetError
from aih_gen.io.write import exclusive, write_bytes, write_text
from hdr_model.config import HASMTrainConfig, HDRMTrainConfig, SHPETrainConfig
from hdr_model.nets.external_weights import why_unread
from hdr_model.nets.pretrained import PretrainedNetwork
from hdr_model.weights import SETTINGS, find_weights, read_settings

STATE = "last.pt"
SCHEMA = 1
"""Of ``last.pt``."""
LOCK = ".lock"
FORMER = {field.name for kind in (HASMTrainConfig, HDRMTrainConfig, SHPETrainConfig) for field in fields(kind)}
"""Settings of one network that earlier runs of all have."""
_MARK_LENGTH = len("sha256:") + 64
_COMMENT_LENGTH = 2
"""Bytes of the number in a zip archive, its last ones, that says how long the comment behind it is."""
MAY_CHANGE = ("data", "validation", "steps", "code.sources", "code.torch")
"""Settings in which a resumed run may differ: where the data lie, how long it goes on, and the code."""


@dataclass
class BestStep:
    """The step whose validation loss was lowest."""

    step: int = 0
    loss: float = math.inf

    def state_dict(self) -> dict[str, Any]:
        return asdict(self)

    def load_state_dict(self, state_dict: dict[str, Any], /) -> None:
        self.step, self.loss = state_dict["step"], state_dict["loss"]


class _Stateful(Protocol):
    def state_dict(self) -> dict[str, Any]: ...
    def load_state_dict(self, state_dict: dict[str, Any], /) -> Any: ...


@contextlib.contextmanager
def open_run(out: Path, settings: Mapping[str, Any], resume: bool) -> Iterator[None]:
    """Make ``out`` the folder of a run with these settings, or check that it is one; locked within the block.

    Raises:
        AIHError: ``out`` holds something and ``resume`` is off, or it is on and the settings differ or are damaged; or
            another process trains in it.
    """
    _check_folder(out, settings, resume)
    out.mkdir(parents=True, exist_ok=True)
    with exclusive(out / LOCK, f"{out}: expected no other training in this folder, found one that is running"):
        if _check_folder(out, settings, resume) != _plain(settings):
            write_text(out / SETTINGS, json.dumps(settings, indent=1) + "\n")
        yield


def save_state(out: Path, step: int, parts: Mapping[str, _Stateful]) -> None:
    """Write ``last.pt``, the state of every part after ``step`` steps; the old one stays until the new one is whole.

    Its SHA-256 is the comment of the zip archive that torch writes, so that the file checks itself.
    """
    state = {"schema": SCHEMA, "step": step, **{name: part.state_dict() for name, part in parts.items()}}
    file = io.BytesIO()  # torch itself does not say that a disk is full
    torch.save(state, file)
    comment = _digest(file, file.seek(-_COMMENT_LENGTH, 2)).encode()
    file.write(len(comment).to_bytes(_COMMENT_LENGTH, "little") + comment)
    write_bytes(out / STATE, file.getbuffer())


def load_state(out: Path, parts: Mapping[str, _Stateful], device: torch.device) -> int:
    """Put the saved state into the parts; the number of steps done, 0 where nothing was saved yet.

    Raises:
        AIHError: the file is damaged or belongs to other networks.
    """
    path = out / STATE
    if not path.exists():
        return 0
    try:
        _check_digest(path)
        state = torch.load(path, map_location=device, weights_only=True)
        if state.get("schema") != SCHEMA:
            raise ValueError(f"expected checkpoint schema {SCHEMA}, found {state.get('schema')}")
        for name, part in parts.items():
            part.load_state_dict(state[name])
        return int(state["step"])
    except Exception as error:
        raise AIHError(
            f"{path}: expected a checkpoint to resume from, found none that can be used ({why_unread(error)})"
        ) from error


def steps_done(out: Path) -> int:
    """The steps whose weights are kept in the folder of a run; 0 where there is none.

    Raises:
        AIHError: ``last.pt`` is damaged.
    """
    return load_state(out, {}, torch.device("cpu"))


def start_from(network: PretrainedNetwork, folder: Path) -> None:
    """Give ``network`` trained weights, found in ``folder`` as ``find_weights`` says.

    A part that one of the two lacks, such as a branch or the transformer blocks, begins with its random numbers or is
    left out: those are the settings that are true or false.

    Raises:
        AssetError: there are none, or those of a network of other sizes.
    """
    place = find_weights(folder, network.task)
    trained = type(network).from_pretrained(place)
    wanted, found = asdict(network.config), asdict(trained.config)
    own = network.state_dict()
    common = {name: tensor for name, tensor in trained.state_dict().items() if name in own}
    other = sorted((isinstance(wanted[name], bool), name) for name in wanted if wanted[name] != found[name])
    if other and (not other[0][0] or any(tensor.shape != own[name].shape for name, tensor in common.items())):
        name = other[0][1]
        raise AssetError(
            f"{place}: expected a network of the sizes that are to be trained, with {name} {wanted[name]}, found "
            f"{found[name]}; --preset says which"
        )
    network.load_state_dict(own | common)


def code_version() -> dict[str, str]:
    """The code that computes here: SHA-256 over this project's sources, and torch's version."""
    sources = hashlib.sha256()
    for package in (aih_gen, hdr_model):
        root = Path(package.__path__[0])
        for path in sorted(root.rglob("*.py")):
            sources.update(f"{root.name}/{path.relative_to(root).as_posix()}\n".encode() + path.read_bytes())
    return {"sources": sources.hexdigest(), "torch": torch.__version__}


def _digest(file: BinaryIO, length: int) -> str:
    """The mark of a checkpoint with these first ``length`` bytes, all before the length of its zip comment."""
    file.seek(0)
    sha256, left = hashlib.sha256(), length
    while left:
        chunk = file.read(min(left, 1 << 20))
        sha256.update(chunk)
        left -= len(chunk)
    return f"sha256:{sha256.hexdigest()}"


def _check_digest(path: Path) -> None:
    """Compare a checkpoint with its mark, which those of earlier versions lack."""
    with path.open("rb") as file:
        size = file.seek(0, 2)
        file.seek(max(0, size - _MARK_LENGTH))
        mark = file.read()
        if not re.fullmatch(rb"sha256:[0-9a-f]{64}", mark):
            return
        if _digest(file, max(0, size - _MARK_LENGTH - _COMMENT_LENGTH)).encode() != mark:
            raise ValueError("its SHA-256 is not the one that was stored with it")


def _check_folder(out: Path, settings: Mapping[str, Any], resume: bool) -> dict[str, Any] | None:
    """The settings of the run in ``out``, None where there is none."""
    if out.exists() and not out.is_dir():
        raise AIHError(f"{out}: expected a folder, found a file")
    before = read_settings(out) if resume else None
    found = sorted(path.name for path in out.iterdir() if not path.name.startswith(".")) if out.exists() else []
    if before is None:
        if found:
            expected = "a run to resume" if resume else "an empty folder, or --resume"
            raise AIHError(f"{out}: expected {expected}, found {found[0]} in it")
        return None
    for name, (there, here) in _differences(before, _plain(settings)).items():
        if name not in MAY_CHANGE and not (name in FORMER and here is None):
            raise AIHError(f"{out}, {name}: expected {there} as before, found {here}; a run is resumed unchanged")
    return before


def _plain(settings: Mapping[str, Any]) -> dict[str, Any]:
    """As they are read from JSON."""
    return cast("dict[str, Any]", json.loads(json.dumps(settings)))


def _differences(before: Mapping[str, Any], now: Mapping[str, Any], prefix: str = "") -> dict[str, tuple[Any, Any]]:
    found: dict[str, tuple[Any, Any]] = {}
    for key in dict.fromkeys([*before, *now]):
        there, here = before.get(key), now.get(key)
        if isinstance(there, dict) and isinstance(here, dict):
            found |= _differences(there, here, f"{prefix}{key}.")
        elif there != here:
            found[prefix + key] = (there, here)
    return found
