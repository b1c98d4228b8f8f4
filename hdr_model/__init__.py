"""HDR: the networks that segment, de-occlude and measure two interacting hands, and their trainer."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hdr_model.data.aih import AIHDataset
    from hdr_model.inference.pipeline import HDR
    from hdr_model.nets.hasm import HASM
    from hdr_model.nets.hdrm import HDRM
    from hdr_model.nets.shpe import SHPE

__all__ = ["HASM", "HDR", "HDRM", "SHPE", "AIHDataset"]

# Imported when first needed: `hdr --help` should not wait for torch.
_HOMES = {
    "HDR": "hdr_model.inference.pipeline",
    "HASM": "hdr_model.nets.hasm",
    "HDRM": "hdr_model.nets.hdrm",
    "SHPE": "hdr_model.nets.shpe",
    "AIHDataset": "hdr_model.data.aih",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
