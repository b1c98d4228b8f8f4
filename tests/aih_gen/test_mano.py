"""MANO files: the numbers of two public layers, every make of file, and nothing hostile gets anywhere."""

from __future__ import annotations

import contextlib
import io
import os
import pickle
import struct
import sys
import time
import tracemalloc
import types
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import scipy.sparse
import smplx
import torch
from scipy.sparse import csc_matrix
from scipy.spatial.transform import Rotation

from aih_gen.config import SIDES
from aih_gen.errors import AssetError
from aih_gen.hands import export_free_hand, load_hand_model, load_hand_pair
from aih_gen.hands.joints import JOINT_NAMES, MANO_PARENTS, MANO_TIPS
from aih_gen.hands.mano import MAX_BYTES, read_mano
from aih_gen.hands.model import IN_CACHE
from aih_gen.typing import Side

REFERENCE = Path(__file__).parents[3] / "shared" / "reference"
needs_reference = pytest.mark.skipif(not REFERENCE.is_dir(), reason=f"needs licensed files: {REFERENCE}")
TIPS = [JOINT_NAMES.index(f"{finger}4") for finger in ("thumb", "index", "middle", "ring", "little")]


def content(seed: int = 0) -> dict[str, Any]:
    """Random arrays of a MANO file's shapes."""
    rng = np.random.default_rng(seed)
    regressor = np.zeros((16, 778))
    for row in regressor:
        row[rng.choice(778, 12, replace=False)] = 1 / 12
    weights = rng.random((778, 16)) ** 8
    parents = np.array([2**32 - 1, *MANO_PARENTS[1:]], np.uint32)
    return {
        "v_template": 0.05 * rng.standard_normal((778, 3)),
        "shapedirs": 0.003 * rng.standard_normal((778, 3, 10)),
        "posedirs": 0.001 * rng.standard_normal((778, 3, 135)),
        "J_regressor": csc_matrix(regressor),
        "weights": weights / weights.sum(1, keepdims=True),
        "kintree_table": np.stack([parents, np.arange(16, dtype=np.uint32)]),
        "f": rng.integers(0, 778, (1538, 3)).astype(np.uint32),
        "hands_components": 0.2 * rng.standard_normal((45, 45)),
        "hands_mean": 0.2 * rng.standard_normal(45),
    }


def write(folder: Path, side: Side = "right", **changes: Any) -> Path:
    path = folder / f"MANO_{side.upper()}.pkl"
    arrays = content()
    if side == "left":
        arrays["v_template"] = arrays["v_template"] * np.array([-1, 1, 1])
    path.write_bytes(pickle.dumps(arrays | changes, protocol=2))
    return path


def smplx_layer(path: Path, **options: Any) -> Any:
    with contextlib.redirect_stdout(io.StringIO()):
        return smplx.MANO(str(path), **options)


def inputs(batch: int = 3, dtype: torch.dtype = torch.float32) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    pose, betas, transl = (torch.randn(batch, width, generator=generator, dtype=dtype) for width in (48, 10, 3))
    return 0.5 * pose, betas, transl


@needs_reference
@pytest.mark.parametrize("side", SIDES)
def test_a_mano_file_gives_what_two_public_layers_give(side: Side) -> None:
    case = np.load(REFERENCE / "mano_case.npz")
    hand = load_hand_model(REFERENCE / "mano", side)
    pose, pca, betas, transl = (torch.from_numpy(case[k]).float() for k in ("axis_angle", "pca", "betas", "trans"))
    ours = hand(pose, betas, transl)
    assert np.abs(ours.vertices.numpy() * 1e3 - case[f"manopth_{side}_flat_verts_mm"]).max() < 1e-3
    assert np.abs(ours.joints.numpy() * 1e3 - case[f"manopth_{side}_flat_joints_mm"]).max() < 1e-3
    assert np.abs(ours.vertices.numpy() - case[f"smplx_{side}_flat_verts_m"]).max() < 1e-6
    assert np.abs(ours.joints16.numpy() - case[f"smplx_{side}_flat_joints_m"]).max() < 1e-6
    mean = hand(pca, betas, flat_hand_mean=False, pca=12)
    centre = mean.joints[:, 9:10]
    for points, name in ((mean.vertices, "verts"), (mean.joints, "joints")):
        assert np.abs((points - centre).numpy() * 1e3 - case[f"manopth_{side}_pca_{name}_mm"]).max() < 1e-3


@needs_reference
@pytest.mark.parametrize("side", SIDES)
def test_smplx_gives_the_same_vertices_on_the_same_licensed_file(side: Side, tmp_path: Path) -> None:
    file = read_mano(REFERENCE / "mano", side)
    plain = write(tmp_path, side, **vars(file) | {"J_regressor": csc_matrix(file.J_regressor)})
    pose, betas, transl = inputs()
    theirs = smplx_layer(plain, use_pca=False, flat_hand_mean=True)(betas, pose[:, :3], pose[:, 3:], transl)
    ours = load_hand_model(REFERENCE / "mano", side)(pose, betas, transl)
    assert torch.allclose(ours.vertices, theirs.vertices, atol=1e-6)
    assert torch.allclose(ours.joints16, theirs.joints, atol=1e-6)


@pytest.mark.parametrize("components", [1, 6, 44])
@pytest.mark.parametrize("flat", [True, False])
def test_any_number_of_components_with_or_without_the_mean_pose_is_what_smplx_makes_of_them(
    components: int, flat: bool, tmp_path: Path
) -> None:
    path = write(tmp_path)
    pose, betas, transl = inputs()
    pose = pose[:, : 3 + components]
    layer = smplx_layer(path, num_pca_comps=components, flat_hand_mean=flat)
    theirs = layer(betas, pose[:, :3], pose[:, 3:], transl)
    ours = load_hand_model(path)(pose, betas, transl, flat_hand_mean=flat, pca=components)
    assert torch.allclose(ours.vertices, theirs.vertices, atol=1e-6)


def skinned_by_hand(arrays: dict[str, Any], pose: np.ndarray, betas: np.ndarray, transl: np.ndarray) -> np.ndarray:
    """MANO's equations for one hand, one bone after the other, in float64."""
    rotations = Rotation.from_rotvec(pose.reshape(16, 3)).as_matrix()
    rest = arrays["v_template"] + arrays["shapedirs"] @ betas
    joints = arrays["J_regressor"] @ rest
    rest = rest + arrays["posedirs"] @ (rotations[1:] - np.eye(3)).ravel()
    bones = np.tile(np.eye(4), (16, 1, 1))
    for bone, parent in enumerate(MANO_PARENTS):
        local = np.eye(4)
        local[:3, :3], local[:3, 3] = rotations[bone], joints[bone] - (0 if parent < 0 else joints[parent])
        bones[bone] = local if parent < 0 else bones[parent] @ local
    moved = [(bone[:3, :3] @ (rest - joint).T).T + bone[:3, 3] for bone, joint in zip(bones, joints, strict=True)]
    return np.einsum("vj,jva->va", arrays["weights"], np.stack(moved)) + transl


def test_float64_is_exact_and_float32_is_its_rounding(tmp_path: Path) -> None:
    path, arrays = write(tmp_path), content()
    pose, betas, transl = inputs(dtype=torch.float64)
    exact = load_hand_model(path, dtype=torch.float64)(pose, betas, transl).vertices
    for k in range(len(pose)):
        assert (
            np.abs(exact[k].numpy() - skinned_by_hand(arrays, *(x[k].numpy() for x in (pose, betas, transl)))).max()
            < 1e-14
        )
    single = load_hand_model(path)(pose.float(), betas.float(), transl.float()).vertices
    assert 1e-9 < (single - exact).abs().max() < 1e-6
    layer = smplx_layer(path, use_pca=False, flat_hand_mean=True, dtype=torch.float64)
    theirs = layer(betas, pose[:, :3], pose[:, 3:], transl).vertices  # smplx rounds the file's arrays to float32 first
    assert torch.allclose(exact, theirs, atol=1e-7)


def test_a_batch_is_its_hands_one_by_one(tmp_path: Path) -> None:
    hand, batch = load_hand_model(write(tmp_path)), inputs(2 * IN_CACHE + 5)
    together = hand(*batch)
    for k in (0, 4, IN_CACHE - 1, IN_CACHE, 2 * IN_CACHE + 4):
        alone = hand(*(tensor[k : k + 1] for tensor in batch))
        for a, b in zip(together, alone, strict=True):
            assert torch.allclose(a[k], b[0], atol=1e-6)


def test_gradients_are_the_slopes(tmp_path: Path) -> None:
    hand = load_hand_model(write(tmp_path), dtype=torch.float64)

    def some(pose: torch.Tensor, betas: torch.Tensor, transl: torch.Tensor) -> torch.Tensor:
        return hand(pose, betas, transl).vertices[:, ::97]

    for scale in (1.0, 0.0):
        values = [(scale * tensor).requires_grad_() for tensor in inputs(2, torch.float64)]
        assert torch.autograd.gradcheck(some, values, atol=1e-8)


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("tips", ["manopth", "smplx"])
def test_the_tips_are_the_chosen_conventions_vertices(side: Side, tips: Any, tmp_path: Path) -> None:
    for each in SIDES:
        write(tmp_path, each, shapedirs=content(SIDES.index(each))["shapedirs"])
    out = load_hand_model(tmp_path, side, tips=tips)(*inputs())
    assert torch.equal(out.joints[:, TIPS], out.vertices[:, list(MANO_TIPS[tips][side])])
    with pytest.raises(ValueError, match="tips"):
        load_hand_model(tmp_path, side, tips="mano")  # type: ignore[arg-type]


def test_the_left_hands_wrong_sign_is_repaired_and_reported_once(tmp_path: Path) -> None:
    shapes = content()["shapedirs"]
    write(tmp_path, "right")
    write(tmp_path, "left")
    with pytest.warns(UserWarning, match=r"MANO_LEFT\.pkl: x of shapedirs had the right hand's sign; repaired") as seen:
        repaired = load_hand_model(tmp_path, "left", dtype=torch.float64)
    assert len(seen) == 1
    assert np.array_equal(repaired.shapedirs.numpy(), shapes * np.array([-1, 1, 1])[:, None])
    load_hand_model(tmp_path, "left")  # a second warning would be an error here
    right = load_hand_model(tmp_path, "right", dtype=torch.float64)
    assert np.array_equal(right.shapedirs.numpy(), shapes)


def test_a_left_hand_that_is_right_is_left_alone_and_one_that_cannot_be_checked_says_so(tmp_path: Path) -> None:
    correct = content()["shapedirs"] * np.array([-1, 1, 1])[:, None]
    write(tmp_path, "left", shapedirs=correct)
    with pytest.warns(UserWarning, match="no MANO_RIGHT.pkl beside it"):
        load_hand_model(tmp_path, "left")
    write(tmp_path, "right")
    hand = load_hand_model(tmp_path, "left", dtype=torch.float64)
    assert np.array_equal(hand.shapedirs.numpy(), correct)


SPELLINGS = [
    ("mano_right.pkl", "mano_left.pkl"),
    ("MANO_RIGHT_C.pkl", "MANO_LEFT_C.pkl"),
    ("Right.npz", "LEFT.npz"),
    ("handRight.v2.pkl", "handLeft.v2.pkl"),
]


def write_free_hands(folder: Path, right: str, left: str) -> tuple[Path, Path]:
    """The free hand's two files under other names."""
    paths = folder / right, folder / left
    for side, path in zip(SIDES, paths, strict=True):
        file = export_free_hand(folder / "made", side)
        if path.suffix == ".npz":
            arrays = vars(read_mano(file, side))
            np.savez(path, **{name: array for name, array in arrays.items() if name != "sha256"})
        else:
            file.rename(path)
    return paths


@pytest.mark.parametrize(("right", "left"), SPELLINGS)
def test_either_sides_file_under_any_name_stands_for_both(right: str, left: str, tmp_path: Path) -> None:
    for path in write_free_hands(tmp_path, right, left):
        for side, model in zip(SIDES, load_hand_pair(path), strict=True):
            expected = load_hand_model("free", side)
            assert torch.equal(model.v_template, expected.v_template[: model.num_vertices])
    (tmp_path / right).rename(tmp_path / "elsewhere")
    with pytest.raises(AssetError, match=f"(?i)expected the right hand's file {right[:4]}.* beside it, found none"):
        load_hand_pair(tmp_path / left)


def test_a_link_is_what_it_links_to_and_a_folder_holds_the_files_in_any_case(tmp_path: Path) -> None:
    write_free_hands(tmp_path, "mano_right.pkl", "Mano_Left.pkl")
    (tmp_path / "links").mkdir()
    (tmp_path / "links" / "hand.pkl").symlink_to(tmp_path / "mano_right.pkl")
    for name in (tmp_path / "links" / "hand.pkl", tmp_path):
        right, left = load_hand_pair(name)
        assert torch.allclose(right.v_template * torch.tensor([-1.0, 1, 1]), left.v_template)


@pytest.mark.filterwarnings("ignore:.*no MANO_RIGHT.pkl beside it")
def test_one_hand_for_both_sides_is_refused(tmp_path: Path) -> None:
    write(tmp_path, "right").rename(tmp_path / "hand.pkl")
    with pytest.raises(AssetError, match=r"hand\.pkl: expected a right and a left hand's file, found one shape"):
        load_hand_pair(tmp_path / "hand.pkl")
    right = write(tmp_path, "right")
    right.with_name("MANO_LEFT.pkl").write_bytes(right.read_bytes())
    with pytest.raises(
        AssetError, match=r"MANO_LEFT\.pkl: expected a left hand, found the same shape as in MANO_RIGHT"
    ):
        load_hand_model(tmp_path, "left")


def test_swapped_files_are_refused(tmp_path: Path) -> None:
    write_free_hands(tmp_path, "MANO_LEFT.pkl", "MANO_RIGHT.pkl")
    for side, other in zip(SIDES, SIDES[::-1], strict=True):
        with pytest.raises(AssetError, match=rf"MANO_{side.upper()}\.pkl: expected a {side} hand, found a {other} one"):
            load_hand_model(tmp_path, side)


class Python2Pickler(pickle._Pickler):  # type: ignore[misc]
    """Writes bytes as Python 2 did, which is how the licensed files were made."""

    dispatch: ClassVar[dict[Any, Any]] = dict(pickle._Pickler.dispatch)  # type: ignore[attr-defined]

    def save_bytes(self, value: bytes) -> None:
        self.write(pickle.BINSTRING + struct.pack("<i", len(value)) + value)
        self.memoize(value)

    dispatch[bytes] = save_bytes


def in_python_2(arrays: dict[str, Any]) -> bytes:
    stream = io.BytesIO()
    Python2Pickler(stream, protocol=2).dump(arrays)
    return stream.getvalue().replace(b"numpy._core.", b"numpy.core.").replace(b"scipy.sparse._csc", b"scipy.sparse.csc")


@pytest.mark.parametrize("make", [2, 3, 4, 5, "Python 2", "npz", "big-endian"])
def test_every_make_of_the_file_gives_the_same_hand(make: int | str, tmp_path: Path) -> None:
    arrays = content()
    path = tmp_path / "MANO_RIGHT.pkl"
    if make == "npz":
        np.savez_compressed(tmp_path / "MANO_RIGHT.npz", **arrays | {"J_regressor": arrays["J_regressor"].toarray()})
    elif make == "Python 2":
        path.write_bytes(in_python_2(arrays))
    elif make == "big-endian":
        path.write_bytes(pickle.dumps(arrays | {"v_template": arrays["v_template"].astype(">f8")}))
    else:
        path.write_bytes(pickle.dumps(arrays | {"f": np.asfortranarray(arrays["f"])}, protocol=int(make)))
    (tmp_path / "usual").mkdir()
    usual, found = load_hand_model(write(tmp_path / "usual")), load_hand_model(tmp_path)
    for a, b in zip(usual.buffers(), found.buffers(), strict=True):
        assert torch.equal(a, b)


class Ch:
    """Stands for ``chumpy.ch.Ch``, and below for ``chumpy.reordering.Select``."""

    def __init__(self, **state: Any) -> None:
        vars(self).update(state)


class Select(Ch):
    pass


Ch.__module__, Select.__module__ = "chumpy.ch", "chumpy.reordering"


@pytest.fixture
def chumpy(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that pickle finds the classes by chumpy's names."""
    monkeypatch.setitem(sys.modules, "chumpy", types.ModuleType("chumpy"))
    for name, kind in (("chumpy.ch", Ch), ("chumpy.reordering", Select)):
        module = types.ModuleType(name)
        setattr(module, kind.__name__, kind)
        monkeypatch.setitem(sys.modules, name, module)


REGRESSOR = content()["J_regressor"].toarray()
SHAPES, POSES, MEAN = (content()[name] for name in ("shapedirs", "posedirs", "hands_mean"))
SAVED_AGAIN: dict[str, dict[str, Any]] = {
    **{
        f"{kind}_{what}": {"J_regressor": getattr(scipy.sparse, f"{kind}_{what}")(REGRESSOR)}
        for kind in ("csc", "csr", "coo")
        for what in ("matrix", "array")
    },
    "dense": {"J_regressor": REGRESSOR},
    "matrix": {"J_regressor": np.asmatrix(REGRESSOR), "hands_mean": np.asmatrix(MEAN)},
    "scalars": {"scale": np.float64(2), "count": np.int64(3), "flag": np.uint8(1)},
    "columns first": {"shapedirs": np.asfortranarray(SHAPES)},
    "axes in another order": {"posedirs": np.ascontiguousarray(POSES.transpose(2, 0, 1)).transpose(1, 2, 0)},
    "chumpy": {
        "shapedirs": Select(
            a=Ch(x=SHAPES, _dirty_vars={"x"}), idxs=np.arange(SHAPES.size), preferred_shape=SHAPES.shape
        ),
        "hands_mean": Ch(x=MEAN, _dirty_vars=set(), _itr=None, _depends_on_deps=frozenset({"x"})),
    },
}


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("case", SAVED_AGAIN)
def test_a_file_that_others_saved_again_is_the_same(case: str, protocol: int, chumpy: None, tmp_path: Path) -> None:
    path, arrays = tmp_path / "MANO_RIGHT.pkl", content()
    for kind in (dict, OrderedDict):
        path.write_bytes(pickle.dumps(kind(arrays | SAVED_AGAIN[case]), protocol=protocol))
        found = read_mano(path, "right")
        assert np.array_equal(found.J_regressor, REGRESSOR)
        for name in (*arrays.keys() - {"J_regressor"},):
            assert np.array_equal(getattr(found, name), arrays[name]), name


@pytest.mark.parametrize("side", SIDES)
def test_the_exported_free_hand_is_the_same_in_smplx_and_read_back(side: Side, tmp_path: Path) -> None:
    path = export_free_hand(tmp_path / "new", side)
    assert [file.name for file in path.parent.iterdir()] == [f"MANO_{side.upper()}.pkl"]
    pose, betas, transl = inputs()
    ours = load_hand_model("free", side)(pose, betas, transl)
    layer = smplx_layer(path, use_pca=False, flat_hand_mean=True)
    theirs = layer(betas, pose[:, :3], pose[:, 3:], transl)
    assert layer.is_rhand == (side == "right")
    assert torch.allclose(ours.vertices, theirs.vertices, atol=1e-6)
    assert torch.allclose(ours.joints16, theirs.joints, atol=1e-6)
    assert np.array_equal(layer.faces, load_hand_model("free", side).faces)
    again = load_hand_model(path, side)(pose, betas, transl)
    assert torch.allclose(ours.vertices, again.vertices, atol=1e-6)
    assert torch.allclose(ours.joints, again.joints, atol=1e-6)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"v_template": np.zeros((1609, 3))}, r"v_template: expected numbers of shape \(778, 3\), found .*1609"),
        ({"posedirs": None}, "posedirs: .* found nothing"),
        ({"weights": np.full((778, 16), np.nan)}, "weights: expected finite numbers"),
        ({"f": np.full((1538, 3), 778)}, "f: expected vertex numbers below 778"),
        ({"f": np.full((1538, 3), -1)}, "f: expected vertex numbers below 778"),
        ({"kintree_table": np.zeros((2, 16), int)}, "kintree_table: expected the parents"),
        ({"v_template": np.full((778, 3), "a")}, "v_template: expected an array of plain numbers"),
        ({"v_template": np.full((778, 3), None, object)}, "v_template: expected an array of plain numbers"),
        ({"v_template": [[0.0] * 3] * 778}, "v_template: .* found nothing"),
        ({"tip_vertices": np.full(5, 778)}, "tip_vertices: expected vertex numbers below 778"),
        ({"tip_vertices": np.arange(5), "v_template": np.zeros((9, 3))}, r"shapedirs: expected .*\(9, 3, 10\)"),
    ],
)
def test_an_array_that_does_not_fit_is_refused_by_name(changes: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(AssetError, match=message):
        load_hand_model(write(tmp_path, **changes))


class Calls:
    """Pickles as a call."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self.call = function, arguments

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return self.call


def array_with(state: tuple[Any, ...]) -> bytes:
    """The pickle of {"v_template": an array whose state is ``state``}, as it stands."""
    body = pickle.dumps(state, protocol=2)[2:-1]
    array = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R" + body + b"b"
    return b"\x80\x02}X\x0a\x00\x00\x00v_template" + array + b"s."


def sparse_with(starts: np.ndarray, rows: np.ndarray) -> bytes:
    matrix = content()["J_regressor"]
    matrix.indptr, matrix.indices, matrix.data = starts, rows, np.ones(len(rows))
    return pickle.dumps(content() | {"J_regressor": matrix}, protocol=2)


def deep_key() -> bytes:
    """A dictionary whose key is a pair of one pair twice, of one pair twice, and so on: hashing it takes 2^60 steps."""
    pairs = b"".join(b"q%ch%c\x86" % (k, k) for k in range(60))
    return b"\x80\x02})" + pairs + b"K\x01s."


F8 = np.dtype("f8")
HOSTILE = {
    "os.system": lambda marker: pickle.dumps({"f": Calls(os.system, f"touch {marker}")}),
    "a lambda": lambda marker: pickle.dumps({"f": Calls(eval, f"(lambda: open({str(marker)!r}, 'w'))()")}),
    "getattr": lambda marker: pickle.dumps({"f": Calls(getattr, 1, "real")}),
    "a call in a call": lambda marker: pickle.dumps({"f": Calls(set, Calls(set, Calls(os.mkdir, str(marker))))}),
    "a call in an array": lambda marker: array_with((1, (2,), Calls(os.mkdir, str(marker)), False, b"")),
    "a call of a value": lambda marker: b"\x80\x02}K\x01)R.",
    "a state for a name": lambda marker: b"\x80\x02cchumpy.ch\nCh\n}X\x01\x00\x00\x00aK\x01sb.",
    "a huge bytes object": lambda marker: pickle.dumps({"f": Calls(bytes, 10**9)}),
    "a huge length": lambda marker: b"\x80\x04\x8e" + struct.pack("<Q", 2**40) + b"abc.",
    "a huge bytes length": lambda marker: b"\x80\x03B" + struct.pack("<I", 2**32 - 1) + b"abc.",
    "a huge memo": lambda marker: b"\x80\x02}r\xff\xff\xff\x7f.",
    "a huge shape": lambda marker: array_with((1, (10**9, 10**9), F8, False, b"12345678")),
    "a shape of huge numbers": lambda marker: array_with((1, (2**2000,) * 5000, F8, False, b"12345678")),
    "a huge dtype": lambda marker: pickle.dumps({"v_template": np.zeros(1, "V1000000")}),
    "an object array": lambda marker: pickle.dumps({"v_template": np.array([{}], object)}),
    "huge sparse starts": lambda marker: sparse_with(np.r_[0, np.full(778, 2**40)], np.zeros(3, np.int32)),
    "falling sparse starts": lambda marker: sparse_with(np.r_[np.zeros(777), 9, 3].astype(int), np.zeros(3, np.int32)),
    "sparse rows outside": lambda marker: sparse_with(np.r_[np.zeros(778), 3].astype(int), np.full(3, -1)),
    "keys that are slow to hash": lambda marker: deep_key(),
    "a cut file": lambda marker: pickle.dumps(content(), protocol=2)[:-100],
    "no end": lambda marker: pickle.dumps({}, protocol=2)[:-1],
    "nothing": lambda marker: b"",
    "text": lambda marker: b"MANO",
    "a number": lambda marker: pickle.dumps(1),
    "an array without a state": lambda marker: array_with(())[:-4] + b"s.",
}


@pytest.mark.parametrize("case", HOSTILE)
def test_anything_else_is_refused_runs_nothing_and_takes_no_room_or_time(case: str, tmp_path: Path) -> None:
    marker = tmp_path / "ran"
    path = tmp_path / "MANO_RIGHT.pkl"
    path.write_bytes(HOSTILE[case](marker))
    assert_refused(path)
    assert not marker.exists()


def assert_refused(path: Path, match: str = "expected") -> None:
    start = time.monotonic()
    tracemalloc.start()
    try:
        with pytest.raises(AssetError, match=match) as refusal:
            load_hand_model(path)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    message = str(refusal.value)
    assert message.startswith(str(path)) and "\n" not in message and len(message) < 500 + len(str(path))
    assert peak < 6 * MAX_BYTES and time.monotonic() - start < 20


def test_the_name_that_is_refused_is_named(tmp_path: Path) -> None:
    path = tmp_path / "MANO_RIGHT.pkl"
    path.write_bytes(pickle.dumps({"f": Calls(os.system, "true")}))
    assert_refused(path, "found the name (posix|nt).system")
    path.write_bytes(pickle.dumps({"f": Calls(getattr, 1, "real")}))
    assert_refused(path, "found the name builtins.getattr")


def test_a_program_of_endless_instructions_is_cut_short(tmp_path: Path) -> None:
    path = tmp_path / "MANO_RIGHT.pkl"
    path.write_bytes(b"\x80\x02" + b"}" * 200_000 + b".")
    assert_refused(path, "at most 100000 pickle instructions")


def test_a_gigabyte_of_zeros_is_refused_before_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "MANO_RIGHT.pkl"
    with path.open("wb") as stream:
        stream.truncate(2**30)
    assert_refused(path, "at most 16 MiB, found 1073741824 B")


def npy(array: np.ndarray, **header: Any) -> bytes:
    stream = io.BytesIO()
    fields = {"descr": array.dtype.str, "fortran_order": False, "shape": array.shape} | header
    np.lib.format.write_array_header_1_0(stream, fields)
    return stream.getvalue() + array.tobytes()


@pytest.mark.parametrize(
    ("member", "message"),
    [
        (npy(np.zeros(2**22)), "expected arrays of at most 16 MiB"),
        (npy(np.zeros(3), shape=(10**9, 3)), "expected plain numbers"),
        (npy(np.zeros(3), descr="|O"), "expected plain numbers"),
        (npy(np.zeros(3), descr="<V8"), "expected plain numbers"),
        (b"\x93NUMPY", "cannot be read"),
        (b"not an array", "cannot be read"),
    ],
)
def test_a_hostile_archive_is_refused(member: bytes, message: str, tmp_path: Path) -> None:
    path = tmp_path / "MANO_RIGHT.npz"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("v_template.npy", member)
    assert_refused(path, message)


def test_a_missing_model_is_one_sentence(tmp_path: Path) -> None:
    assert_refused(tmp_path, "found neither")
    (tmp_path / "MANO_RIGHT.npz").write_bytes(b"PK no archive")
    assert_refused(tmp_path / "MANO_RIGHT.npz", "cannot be read")
