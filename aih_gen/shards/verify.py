"""Checks of shards: files against the manifest, and the invariants of masks, targets and joints."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy import ndimage

from aih_gen.compose.masks import hole, occlusion
from aih_gen.compose.sample import JOINT_UNKNOWN, JOINT_VISIBLE, Sample
from aih_gen.config import SIDES, document_sha256
from aih_gen.errors import ShardError
from aih_gen.shards.listing import shard_files
from aih_gen.shards.manifest import Manifest, describe_file, is_as_written, read_manifest
from aih_gen.shards.reader import AIHShards
from aih_gen.typing import Float32, Mask, Side, UInt8

PROJECTION_TOLERANCE = 0.5
"""Pixels between joints_2d and the projection of joints_3d."""
OCCLUSION_TOLERANCE = 1e-3
JOINT_TOLERANCE = 2
"""Pixels that a visible joint may lie beside its hand: a fingertip is a vertex of the outline."""


@dataclass(frozen=True)
class Problem:
    """A violated invariant."""

    shard: str
    dataset: str
    sample: int | None
    """Row in the shard; None where the whole shard is meant."""
    what: str

    def __str__(self) -> str:
        place = "" if self.sample is None else f", sample {self.sample}"
        return f"{self.shard}, {self.dataset}{place}: {self.what}"


def verify(path: Path) -> Iterator[list[Problem]]:
    """Check a shard, or a folder of shards with its manifest; yields the problems of each sample, mostly none.

    Raises:
        ShardError: there is no shard, or the manifest is not one.
    """
    files = shard_files(path)
    manifest = read_manifest(path) if path.is_dir() else None
    if path.is_dir():
        yield _check_manifest(path, manifest, files)
    for file in files:
        try:
            shard = AIHShards(file)
        except ShardError as error:
            yield [Problem(file.name, "schema", None, str(error))]
            continue
        yield _check_header(shard, manifest)
        for row in range(len(shard)):
            try:
                yield [Problem(file.name, dataset, row, what) for dataset, what in sample_problems(shard[row])]
            except ShardError as error:
                yield [Problem(file.name, "bytes", row, str(error))]
        shard.close()


def _check_header(shard: AIHShards, manifest: Manifest | None) -> list[Problem]:
    (info,) = shard.shards
    if manifest is None:
        return []
    problems = []
    expected = manifest.configurations()
    if info.header.config_sha256 not in expected:
        what = f"expected {' or '.join(expected)} as in the manifest, found {info.header.config_sha256}"
        problems.append(Problem(info.path.name, "attribute config_sha256", None, what))
    if info.depth != manifest.depth:
        what = f"expected {manifest.depth} as in the manifest, found {info.depth}"
        problems.append(Problem(info.path.name, "depth", None, what))
    samples = next((entry.samples for entry in manifest.shards if entry.name == info.path.name), info.samples)
    if info.samples != samples:
        what = f"expected {samples} samples as in the manifest, found {info.samples}"
        problems.append(Problem(info.path.name, "index", None, what))
    return problems


def _check_manifest(folder: Path, manifest: Manifest | None, files: list[Path]) -> list[Problem]:
    if manifest is None:
        return [Problem("manifest.json", "file", None, "expected a manifest, found none")]
    listed = {entry.name: entry for entry in manifest.shards}
    digests = {manifest.config_sha256: manifest.config, **manifest.configurations()}
    problems = [
        Problem("manifest.json", "config_sha256", None, f"expected {computed} of its configuration, found {stored}")
        for stored, config in digests.items()
        if config and (computed := document_sha256(config)) != stored
    ]
    if not is_as_written(folder, manifest):
        problems.append(Problem("manifest.json", "sha256", None, "expected keys and values as they were written"))
    problems += [
        Problem(name, "file", None, "in the manifest, but not in the folder")
        for name in listed.keys() - {file.name for file in files}
    ]
    for file in files:
        entry = listed.get(file.name)
        if entry is None:
            problems.append(Problem(file.name, "file", None, "in the folder, but not in the manifest"))
            continue
        found = describe_file(file, file.name, entry.samples)
        if found != entry:
            what = f"expected {entry.bytes} bytes with SHA-256 {entry.sha256}, found {found.bytes} with {found.sha256}"
            problems.append(Problem(file.name, "file", None, what))
    return problems


def sample_problems(sample: Sample) -> Iterator[tuple[str, str]]:
    """Contradictions within a sample, as (dataset, sentence)."""
    amodal, visible, arm, targets = sample.amodal, sample.visible, sample.arm, sample.target
    shown = [*visible, *arm]
    if np.sum(shown, axis=0).max() > 1:
        yield "masks", f"{int((np.sum(shown, axis=0) > 1).sum())} pixels show two hands or arms at once"
    for side, name in enumerate(SIDES):
        stray = int((visible[side] & ~amodal[side]).sum())
        if stray:
            yield "masks", f"{stray} visible pixels of the {name} hand are outside its amodal mask"
        free = hole(amodal[side], visible[side], visible[1 - side], arm[1 - side]) | sample.shaded
        changed = int(((targets[side] != sample.image).any(-1) & ~free).sum())
        if changed:
            yield "rgb", f"target_{name} differs from the image in {changed} pixels outside its hole"
        hidden = occlusion(amodal[side], visible[side])
        lacking = np.isnan(sample.occlusion[side]) and _is_unknown(sample, name)
        if not lacking and not np.isclose(sample.occlusion[side], hidden, atol=OCCLUSION_TOLERANCE, equal_nan=True):
            yield "occlusion", f"{name}: expected {hidden:.4f} as in the masks, found {sample.occlusion[side]:.4f}"
        for joint in _astray(sample.joints_2d[side], sample.joint_state[side], amodal[side]):
            what = f"{name} joint {joint} is called visible, but is over {JOINT_TOLERANCE} px from its amodal mask"
            yield "joint_state", what
        stated = sample.provenance.get("hand_type")
        if stated in (*SIDES, "none") and stated != name and (sample.present[side] or arm[side].any()):
            yield "present", f"{name}: expected neither hand nor arm, as hand_type is {stated}"
        if not sample.present[side]:
            yield from _absent_problems(sample, side, name)
        if changed == 0 and not (amodal[1 - side].any() or arm[1 - side].any()):
            differing = int((targets[side] != sample.image).any(-1).sum())
            if differing:
                yield "rgb", f"target_{name} differs from the image in {differing} pixels, where nothing is removed"
    projected = sample.joints_3d @ sample.camera.T
    with np.errstate(divide="ignore", invalid="ignore"):
        error = np.linalg.norm(projected[..., :2] / projected[..., 2:] - sample.joints_2d, axis=-1)
    if (error > PROJECTION_TOLERANCE).any():  # NaN, where something is unknown, is no error
        yield "joints_2d", f"up to {np.nanmax(error):.1f} px from the projection of joints_3d"


def _absent_problems(sample: Sample, side: int, name: Side) -> Iterator[tuple[str, str]]:
    """Values of a hand that is not present, which should have none."""
    if sample.amodal[side].any() or sample.visible[side].any():
        yield "present", f"{name}: expected a hand that is present, for it has pixels"
    for dataset in ("joints_3d", "joints_2d", "pose", "betas", "transl", "occlusion"):
        if not np.isnan(getattr(sample, dataset)[side]).all():
            yield dataset, f"{name}: expected NaN, as the hand is not present, found numbers"
    if sample.joint_state[side].any():
        yield "joint_state", f"{name}: expected state {JOINT_UNKNOWN}, as the hand is not present, found others"


def _is_unknown(sample: Sample, name: Side) -> bool:
    """True where the amodal mask is marked as unknown by the source."""
    known = sample.provenance.get("known")
    return isinstance(known, list) and name not in known


def _astray(joints: Float32, state: UInt8, amodal: Mask) -> list[int]:
    """Joints (21,2) of one hand whose state is visible although they lie outside its amodal mask (H,W)."""
    visible = np.flatnonzero((state == JOINT_VISIBLE) & np.isfinite(joints).all(-1))
    if not amodal.any():
        return visible.tolist()
    distance = ndimage.distance_transform_edt(~amodal)
    column, row = np.clip(np.rint(joints[visible]).astype(int), 0, [side - 1 for side in amodal.shape[::-1]]).T
    return visible[distance[row, column] > JOINT_TOLERANCE].tolist()
