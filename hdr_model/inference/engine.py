"""The networks of a folder, to be computed by torch or by onnxruntime."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from hdr_model.config import TASKS, Engine
from hdr_model.inference.export import cached_export
from hdr_model.nets.hasm import HASM
from hdr_model.nets.hdrm import HDRM
from hdr_model.nets.onnx_network import ONNXHASM, ONNXHDRM, ONNXSHPE
from hdr_model.nets.shpe import SHPE
from hdr_model.weights import ONNX_FILE, find_networks


class Networks(NamedTuple):
    """The three, on the CPU."""

    hasm: HASM | ONNXHASM
    hdrm: HDRM | ONNXHDRM
    shpe: SHPE | ONNXSHPE


def open_networks(folder: Path | None, engine: Engine) -> tuple[Path, list[Path], Networks]:
    """The networks in ``folder``, by default the shipped ones; also their common folder, and each one's.

    For onnxruntime ``folder`` is what ``hdr export`` made, or weights, which ``cached_export`` then exports.

    Raises:
        AIHError, AssetError: as ``cached_export``; or a network is missing or damaged.
    """
    if engine == "torch":
        root, where = find_networks(folder)
        hasm, hdrm, shpe = (where[task] for task in TASKS)
        networks = Networks(HASM.from_pretrained(hasm), HDRM.from_pretrained(hdrm), SHPE.from_pretrained(shpe))
    else:
        exported = folder is not None and any((folder / task / ONNX_FILE).is_file() for task in TASKS)
        root = folder if folder is not None and exported else cached_export(folder)
        hasm, hdrm, shpe = (root / task for task in TASKS)
        networks = Networks(
            ONNXHASM.from_pretrained(hasm), ONNXHDRM.from_pretrained(hdrm), ONNXSHPE.from_pretrained(shpe)
        )
    return root, [hasm, hdrm, shpe], networks
