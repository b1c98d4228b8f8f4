"""The door for other people's weights: nothing but tensors and plain values is ever unpickled."""

from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from aih_gen.errors import AssetError


def read_external(path: str | os.PathLike[str]) -> dict[str, Tensor]:
    """The tensors of a file of safetensors, or one that torch saved, bare or under ``state_dict``.

    The prefix ``module.`` is taken off; optimiser states and whatever else lies beside the tensors are ignored.

    Raises:
        AssetError: no such file, one that cannot be read safely, or one without tensors.
    """
    path = Path(path)
    if not path.is_file():
        raise AssetError(f"{path}: expected weights, found no file")
    try:
        document: Any = (
            load_file(path)
            if path.suffix == ".safetensors"
            else torch.load(path, map_location="cpu", weights_only=True)
        )
    except Exception as error:  # a damaged file can fail in any way
        raise AssetError(
            f"{path}: expected weights, found none that can be read safely ({why_unread(error)})"
        ) from None
    state = document.get("state_dict", document) if isinstance(document, dict) else None
    if not isinstance(state, dict) or not state or not all(isinstance(tensor, Tensor) for tensor in state.values()):
        raise AssetError(f"{path}: expected a dictionary of tensors, or one with them under state_dict, found neither")
    return {str(name).removeprefix("module."): tensor for name, tensor in state.items()}


def why_unread(error: Exception) -> str:
    """The reason in one short line for which torch has not read a file; its own advice is to run what it holds."""
    if isinstance(error, pickle.UnpicklingError):
        return "it holds something else than tensors and plain values"
    if isinstance(error, LookupError | EOFError):  # of the first bytes of a text, which Python takes for a pickle's
        return "torch has not saved it, or not all of it"
    return next(iter(str(error).splitlines()), type(error).__name__)[:200] or type(error).__name__
