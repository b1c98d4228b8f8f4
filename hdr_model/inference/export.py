"""``hdr export``: the three networks as ONNX, each compared with torch's before anything is written.

HASM is run at several sizes, so its sides stay open; HDRM and SHPE see crops of one size. The batch is always open.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import shutil
import tempfile
import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from aih_gen.errors import AIHError, AssetError
from aih_gen.io.write import atomic_folder, check_writable, make_folder
from hdr_model.config import TASKS, Task
from hdr_model.nets.hasm import HASM
from hdr_model.nets.hdrm import HDRM, INPUT_CHANNELS
from hdr_model.nets.onnx_network import CHECKSUM, check_exporter, flat_outputs, make_session, output_names, read_onnx
from hdr_model.nets.pretrained import PretrainedNetwork
from hdr_model.nets.shpe import SHPE
from hdr_model.weights import CONFIG_FILE, ONNX_FILE, WEIGHTS_FILE, find_networks, trained_size

TOLERANCE = 1e-4
"""Largest difference of an output of onnxruntime from torch's, both in float32."""
OPSET = 18
CACHE = "AIH_HDR_CACHE"
"""The variable that names another folder than ``~/.cache/aih-hdr`` for what ``cached_export`` keeps."""
_FORMAT = 1
"""Raised when exported files change, so that those kept from before are not taken."""
_NETWORKS: dict[Task, type[PretrainedNetwork]] = {"hasm": HASM, "hdrm": HDRM, "shpe": SHPE}


@dataclass(frozen=True)
class Exported:
    """One network as ONNX."""

    task: Task
    model: bytes
    config: dict[str, Any]
    difference: float
    """Largest, of any output, from torch's."""


def export(weights: Path | None, out: Path, tell: Callable[[Exported], None] = lambda _: None) -> None:
    """Write ``out/TASK/{config.json,model.onnx}`` of the networks in ``weights``, by default the shipped ones.

    ``tell`` hears of each network when it has been compared.

    Raises:
        AIHError: the extra ``onnx`` is not installed, ``out`` is there already or cannot be written, or onnxruntime
            computes otherwise than torch.
        AssetError: a network is missing or damaged.
    """
    if out.exists():
        raise AIHError(f"{out}: expected a folder that is not there yet, found one")
    check_exporter()
    check_writable(out)
    _, where = find_networks(weights)
    networks = {task: _NETWORKS[task].from_pretrained(folder) for task, folder in where.items()}
    models = []
    for task, network in networks.items():
        models.append(to_onnx(network, trained_size(where[task])))
        tell(models[-1])
    with atomic_folder(out) as temporary:
        for exported in models:
            folder = temporary / exported.task
            folder.mkdir()
            (folder / ONNX_FILE).write_bytes(exported.model)
            (folder / CONFIG_FILE).write_text(json.dumps(exported.config, indent=1) + "\n")


def cached_export(weights: Path | None) -> Path:
    """The folder of what ``export`` makes of ``weights``, kept from the last time where there was one.

    Raises:
        AIHError, AssetError: as ``export``.
    """
    _, where = find_networks(weights)
    digest = hashlib.sha256(f"{_FORMAT}".encode())
    for folder in where.values():
        for name in (CONFIG_FILE, WEIGHTS_FILE):
            digest.update(hashlib.sha256((folder / name).read_bytes()).digest())
    kept = Path(os.environ.get(CACHE) or Path.home() / ".cache" / "aih-hdr") / f"onnx-{digest.hexdigest()[:32]}"
    if kept.exists() and not _is_whole(kept):
        shutil.rmtree(kept)
    if not kept.exists():
        make_folder(kept.parent)
        try:
            export(weights, kept)
        except AIHError:
            if not kept.exists():  # else another process was faster
                raise
    return kept


def _is_whole(folder: Path) -> bool:
    try:
        for task in TASKS:
            read_onnx(folder / task)
    except AssetError:
        return False
    return True


def to_onnx(network: PretrainedNetwork, side: int) -> Exported:
    """A network as ONNX, compared with itself at images of ``side`` pixels, and HASM at other sides too.

    Raises:
        AIHError: onnxruntime is not installed, or does not compute what torch does.
    """
    sides = [side, side + network.stride] if isinstance(network, HASM) else [side]
    model = _traced(network, side)
    session = make_session(model, ONNX_FILE)
    difference = max(_difference(network, session, _inputs(network, 3, *shape)) for shape in product(sides, sides))
    if not difference <= TOLERANCE:
        found = f"a difference of {difference:.1e}"
        raise AIHError(f"{network.task}: expected onnxruntime within {TOLERANCE:g} of torch, found {found}")
    config = {
        "network": network.task,
        "config": asdict(network.config),
        "training": {"task": network.task, "size": side},
        CHECKSUM: hashlib.sha256(model).hexdigest(),
    }
    return Exported(network.task, model, config, difference)


def _traced(network: PretrainedNetwork, side: int) -> bytes:
    """The exporter that traces is the quick one, and needs no onnxscript (see docs/decisions.md)."""
    names = ["x", "validity"] if isinstance(network, HDRM) else ["image"]
    free = {0: "batch", 2: "height", 3: "width"} if isinstance(network, HASM) else {0: "batch"}
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings(), torch.no_grad():
        path = Path(folder) / ONNX_FILE
        warnings.simplefilter("ignore")  # that it is the old one; and of what is constant, which the comparison checks
        torch.onnx.export(
            _Flat(network).eval(), _inputs(network, 2, side, side), path, dynamo=False, opset_version=OPSET,
            input_names=names, output_names=output_names(network),
            dynamic_axes=dict.fromkeys(names, free) | {name: {0: "batch"} for name in output_names(network)},
        )  # fmt: skip
        return path.read_bytes()


def _difference(network: PretrainedNetwork, session: Any, inputs: tuple[Tensor, ...]) -> float:
    """The largest, of any output, between torch and a session; infinite where there is NaN."""
    with torch.inference_mode():
        expected = flat_outputs(network(*inputs))
    names = [place.name for place in session.get_inputs()]
    found = session.run(None, {name: tensor.numpy() for name, tensor in zip(names, inputs, strict=True)})
    apart = [float((torch.from_numpy(f) - e).abs().max()) for f, e in zip(found, expected, strict=True)]
    return max(math.inf if math.isnan(value) else value for value in apart)


class _Flat(nn.Module):
    """A network whose outputs are plain tensors."""

    def __init__(self, network: PretrainedNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        return flat_outputs(self.network(*inputs))


def _inputs(network: PretrainedNetwork, count: int, height: int, width: int) -> tuple[Tensor, ...]:
    generator = torch.Generator().manual_seed(0)
    channels = INPUT_CHANNELS if isinstance(network, HDRM) else 3
    x = torch.randn(count, channels, height, width, generator=generator)
    return (x, (torch.rand(x.shape, generator=generator) > 0.3).float()) if isinstance(network, HDRM) else (x,)
