"""The device that computes, and the precision it computes with."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from aih_gen.errors import AIHError
from hdr_model.config import Precision


def choose_device(name: str) -> torch.device:
    """The device of that name. ``auto`` is ``cuda`` where there is a GPU, which is this process's or the first.

    Raises:
        AIHError: torch does not know the device or cannot use it.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cuda":
        name = f"cuda:{os.environ.get('LOCAL_RANK', 0)}"
    try:
        device = torch.device(name)
        torch.zeros(1, device=device).item()  # meta has no numbers
    except (RuntimeError, AssertionError) as error:
        raise AIHError(
            f"device: expected one that can be used here, found {name!r} ({str(error).splitlines()[0][:100]})"
        ) from error
    if device.type == "cuda":
        torch.cuda.set_device(device)
    return device


def use_bfloat16(wanted: bool, precision: Precision, device: torch.device) -> bool:
    """True to autocast: ``wanted`` (the preset's choice) decides where precision is auto and the device is able."""
    if precision != "auto":
        return precision == "bfloat16"
    if device.type == "cuda":
        return wanted and torch.cuda.is_bf16_supported(including_emulation=False)
    flags = Path("/proc/cpuinfo")
    return wanted and flags.exists() and any(name in flags.read_text() for name in ("avx512_bf16", "amx_bf16"))


def to_device(batch: Mapping[str, Tensor], device: torch.device) -> dict[str, Tensor]:
    """The batch on ``device``; copies from pinned memory do not wait."""
    return {name: value.to(device, non_blocking=True) for name, value in batch.items()}
