"""The free hand as a file of MANO's make, for programs that read MANO files."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import torch
from scipy.sparse import csc_matrix

from aih_gen.hands.free import load_free_hand
from aih_gen.hands.joints import MANO_PARENTS
from aih_gen.hands.mano_files import FILE_NAMES
from aih_gen.hands.model import HandModel
from aih_gen.io.write import write_bytes
from aih_gen.typing import Array, Side


def export_free_hand(folder: str | Path, side: Side) -> Path:
    """Write the free hand as ``MANO_RIGHT.pkl`` or ``MANO_LEFT.pkl`` into ``folder``, and return the file's path.

    The file is a pickle of NumPy arrays and one SciPy matrix under MANO's names. ``smplx.MANO`` loads it and poses it
    to the same vertices and 16 joints as ours, to float32's rounding; `load_hand_model` reads it back. Against MANO:

    - V = 1609 vertices and F = 3196 faces, not 778 and 1538: vertex numbers known for MANO's mesh (finger tips, contact
      zones, textures) point elsewhere. The finger tips are in a key of their own, ``tip_vertices``, thumb to little.
    - No pose blend shapes (``posedirs`` is zero), no mean pose, and ``hands_components`` is the identity: a "principal
      component" is one joint's angle about one axis, so give programs all 45 or axis-angle.
    - Betas are the free hand's, not MANO's: fits to MANO do not carry over. The forearm is left out.
    - ``J_regressor`` is the smallest matrix that gives the free hand's joints for every shape; it is dense.

    Raises:
        AssetError: the free hand is missing or damaged.
        WriteError: the file cannot be written.
    """
    hand = load_free_hand(side, torch.float64)
    path = Path(folder) / f"{FILE_NAMES[side]}.pkl"
    path.parent.mkdir(parents=True, exist_ok=True)
    write_bytes(path, pickle.dumps(_content(hand), protocol=2))
    return path


def _content(hand: HandModel) -> dict[str, object]:
    count = hand.num_vertices
    parents = np.array([2**32 - 1, *MANO_PARENTS[1:]], np.uint32)
    regressor = _regressor(hand)
    return {
        "v_template": hand.v_template[:count].numpy(),
        "shapedirs": hand.shapedirs[:count].numpy(),
        "posedirs": np.zeros((count, 3, 135)),
        "J_regressor": csc_matrix(regressor),
        "J": regressor @ hand.v_template[:count].numpy(),
        "weights": hand.weights[:count].numpy(),
        "kintree_table": np.stack([parents, np.arange(16, dtype=np.uint32)]),
        "f": hand.faces.numpy().astype(np.uint32),
        "hands_components": hand.hands_components.numpy(),
        "hands_mean": hand.hands_mean.numpy(),
        "hands_coeffs": np.zeros((1, 45)),
        "tip_vertices": hand.tip_vertices.numpy().astype(np.uint32),
        "bs_style": "lbs",
        "bs_type": "lrotmin",
    }


def _regressor(hand: HandModel) -> Array:
    """(16,V) joints as combinations of vertices: exact at rest and for each shape direction, and moved along by both.

    Each joint has 3 + 30 + 1 conditions and V unknowns; of the solutions this is the one with the least squares.
    """
    count = hand.num_vertices
    vertices = [hand.v_template[:count], hand.shapedirs[:count].reshape(count, 30), hand.weights.new_ones(count, 1)]
    joints = [hand.joint_template, hand.joint_shapedirs.reshape(16, 30), hand.weights.new_ones(16, 1)]
    known, wanted = torch.cat(vertices, 1).numpy().T, torch.cat(joints, 1).numpy().T
    return np.linalg.lstsq(known, wanted, rcond=None)[0].T
