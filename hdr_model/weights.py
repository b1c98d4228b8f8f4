"""Trained weights on disk: the folder of each network, and its training settings."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from aih_gen.assets import asset_path
from aih_gen.errors import AssetError
from aih_gen.io.json import read_json
from hdr_model.config import TASKS, Task

CONFIG_FILE, WEIGHTS_FILE = "config.json", "model.safetensors"
"""Of one network."""
ONNX_FILE = "model.onnx"
"""In place of the weights, in a folder that ``hdr export`` made."""
SETTINGS, WEIGHTS, BEST = "run.json", "weights", "best"
"""In the folder of a run: its settings, the network at its end, and the one whose validation loss was lowest."""
MAX_NUMBER = 10**9
"""Of a size or of steps in a run's settings."""


def find_networks(folder: Path | None) -> tuple[Path, dict[Task, Path]]:
    """The folder of all three networks, by default the shipped one, and that of each, as ``find_weights`` finds it.

    Raises:
        AssetError: one is missing, or none are shipped.
    """
    if folder is not None:
        return folder, {task: find_weights(folder, task) for task in TASKS}
    try:
        shipped = asset_path("weights")
        return shipped, {task: find_weights(shipped, task) for task in TASKS}
    except AssetError as error:
        advice = "this copy of the project ships no weights: train the three networks (hdr train) and give their folder"
        raise AssetError(f"{error}; {advice}") from error


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
    found = f"found no {CONFIG_FILE} and {WEIGHTS_FILE} in {places[0]} or {places[2]}"
    if not folder.is_dir():
        found = "found no such folder"
    elif (folder / task / ONNX_FILE).is_file():
        found = f"found {task}/{ONNX_FILE} of hdr export, which the engine onnxruntime runs"
    raise AssetError(f"{folder}: expected weights of {task}, {found}")


def read_settings(folder: Path) -> dict[str, Any] | None:
    """The content of a run's ``run.json``; None where there is none.

    Raises:
        AssetError: it is not a run's settings.
    """
    path = folder / SETTINGS
    if not path.is_file():
        return None
    try:
        return _checked(read_json(path))
    except (AssetError, ValueError) as error:
        raise AssetError(f"{path}: expected a run's settings with a size, found {error}") from error


def trained_size(weights: Path) -> int:
    """Side in pixels of the images that the network in ``weights`` was trained on, else 256.

    Raises:
        AssetError: the settings of the training are damaged.
    """
    path = weights / CONFIG_FILE
    try:
        document = read_json(path)
    except (OSError, AssetError):
        document = None  # the network says so itself when it is read
    packed = document.get("training") if isinstance(document, dict) else None
    try:
        settings = _checked(packed) if packed else read_settings(weights) or read_settings(weights.parent)
    except ValueError as error:
        raise AssetError(f"{path}, training: expected a run's settings with a size, found {error}") from error
    return int(settings["size"]) if settings else 256


def _checked(settings: object) -> dict[str, Any]:
    """Settings of a run. Raises ValueError where they are not."""
    if not isinstance(settings, dict):
        raise ValueError(f"no table but {json.dumps(settings)[:60]}")
    for name in ("size", "steps"):
        value = settings.get(name, None if name == "size" else 1)
        if type(value) is not int or not 0 < value <= MAX_NUMBER:
            raise ValueError(f"{name} {json.dumps(value)[:60]}")
    return settings
