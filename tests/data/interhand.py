"""A small InterHand2.6M: the free hand as MANO files, posed in a world, rendered by us, in the files' exact layout."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from scipy.spatial.transform import Rotation

from aih_gen.config import SIDES
from aih_gen.hands import export_free_hand, load_hand_model
from aih_gen.hands.joints import FROM_INTERHAND
from aih_gen.render.layers import Layers
from aih_gen.sources.fit_masks import FitRenderer, FittedPair, to_camera

WIDTH, HEIGHT = 334, 512
CAMERAS = ("400262", "400498")
TYPES = ("interacting", "right", "left")
SEQUENCES = {"interacting": "0266_dh_cmonmyhand", "right": "0000_RT_fist", "left": "0001_LT_fist"}
BROKEN_FRAME = "1999"


@dataclass(frozen=True, eq=False)
class Tree:
    """A written tree, and the truth."""

    root: Path
    hand_model: Path
    truth: dict[int, Layers]
    """By annotation id, over 512x512 pixels whose first 334 columns are the photo."""
    joints: dict[int, NDArray[np.float64]]
    """By annotation id: (2,21,3) m, camera space."""
    prefix: Path


def write_tree(root: Path, hand_model: Path, frames: int = 3, folders: str = "test", split: str = "test") -> Tree:
    """``frames`` moments of each hand type, seen by two cameras; ``folders`` lie between annotations and the files."""
    rng = np.random.default_rng(5)
    data: dict[str, list[Any]] = {"images": [], "annotations": []}
    cameras = {name: _camera(angle) for name, angle in zip(CAMERAS, (-0.35, 0.4), strict=True)}
    joint_file: dict[str, Any] = {}
    fit_file: dict[str, Any] = {}
    truth, joints, renderer = {}, {}, _renderer(str(hand_model))
    for number, hand_type in enumerate(np.repeat(TYPES, frames).tolist()):
        frame = 1000 + 7 * number
        pose, betas, transl = _moment(rng)
        world = np.stack([_joints(str(hand_model), side, pose, betas, transl) for side in (0, 1)])
        present = [hand_type in ("interacting", name) for name in SIDES]
        _annotate_frame(joint_file, fit_file, str(frame), world, present, hand_type, (pose, betas, transl))
        for camera, view in cameras.items():
            key = len(data["images"]) + 100
            layers, photo = _photo(renderer, view, (pose, betas, transl), present)
            truth[key], joints[key] = layers, (world - view["campos"] / 1000) @ view["camrot"].T
            name = f"Capture0/{SEQUENCES[hand_type]}/cam{camera}/image{frame}.jpg"
            path = root / "images" / split / name
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(photo).save(path, quality=95, subsampling=0)
            covered = (layers.part[present] > 0).any(0)[:, :WIDTH]
            _add_records(data, key, name, camera, frame, hand_type, covered, present)
    prefix = root / "annotations" / folders / f"InterHand2.6M_{split}_"
    prefix.parent.mkdir(parents=True, exist_ok=True)
    by_name = {
        what: {name: view[what].tolist() for name, view in cameras.items()} for what in ("campos", "camrot", "focal")
    } | {"princpt": {name: view["princpt"].tolist() for name, view in cameras.items()}}
    write_json(prefix, data=data, camera={"0": by_name}, joint_3d={"0": joint_file}, MANO_NeuralAnnot={"0": fit_file})
    return Tree(root, hand_model, truth, joints, prefix)


def write_json(prefix: Path, **documents: Any) -> None:
    """The annotation files by their endings."""
    for name, document in documents.items():
        Path(f"{prefix}{name}.json").write_text(json.dumps(document))


def read_json(prefix: Path, name: str) -> Any:
    """One of them."""
    return json.loads(Path(f"{prefix}{name}.json").read_text())


def export_hands(folder: Path) -> Path:
    """The free hand as ``MANO_RIGHT.pkl`` and ``MANO_LEFT.pkl``."""
    for side in SIDES:
        export_free_hand(folder, side)
    return folder


def _camera(angle: float) -> dict[str, NDArray[np.float64]]:
    """About a metre from the origin, looking at it; millimetres and pixels."""
    rotation = Rotation.from_euler("yx", [angle, 0.1]).as_matrix()
    return {
        "camrot": rotation,
        "campos": rotation.T @ np.array([10.0, 15.0, -1000.0]),
        "focal": np.array([1250.0, 1253.0]),
        "princpt": np.array([168.4, 254.7]),
    }


def _moment(rng: np.random.Generator) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
    """A right and a left hand near the origin, fingers a little bent."""
    pose = rng.normal(0, 0.12, (2, 48))
    pose[:, :3] = np.array([[1.3, 0.4, 0.2], [1.2, -0.5, 0.1]]) + rng.normal(0, 0.2, (2, 3))
    betas = rng.normal(0, 0.5, (2, 10))
    transl = np.array([[0.02, 0.0, 0.0], [-0.02, 0.01, 0.05]]) + rng.normal(0, 0.01, (2, 3))
    return pose.astype(np.float32), betas.astype(np.float32), transl.astype(np.float32)


@cache
def _renderer(hand_model: str) -> FitRenderer:
    return FitRenderer(hand_model, HEIGHT)


@cache
def _model(hand_model: str, side: int) -> Any:
    return load_hand_model(hand_model, SIDES[side], tips="smplx", dtype=torch.float64)


def _joints(hand_model: str, side: int, *parameters: NDArray[np.float32]) -> NDArray[np.float64]:
    with torch.no_grad():
        tensors = (torch.from_numpy(array[side].astype(np.float64))[None] for array in parameters)
        return np.asarray(_model(hand_model, side)(*tensors).joints[0].numpy())


def _annotate_frame(
    joint_file: Any, fit_file: Any, frame: str, world: Any, present: list[bool], hand_type: str, fit: Any
) -> None:
    theirs = np.zeros((2, 21, 3))
    theirs[:, FROM_INTERHAND] = 1000 * world
    joint_file[frame] = {
        "world_coord": theirs.reshape(42, 3).tolist(),
        "joint_valid": np.repeat(np.array(present, int), 21)[:, None].tolist(),
        "hand_type": hand_type,
    }
    fit_file[frame] = {
        name: {key: array[side].tolist() for key, array in zip(("pose", "shape", "trans"), fit, strict=True)}
        if present[side]
        else None
        for side, name in enumerate(SIDES)
    }


def _photo(
    renderer: FitRenderer, view: dict[str, NDArray[np.float64]], fit: Any, present: list[bool]
) -> tuple[Layers, NDArray[np.uint8]]:
    pose, betas, transl = fit
    posed = to_camera(pose, transl, renderer.rest_wrists(betas), view["camrot"], view["campos"] / 1000)
    (fx, fy), (cx, cy) = view["focal"], view["princpt"]
    matrix = np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1]], np.float32)
    pair = FittedPair(posed[0], betas, posed[1], matrix, (present[0], present[1]))
    (layers,) = renderer.layers([pair])
    slope = np.linspace(20, 60, HEIGHT)[:, None, None]
    photo = np.broadcast_to(slope, (HEIGHT, HEIGHT, 3)).copy()
    for side in np.argsort([layers.depth[side][np.isfinite(layers.depth[side])].sum() for side in (0, 1)]):
        here = (layers.part[side] > 0) & (layers.depth[side] <= layers.depth[1 - side])
        photo[here] = layers.colour[side][here][:, :3] * (1.0, 0.8, 0.7)
    return layers, photo[:, :WIDTH].astype(np.uint8)


def _add_records(
    data: Any, key: int, name: str, camera: str, frame: int, hand_type: str, covered: Any, present: list[bool]
) -> None:
    rows, columns = np.flatnonzero(covered.any(1)), np.flatnonzero(covered.any(0))
    box = [columns[0], rows[0], columns[-1] - columns[0] + 1, rows[-1] - rows[0] + 1]
    data["images"].append(
        {
            "id": key - 100, "file_name": name, "width": WIDTH, "height": HEIGHT, "capture": 0, "subject": 3,
            "seq_name": SEQUENCES[hand_type], "camera": camera, "frame_idx": frame,
        }
    )  # fmt: skip
    data["annotations"].append(
        {
            "id": key, "image_id": key - 100, "bbox": [float(number) for number in box],
            "joint_valid": np.repeat(np.array(present, int), 21)[:, None].tolist(), "hand_type": hand_type,
            "hand_type_valid": 1,
        }
    )  # fmt: skip
