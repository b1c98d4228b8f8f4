"""manopth's ``ManoLayer`` for programs that use it: the same constructor, call, buffers and numbers, without chumpy."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import normalize

from aih_gen.hands.joints import FROM_MANO_AND_TIPS
from aih_gen.hands.mano import NUM_VERTICES, read_mano, tip_vertices
from aih_gen.hands.mano_files import FILE_NAMES
from aih_gen.hands.model import bone_transforms, check_rows, rotation_matrices, shaped, skin, with_pose
from aih_gen.typing import AnyArray, Side

PALM_VERTICES = (95, 22)  # the palm is half-way between them
MILLIMETRES = 1000.0


class ManoLayer(torch.nn.Module):
    """``from aih_gen.hands.compat import ManoLayer`` in place of ``from manopth.manolayer import ManoLayer``.

    Buffers have manopth's names and shapes (``th_v_template`` (1,778,3), ``th_shapedirs`` (778,3,10), ``th_posedirs``
    (778,3,135), ``th_J_regressor`` (16,778), ``th_weights`` (778,16), ``th_faces`` (1538,3), ``th_betas`` (1,10); with
    axis-angle fingers ``th_hands_mean`` (1,45), ``th_comps`` (45,45), ``th_selected_comps`` (ncomps,45); else
    ``th_hands_mean_rotmat`` (15,3,3)), and the forward pass reads them, so what a program changes there takes effect.
    Three things differ: a left file with the known sign error of ``shapedirs`` is repaired at loading, a mode that
    manopth does not know is refused, and there is no ``smpl_data``.
    """

    th_betas: Tensor
    th_shapedirs: Tensor
    th_posedirs: Tensor
    th_v_template: Tensor
    th_J_regressor: Tensor
    th_weights: Tensor
    th_faces: Tensor
    th_hands_mean: Tensor
    th_selected_comps: Tensor

    def __init__(
        self,
        center_idx: int | None = None,
        flat_hand_mean: bool = True,
        ncomps: int = 6,
        side: Side = "right",
        mano_root: str | Path = "mano/models",
        use_pca: bool = True,
        root_rot_mode: Literal["axisang", "rot6d"] = "axisang",
        joint_rot_mode: Literal["axisang", "rotmat"] = "axisang",
        robust_rot: bool = False,
    ) -> None:
        """A layer for one side's hand.

        Args:
            center_idx: which of the 21 joints is the origin when no translation is given; None for MANO's own origin.
            flat_hand_mean: zero pose is a flat hand; else the file's mean pose is added (not to rotation matrices).
            ncomps: number of principal components that stand for the 45 finger angles.
            side: ``right`` or ``left``.
            mano_root: the folder of ``MANO_RIGHT.pkl`` and ``MANO_LEFT.pkl``.
            use_pca: fingers are given as principal components, else as ``joint_rot_mode`` says.
            root_rot_mode: the wrist is given by 3 axis-angle or 6 numbers (Zhou et al. 2019, two columns of a matrix).
            joint_rot_mode: ``rotmat`` (without PCA) takes all 16 rotations, the wrist's too, as matrices.
            robust_rot: the two columns of ``rot6d`` share the correction evenly, not the second alone.

        Raises:
            AssetError: no MANO file of that side in the folder, or content other than a MANO model's.
            ValueError: a side or mode that is not among the ones named above.
        """
        super().__init__()
        _check_choice("side", side, ("right", "left"))
        _check_choice("root_rot_mode", root_rot_mode, ("axisang", "rot6d"))
        _check_choice("joint_rot_mode", joint_rot_mode, ("axisang", "rotmat"))
        self.center_idx = center_idx
        self.flat_hand_mean = flat_hand_mean
        self.side = side
        self.use_pca = use_pca
        self.root_rot_mode = root_rot_mode
        self.joint_rot_mode = joint_rot_mode
        self.robust_rot = robust_rot
        self.rot = 3 if root_rot_mode == "axisang" else 6
        self.ncomps = ncomps if use_pca else 45
        self.mano_path = str(Path(mano_root) / f"{FILE_NAMES[side]}.pkl")

        file = read_mano(Path(mano_root), side)
        self.kintree_table = file.kintree_table
        self.kintree_parents: list[int] = file.kintree_table[0].tolist()
        self.tip_vertices = tip_vertices(file, side, "manopth").tolist()
        for name in ("shapedirs", "posedirs", "J_regressor", "weights"):
            self.register_buffer(f"th_{name}", _float(getattr(file, name)))
        self.register_buffer("th_v_template", _float(file.v_template)[None])
        self.register_buffer("th_faces", torch.from_numpy(file.f.astype(np.int64)))
        self.register_buffer("th_betas", torch.zeros(1, 10))
        mean = torch.zeros(1, 45) if flat_hand_mean else _float(file.hands_mean)[None]
        if self._takes_matrices:
            self.register_buffer("th_hands_mean_rotmat", rotation_matrices(mean.reshape(15, 3)))
        else:
            self.register_buffer("th_hands_mean", mean)
            self.register_buffer("th_comps", _float(file.hands_components))
            self.register_buffer("th_selected_comps", _float(file.hands_components[:ncomps]))

    def forward(
        self,
        th_pose_coeffs: Tensor,
        th_betas: Tensor | None = torch.zeros(1),  # noqa: B008  manopth's own default; never written to
        th_trans: Tensor | None = torch.zeros(1),  # noqa: B008
        root_palm: Tensor | bool = torch.Tensor([0]),  # noqa: B008
        share_betas: Tensor | bool = torch.Tensor([0]),  # noqa: B008
    ) -> tuple[Tensor, Tensor]:
        """Pose the hand.

        Args:
            th_pose_coeffs: (B, 3 or 6 for the wrist, then ncomps or 45 for the fingers; more columns are not read), or
                (B,16,3,3) matrices, each replaced by the nearest rotation.
            th_betas: (B,10) shape; None or one number alone stands for the buffer ``th_betas``, which is zero.
            th_trans: (B,3) metres. None or all zeros: the hand is centred on joint ``center_idx``; else it is moved by
                ``th_trans`` and not centred.
            root_palm: the first joint is the middle of the palm, not the wrist.
            share_betas: every hand of the batch has the batch's mean shape.

        Returns:
            Vertices (B,778,3) and joints (B,21,3; wrist, thumb to little, base to tip), both in millimetres.

        Raises:
            ValueError: a pose, shape or translation of another shape, or the palm of a mesh that is not MANO's.
        """
        rotations = self._rotations(th_pose_coeffs)
        betas = self.th_betas if th_betas is None or th_betas.numel() == 1 else th_betas
        betas = betas[None] if betas.ndim == 1 else betas
        check_rows("th_betas", betas, len(rotations), self.th_shapedirs.shape[-1])
        if bool(share_betas):
            betas = betas.mean(0, keepdim=True)
        points = shaped(self.th_v_template[0], self.th_shapedirs, betas.expand(len(rotations), -1))
        joints = self.th_J_regressor @ points
        points = with_pose(points, rotations, self.th_posedirs.reshape(-1, 135))
        bones = bone_transforms(rotations, joints)
        vertices = skin(points, joints, bones, self.th_weights)
        joints21 = torch.cat([bones[..., 3], vertices[:, self.tip_vertices]], 1)[:, FROM_MANO_AND_TIPS]
        if bool(root_palm):
            joints21 = torch.cat([self._palm(vertices), joints21[:, 1:]], 1)
        if th_trans is not None and bool(th_trans.norm() != 0):
            check_rows("th_trans", th_trans, len(rotations), 3)
            vertices, joints21 = vertices + th_trans[:, None], joints21 + th_trans[:, None]
        elif self.center_idx is not None:
            centre = joints21[:, self.center_idx, None]
            vertices, joints21 = vertices - centre, joints21 - centre
        return vertices * MILLIMETRES, joints21 * MILLIMETRES

    @property
    def _takes_matrices(self) -> bool:
        return not self.use_pca and self.joint_rot_mode == "rotmat"

    def _rotations(self, pose: Tensor) -> Tensor:
        """The 16 rotations (B,16,3,3) that the pose stands for."""
        if self._takes_matrices:
            if pose.shape[1:] != (16, 3, 3):
                raise ValueError(f"th_pose_coeffs: expected shape (B, 16, 3, 3), found {tuple(pose.shape)}")
            return nearest_rotations(pose)
        if pose.ndim != 2 or pose.shape[1] < self.rot + self.ncomps:
            raise ValueError(f"th_pose_coeffs: expected shape (B, {self.rot + self.ncomps}), found {tuple(pose.shape)}")
        fingers = pose[:, self.rot : self.rot + self.ncomps]
        fingers = self.th_hands_mean + (fingers @ self.th_selected_comps if self.use_pca else fingers)
        wrist = pose[:, : self.rot]
        root = rotation_matrices(wrist) if self.root_rot_mode == "axisang" else six_numbers(wrist, self.robust_rot)
        return torch.cat([root[:, None], rotation_matrices(fingers.reshape(len(fingers), 15, 3))], 1)

    def _palm(self, vertices: Tensor) -> Tensor:
        if vertices.shape[1] != NUM_VERTICES:
            raise ValueError(f"root_palm: expected MANO's {NUM_VERTICES} vertices, found {vertices.shape[1]}")
        return vertices[:, PALM_VERTICES].mean(1, keepdim=True)


def six_numbers(columns: Tensor, evenly: bool) -> Tensor:
    """Rotations (B,3,3) from six numbers (B,6): their first two columns, made orthogonal (Zhou et al. 2019).

    The first column keeps its direction and the second gives way; or, ``evenly``, both give way by the same angle.
    """
    x, y = normalize(columns[:, :3], dim=1, eps=1e-8), columns[:, 3:]
    if evenly:
        y = normalize(y, dim=1, eps=1e-8)
        between, across = normalize(x + y, dim=1, eps=1e-8), normalize(x - y, dim=1, eps=1e-8)
        x, y = normalize(between + across, dim=1, eps=1e-8), normalize(between - across, dim=1, eps=1e-8)
    z = normalize(torch.linalg.cross(x, y), dim=1, eps=1e-8)
    return torch.stack([x, torch.linalg.cross(z, x), z], 2)


def nearest_rotations(matrices: Tensor) -> Tensor:
    """The orthogonal matrices nearest to (...,3,3); where that is a reflection, its last column is turned round.

    The slope of a singular vector is infinite where two singular values are equal, as they are in every rotation. That
    of the orthogonal factor Q of A = Q H is not: dQ = Q W, where W H + H W = Q^T dA - dA^T Q (Higham 2008, eq. 8.19).
    """
    left, stretch, right = torch.linalg.svd(matrices.detach())
    orthogonal = left @ right
    sums = (stretch[..., :, None] + stretch[..., None, :]).clamp_min(torch.finfo(matrices.dtype).tiny ** 0.5)
    across = left.mT @ matrices @ right.mT  # diagonal at this point, so that only its slope counts
    orthogonal = orthogonal + left @ ((across - across.mT) / sums) @ right
    sign = torch.where(torch.linalg.det(orthogonal.detach()) < 0, -1.0, 1.0).to(matrices.dtype)
    return torch.cat([orthogonal[..., :2], orthogonal[..., 2:] * sign[..., None, None]], -1)


def _float(array: AnyArray) -> Tensor:
    return torch.from_numpy(np.array(array, np.float32))


def _check_choice(name: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise ValueError(f"{name}: expected {' or '.join(map(repr, choices))}, found {value!r}")
