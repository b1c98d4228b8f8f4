"""Trained weights on disk: the folder of each network, and the settings that it was trained with."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

from aih_gen.errors import AssetError
from aih_gen.io.json import read_json
from hdr_model.config import Task

CONFIG_FILE, WEIGHTS_FILE = "config.json", "model.safetensors"
"""Of one network."""
SETTINGS, WEIGHTS, BEST = "run.json", "weights", "best"
"""In the folder of a run: its settings, the network at its end, and the one whose validation loss was lowest."""


def find_weights(folder: Path, task: Task) -> Path:
    """The folder with ``config.json`` and ``model.safetensors`` of one network.

    ``folder`` may hold the networks' weights (``folder/hasm``), or their runs (``folder/hasm/best``, or where there is
    none, ``folder/hasm/weights``), or be one such run.

    Raises:
        AssetError: none of these places has both files, or ``run.json`` is damaged.
    """
    places = [folder / task, folder / task / BEST, folder / task / WEIGHTS]
    if (read_settings(folder) or {}).get("task") == task:
        places += [folder / BEST, folder / WEIGHTS]
    for place in places:
        if (place / CONFIG_FILE).is_file() and (place / WEIGHTS_FILE).is_file():
            return place
    raise AssetError(
        f"no weights of {task} in {folder}: expected config.json and model.safetensors in {places[0]} or {places[2]}"
    )


def read_settings(folder: Path) -> dict[str, Any] | None:
    """What ``run.json`` of a run says; None where there is none.

    Raises:
        AssetError: it is not a run's settings.
    """
    path = folder / SETTINGS
    if not path.is_file():
        return None
    try:
        settings = read_json(path)
        int(settings["size"])
    except (AssetError, KeyError, TypeError, ValueError) as error:
        raise AssetError(f"{path}: expected a run's settings with a size, found {error!r}") from error
    return cast("dict[str, Any]", settings)


def trained_size(weights: Path) -> int:
    """Side in pixels of the images that the network in ``weights`` was trained on, else 256."""
    try:
        packed = read_json(weights / CONFIG_FILE).get("training", {})
    except (OSError, AssetError, AttributeError):
        packed = {}  # the network says so itself when it is read
    settings = packed or read_settings(weights) or read_settings(weights.parent)
    return int(settings["size"]) if settings else 256
