"""HASM, HDRM and SHPE as ``hdr export`` stores them, computed by onnxruntime behind the same calls as torch's.

A folder holds ``config.json``, that of the network and the SHA-256 of the other file, and ``model.onnx``.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar, Self, cast

import torch
from torch import Tensor, nn

from aih_gen.errors import AIHError, AssetError
from aih_gen.extras import import_extra
from aih_gen.io.json import read_json
from hdr_model.config import HDRMConfig, NetworkConfig
from hdr_model.nets.hasm import HASM, HASMOutput, Logits
from hdr_model.nets.hdrm import HDRM
from hdr_model.nets.pretrained import PretrainedNetwork
from hdr_model.nets.shpe import SHPE, SHPEOutput
from hdr_model.weights import CONFIG_FILE, ONNX_FILE

CHECKSUM = "onnx_sha256"
"""Name of the checksum of ``model.onnx`` in ``config.json``."""
PRESENCE = "presence"


class ONNXNetwork(nn.Module):
    """The base of the three: a module without parameters, on the CPU and in float32 whatever surrounds it."""

    network: ClassVar[type[PretrainedNetwork]]
    """Torch's of the same task."""
    config: NetworkConfig

    def __init__(self, folder: Path) -> None:
        super().__init__()
        model = read_onnx(folder)
        described = self.network.without_weights(folder)
        self.folder, self.config, self.stride = folder, described.config, described.stride
        self.check_sides = described.check_sides
        self._session = make_session(model, f"{folder / ONNX_FILE}")
        self.outputs = [output.name for output in self._session.get_outputs()]
        if self.outputs != (expected := output_names(described)):
            raise AssetError(
                f"{folder / ONNX_FILE}: expected the outputs {', '.join(expected)}, found {', '.join(self.outputs)}"
            )

    @classmethod
    def from_pretrained(cls, folder: str | os.PathLike[str]) -> Self:
        """The network exported to ``folder``.

        Raises:
            AssetError: the folder, or what is in it, is not this network.
            AIHError: onnxruntime is not installed.
        """
        return cls(Path(folder))

    def __reduce__(self) -> tuple[Callable[[Path], Self], tuple[Path]]:
        return type(self), (self.folder,)  # a session cannot be pickled

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        """The method behind ``to``, ``cuda`` and the like.

        Raises:
            AIHError: they ask for another device than the CPU.
        """
        if (device := fn(torch.zeros(1)).device).type != "cpu":
            raise AIHError(f"engine onnxruntime: expected the device cpu, found {device}")
        return super()._apply(fn, recurse)  # type: ignore[no-untyped-call]

    def run_model(self, *inputs: Tensor) -> dict[str, Tensor]:
        """The outputs by name.

        Raises:
            AIHError: the inputs have other shapes than the network takes.
        """
        arrays = {}
        for place, tensor in zip(self._session.get_inputs(), inputs, strict=True):
            if not _fits(tensor.shape, place.shape):
                wanted, found = (" x ".join(map(str, shape)) for shape in (place.shape, tensor.shape))
                raise AIHError(f"{self.folder / ONNX_FILE}: expected {place.name} of {wanted}, found {found}")
            arrays[place.name] = tensor.detach().float().contiguous().numpy()
        results = self._session.run(None, arrays)
        return {name: torch.from_numpy(result) for name, result in zip(self.outputs, results, strict=True)}


class ONNXHASM(ONNXNetwork):
    """``HASM``, at any sides that its stride divides."""

    network = HASM

    def forward(self, image: Tensor) -> HASMOutput:
        """As HASM's."""
        self.check_sides(image)
        found = self.run_model(image)
        presence = found.pop(PRESENCE, None)
        return HASMOutput(cast(Logits, found), presence)


class ONNXHDRM(ONNXNetwork):
    """``HDRM``, at the side it was exported for."""

    network = HDRM
    config: HDRMConfig

    def forward(self, x: Tensor, validity: Tensor) -> Tensor:
        """As HDRM's."""
        return self.run_model(x, validity)["image"]


class ONNXSHPE(ONNXNetwork):
    """``SHPE``, at the side it was exported for."""

    network = SHPE

    def forward(self, image: Tensor) -> SHPEOutput:
        """As SHPE's."""
        return SHPEOutput(**self.run_model(image))


def output_names(network: PretrainedNetwork) -> list[str]:
    """The names of the stored network's outputs, in the order of ``flat_outputs``."""
    if isinstance(network, HASM):
        return [*network.mask_names, *([PRESENCE] if network.presence is not None else [])]
    return list(SHPEOutput._fields) if isinstance(network, SHPE) else ["image"]


def flat_outputs(output: HASMOutput | SHPEOutput | Tensor) -> tuple[Tensor, ...]:
    """A network's output as plain tensors."""
    if isinstance(output, Tensor):
        return (output,)
    if isinstance(output, SHPEOutput):
        return tuple(output)
    return (*output.values(), *([output.presence] if output.presence is not None else []))


def read_onnx(folder: Path) -> bytes:
    """The content of ``folder/model.onnx``.

    Raises:
        AssetError: it is not there, or not what ``hdr export`` wrote.
    """
    path = folder / ONNX_FILE
    try:
        model, document = path.read_bytes(), read_json(folder / CONFIG_FILE)
    except OSError as error:
        found = f"found none in {folder} ({error.strerror})"
        raise AssetError(f"{folder}: expected {CONFIG_FILE} and {ONNX_FILE} of hdr export, {found}") from None
    stored, found = document.get(CHECKSUM) if isinstance(document, dict) else None, hashlib.sha256(model).hexdigest()
    if stored != found:
        raise AssetError(f"{path}: expected SHA-256 {json.dumps(stored)[:80]} of {CONFIG_FILE}, found {found}")
    return model


def make_session(model: bytes, source: str) -> Any:
    """An ``onnxruntime.InferenceSession`` with as many threads as torch has; ``source`` names the model in errors.

    Raises:
        AIHError: onnxruntime is not installed.
        AssetError: it cannot run the model.
    """
    onnxruntime = _of_the_extra("onnxruntime")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 3  # of warnings there is none that a user could heed
    try:
        return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # its exceptions have no base of their own
        raise AssetError(f"{source}: expected a model that onnxruntime can run, found {error}") from error


def check_exporter() -> None:
    """Raise AIHError where what an export needs is not installed."""
    for package in ("onnx", "onnxruntime"):
        _of_the_extra(package)


def _of_the_extra(package: str) -> Any:
    return import_extra(package, "onnx", "ONNX", package)


def _fits(found: Sequence[int], wanted: Sequence[int | str]) -> bool:
    """True for a shape like ``wanted``, whose names stand for any number."""
    return len(found) == len(wanted) and all(
        isinstance(side, str) or side == size for size, side in zip(found, wanted, strict=True)
    )
