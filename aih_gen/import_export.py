"""Other people's data to shards and back: ``annotate``, and the commands ``annotate``, ``import`` and ``export``."""

from __future__ import annotations

import io
import os
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import tyro

from aih_gen.config import TWO_HANDS, RenderConfig, SourceConfig, check_config
from aih_gen.errors import AIHError
from aih_gen.exports.aih_folders import export_aih_folders
from aih_gen.factory import check_place, generate
from aih_gen.io.write import atomic_folder, check_apart, check_writable, make_folder, write_bytes
from aih_gen.reports.preview import SHEET, SHEET_SAMPLES, write_sheet
from aih_gen.shards.reader import AIHShards
from aih_gen.sources import open_source
from aih_gen.sources.aih_folders import AIHRenderConfig, render_folder
from aih_gen.sources.poses_npz import POSES, import_poses
from aih_gen.sources.records import SKIPPED, ReadReport
from aih_gen.sources.single_hands import SingleHandsConfig
from aih_gen.typing import AIHBranch, Branch, Codec, Crops, Split

MAX_BROKEN = 0.01


def annotate(
    config: SourceConfig,
    out: str | os.PathLike[str],
    *,
    limit: int | None = None,
    most_broken: float = MAX_BROKEN,
    workers: int = 1,
    shard_size: int = 1000,
    codec: Codec = "zstd",
) -> ReadReport:
    """Write other people's annotated images as shards, with a sheet of some and a list of what is not used.

    Args:
        config: what to read: ``AnnotateConfig``, ``TzionasConfig`` or another configuration of ``aih_gen.sources``.
        out: the folder; shards that are there already are kept.
        limit: at most so many samples, the first ones.
        most_broken: share of the records that may be broken, 0 to 1; beyond it nothing is made.
        workers, shard_size, codec: as ``generate`` takes them.

    Returns:
        What became of the records.

    Raises:
        AIHError: a value out of range, data that cannot be read or are broken too often, or as ``generate`` raises it.
    """
    check_config(config)
    _check_limit(limit)
    check_place(config, Path(out))
    records = open_source(config)
    records.report.check(config.source, most_broken)
    count = min(len(records), limit or len(records))
    out = generate(config, out, count, workers=workers, shard_size=shard_size, codec=codec)
    shards = AIHShards(out)
    shown = np.linspace(0, len(shards) - 1, min(SHEET_SAMPLES, len(shards))).round().astype(int).tolist()
    write_sheet(out / SHEET, [shards[k] for k in shown])
    records.report.write(out)
    return records.report


def _check_limit(limit: int | None) -> None:
    if limit is not None and limit < 1:
        raise AIHError(f"limit: expected 1 or more, found {limit}")


@dataclass(frozen=True, kw_only=True)
class Work:
    """Computation and storage; no sample depends on them."""

    workers: int = 1
    """Processes on this machine."""
    shard_size: int = 1000
    """Samples in a shard."""
    codec: Codec = "zstd"
    """gzip is for readers without the hdf5plugin package."""


@dataclass(frozen=True, kw_only=True)
class _Reading:
    """Choice of the records."""

    limit: int | None = None
    """At most so many samples, the first ones."""
    most_broken: float = MAX_BROKEN
    """Share of the records that may be broken; beyond it nothing is made."""
    size: int = 256
    """Image side in pixels, a multiple of 32."""


@dataclass(frozen=True, kw_only=True)
class _Gathering:
    """Arguments of every command that reads other people's data."""

    out: Path
    """Folder of the shards. What is there already is kept: the same command continues an interrupted run."""

    def gather(self, config: SourceConfig, reading: _Reading, work: Work) -> int:
        """Read, check, write, and tell."""
        settings = {field.name: getattr(work, field.name) for field in fields(work)}
        report = annotate(config, self.out, limit=reading.limit, most_broken=reading.most_broken, **settings)
        print(f"{self.out}: {len(AIHShards(self.out)):,} samples")
        return _tell(report, self.out)


@dataclass(frozen=True, kw_only=True)
class _Photos:
    """Choice of the photos and their crops; tzionas takes --margin only."""

    split: Split = "train"
    """Of the data set."""
    branch: Branch = "all"
    """human_annot, machine_annot or all; v1.0 has only all."""
    hand_model: str = ""
    """Folder of the MANO files that the fits are for."""
    crops: Crops = "pair"
    """pair: one image of all hands; hand: one around each hand; all: both."""
    max_fit_error: float = 20.0
    """Millimetres, mean over joints, that a fit may be off the annotated joints."""
    keep_unfitted: bool = False
    """Keep photos without a fit that serves, with joints and without masks."""
    margin: float | None = None
    """Side of an image / longer side of what it is made around; by default 1.25 around the box of a pair, 2 around a
    hand, 2 around the joints of tzionas."""


@dataclass(frozen=True, kw_only=True)
class Annotate(_Gathering):
    """Make shards of real photos: crops, annotated joints, and masks drawn from the fits."""

    dataset: Literal["interhand26m", "tzionas"]
    """tzionas has frames with 2D joints and no fits, so no masks."""
    root: Path
    """The data set's folder as its authors' archives unpack: of interhand26m with images/ and annotations/, of tzionas
    with a folder for each sequence."""
    photos: _Photos
    reading: _Reading
    work: Work

    def run(self) -> int:
        from aih_gen.sources.annotate import AnnotateConfig  # loads PyTorch and OpenGL, as the next does PyTorch
        from aih_gen.sources.tzionas import TzionasConfig

        source: dict[str, Any] = {"source": str(self.root), "size": self.reading.size}
        margin = self.photos.margin
        if self.dataset == "tzionas":
            source |= {} if margin is None else {"margin": margin}
            return self.gather(TzionasConfig(**source), self.reading, self.work)
        own = ("crops", "branch", "split", "hand_model", "keep_unfitted")
        settings = {name: getattr(self.photos, name) for name in own}
        margins = {} if margin is None else {f"{kind}_margin": margin for kind in ("pair", "hand")}
        settings |= {"max_fit_error": self.photos.max_fit_error / 1000, **margins}
        return self.gather(AnnotateConfig(**source, **settings), self.reading, self.work)


@dataclass(frozen=True, kw_only=True)
class _AuthorsFolders:
    """Part of the authors' AIH, for --from aih-folders."""

    subset: Literal["render", "syn"] = "render"
    """AIH_render or AIH_syn."""
    split: str = "train"
    """Name of the folder."""
    branch: AIHBranch = "machine"
    """Name of the folder."""
    as_published: bool = False
    """Repeat the authors' AIH_Syn with its black corners and mirrored samples."""


@dataclass(frozen=True, kw_only=True)
class Import(_Gathering):
    """Bring other people's files into the project's form: shards, or for npz the poses that render --poses takes."""

    from_: Annotated[Literal["aih-folders", "folder", "npz"], tyro.conf.arg(name="from")]
    """aih-folders: the authors' AIH; folder: images and masks of single hands; npz: MANO parameters of pairs."""
    path: tyro.conf.Positional[Path]
    """The folder, or the npz."""
    authors: _AuthorsFolders
    reading: _Reading
    work: Work

    def run(self) -> int:
        if self.from_ == "npz":
            return self._poses()
        return self.gather(self._config(), self.reading, self.work)

    def _config(self) -> SourceConfig:
        source: dict[str, Any] = {"source": str(self.path), "size": self.reading.size}
        if self.from_ == "folder":
            return SingleHandsConfig(**source)
        part: dict[str, Any] = {"split": self.authors.split, "branch": self.authors.branch}
        if self.authors.subset == "render":
            return AIHRenderConfig(**source, **part)
        from aih_gen.sources.aih_syn_folders import AIHSynConfig  # loads PyTorch

        return AIHSynConfig(**source, **part, as_published=self.authors.as_published)

    def _poses(self) -> int:
        path, file = self.out / POSES, io.BytesIO()
        config = RenderConfig(poses=str(path), hands=TWO_HANDS, size=self.reading.size, look="plain")
        check_config(config)
        _check_limit(self.reading.limit)
        for written in (path, self.out / SHEET, self.out / SKIPPED):
            check_apart(written, [self.path])
        check_writable(self.out)
        arrays, report = import_poses(self.path)
        report.check(self.path, self.reading.most_broken)
        np.savez(file, **{name: array[: self.reading.limit] for name, array in arrays.items()})  # type: ignore[arg-type]
        make_folder(self.out)
        write_bytes(path, file.getbuffer())
        count = min(SHEET_SAMPLES, len(arrays["pose"]), self.reading.limit or SHEET_SAMPLES)
        write_sheet(self.out / SHEET, open_source(config).samples(range(count)))
        report.write(self.out)
        print(f"{path}: for aih-gen render --poses")
        return _tell(report, self.out)


@dataclass(frozen=True, kw_only=True)
class Export:
    """Write shards in other people's forms."""

    path: tyro.conf.Positional[Path]
    """A shard, or a folder of shards."""
    to: Literal["aih-folders", "coco", "webdataset"]
    """aih-folders: the authors' AIH_render, from AIH_Render alone."""
    out: Path
    """A new folder."""
    split: str = "train"
    """Name of the folder below aih-folders."""
    branch: AIHBranch = "machine"
    """Name of the folder below aih-folders."""

    def run(self) -> int:
        from aih_gen.exports.coco import export_coco  # loads PyTorch
        from aih_gen.exports.webdataset import export_webdataset

        check_apart(self.out, [self.path])
        check_writable(self.out)
        shards = AIHShards(self.path)
        folder = render_folder(self.out, self.branch, self.split) if self.to == "aih-folders" else self.out
        export = {"aih-folders": export_aih_folders, "coco": export_coco, "webdataset": export_webdataset}[self.to]
        with atomic_folder(folder) as temporary:
            count = export(shards, temporary)
            write_sheet(temporary / SHEET, shards[:SHEET_SAMPLES])
        print(f"{self.out}: {count:,} samples; the first in {folder / SHEET}")
        return 0


def _tell(report: ReadReport, out: Path) -> int:
    print(*report.lines(), sep="\n  ")
    print(f"{out / SKIPPED}: what is not used; {out / SHEET}: a look at what is")
    return 0
