"""The free hand: CC0 data in ``assets/free_hand``, made by ``scripts/build_free_hand.py``."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import torch

from aih_gen.assets import asset_path
from aih_gen.errors import AssetError
from aih_gen.hands.model import HandData, HandModel
from aih_gen.io.archives import read_npz
from aih_gen.typing import AnyArray, Side


def load_free_hand(side: Side, dtype: torch.dtype = torch.float32) -> HandModel:
    """The free hand of one side; the left hand is the right one mirrored in the plane x = 0.

    Its arrays are stored as float32; ``dtype`` is what the model computes in.

    Raises:
        AssetError: the asset is missing or damaged.
    """
    path = asset_path("free_hand") / "free_hand.npz"
    try:
        data = _hand_data(read_npz(path), hashlib.sha256(path.read_bytes()).hexdigest())
    except (ValueError, KeyError) as error:
        raise AssetError(f"{path}: expected the free hand's data, found none that can be read ({error})") from error
    return HandModel(data if side == "right" else _mirrored(data), side).to(dtype)


def _hand_data(arrays: dict[str, AnyArray], sha256: str) -> HandData:
    num_hand, num_hand_faces = int(arrays["num_hand_vertices"]), int(arrays["num_hand_faces"])
    tensor = {name: torch.from_numpy(array) for name, array in arrays.items() if array.ndim}
    faces = tensor["faces"].long()
    return HandData(
        v_template=tensor["v_template"],
        shapedirs=tensor["shapedirs"],
        posedirs=None,
        joint_template=tensor["joint_template"],
        joint_shapedirs=tensor["joint_shapedirs"],
        weights=tensor["weights"],
        arm_weight=tensor["arm_weight"][num_hand:],
        faces=faces[:num_hand_faces],
        arm_faces=faces[num_hand_faces:],
        tip_vertices=tensor["tip_vertices"].long(),
        hands_mean=torch.zeros(45),
        hands_components=torch.eye(45),
        texture_coordinates=tensor["texture_coordinates"],
        texture_faces=tensor["texture_faces"].long(),
        name="free",
        sha256=sha256,
    )


def _mirrored(data: HandData) -> HandData:
    flip = torch.tensor([-1.0, 1.0, 1.0])
    assert data.texture_faces is not None
    return replace(
        data,
        v_template=data.v_template * flip,
        shapedirs=data.shapedirs * flip[:, None],
        joint_template=data.joint_template * flip,
        joint_shapedirs=data.joint_shapedirs * flip[:, None],
        faces=data.faces.flip(1),
        arm_faces=data.arm_faces.flip(1),
        texture_faces=data.texture_faces.flip(1),
    )
