"""torch.compile as a setting of training."""

from __future__ import annotations

import os
import shutil
from importlib.util import find_spec

import torch
from torch import nn

from aih_gen.errors import AIHError

_COMPILERS = ("g++", "clang++", "c++")


def compile_networks(networks: nn.ModuleDict, device: torch.device) -> None:
    """Compile each network in place; its tensors keep their names.

    Raises:
        AIHError: what torch needs for that is not installed.
    """
    compilers = (os.environ["CXX"],) if "CXX" in os.environ else _COMPILERS
    if not any(shutil.which(name) for name in compilers):
        raise AIHError(
            f"--compile: expected a C++ compiler, which torch.compile needs, found none of {', '.join(compilers)}"
        )
    if device.type == "cuda" and find_spec("triton") is None:
        raise AIHError("--compile: expected the package triton, which torch.compile needs on a GPU, found none")
    for network in networks.values():
        network.compile()
