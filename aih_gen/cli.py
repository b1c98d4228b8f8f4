"""The command line ``aih-gen``: arguments and printing, nothing else."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import tyro
from tqdm import tqdm

from aih_gen.arguments import device_numbers, parse_arguments, print_any_name
from aih_gen.config import TWO_HANDS, DatasetConfig, RenderConfig, SynConfig, SynRecipe, check_config
from aih_gen.doctor import diagnose
from aih_gen.errors import AIHError, one_line
from aih_gen.factory import generate
from aih_gen.import_export import Annotate, Export, Import, Work
from aih_gen.io.write import check_apart, check_writable, write_bytes, write_text
from aih_gen.reports.card import card, write_card
from aih_gen.reports.gallery import preview_page
from aih_gen.reports.preview import SHEET, SHEET_SAMPLES, write_sheet
from aih_gen.shards.manifest import MANIFEST, ManifestEntry, read_manifest
from aih_gen.shards.reader import AIHShards
from aih_gen.shards.rearrange import merge, split
from aih_gen.shards.verify import verify
from aih_gen.sources.config_file import config_text
from aih_gen.sources.folder import is_hand_folder
from aih_gen.typing import Engine

PROBLEMS_FOUND = 1
INTERRUPTED = 130


@dataclass(frozen=True, kw_only=True)
class _SharedWork(Work):
    """Computation and storage; no sample depends on them."""

    num_tasks: int = 1
    """Machines or jobs that share the work."""
    task_index: int = 0
    """This one's number, from 0."""
    engine: Engine = "local"
    """ray spreads the shards over a Ray cluster."""


@dataclass(frozen=True, kw_only=True)
class _Making:
    """Arguments of every command that makes samples."""

    out: Path
    """Folder of the shards. What is there already is kept: the same command continues an interrupted run."""
    count: int
    """Number of samples."""


@dataclass(frozen=True, kw_only=True)
class _Scenes(RenderConfig):
    """Content and drawing of the scenes."""

    hands: tuple[float, float, float] | None = None  # type: ignore[assignment]
    """Shares of the scenes with two hands, one, none; by default 0.75 0.17 0.08, of recorded poses 1 0 0. A share of
    one needs frames in which one hand alone is fitted, and none is for sampled poses only."""

    def config(self) -> RenderConfig:
        """These settings, checked.

        Raises:
            AIHError: a value out of range.
        """
        settings = {field.name: getattr(self, field.name) for field in fields(RenderConfig)}
        if self.hands is None:
            settings["hands"] = RenderConfig.hands if self.poses == RenderConfig.poses else TWO_HANDS
        config = RenderConfig(**settings)
        check_config(config)
        return config


@dataclass(frozen=True, kw_only=True)
class Render(_Making):
    """Make AIH_Render: textured hands over backgrounds, mostly pairs."""

    depth: bool = False
    """Store each hand's depth map too."""
    gl_device: str | None = None
    """Number of the device that draws, from 0, as EGL counts cards and, last, the processor; of several, such as 0,1,
    each worker takes one, in turn. No sample depends on it but by its driver. By default the first."""
    scenes: _Scenes
    work: _SharedWork

    def run(self) -> int:
        return _make(self.scenes.config(), self, self.work, self.depth, device_numbers(self.gl_device))


@dataclass(frozen=True, kw_only=True)
class Config:
    """Print the configuration of AIH_Render as JSON, for hdr train --data, which needs no disk."""

    scenes: _Scenes

    def run(self) -> int:
        print(config_text(self.scenes.config()))
        return 0


@dataclass(frozen=True, kw_only=True)
class _Recipe(SynRecipe):
    """Motion, colours and choice of the hands; the defaults are the paper's where it gives them."""


@dataclass(frozen=True, kw_only=True)
class Syn(_Making):
    """Make AIH_Syn: single hands pasted over each other."""

    source: Path
    """AIH_Render shards, or a folder of images of single hands and of their masks: right/NAME.jpg, right/NAME_mask.png,
    left/NAME.jpg, left/NAME_mask.png, ..."""
    seed: int = 0
    """Another seed, other samples."""
    size: int | None = None
    """Image side in pixels; by default, and for shards necessarily, the source's; 256 for a folder of images."""
    recipe: _Recipe
    work: _SharedWork

    def run(self) -> int:
        of_shards = SynConfig.size if is_hand_folder(self.source) else AIHShards(self.source).size[0]
        size = of_shards if self.size is None else self.size
        recipe = {field.name: getattr(self.recipe, field.name) for field in fields(SynRecipe)}
        return _make(SynConfig(**recipe, source=str(self.source), seed=self.seed, size=size), self, self.work)


@dataclass(frozen=True, kw_only=True)
class Info:
    """Print the card of a shard or a folder of shards: counts, histograms, licences, configuration."""

    path: tyro.conf.Positional[Path]
    """A shard, or a folder of shards."""
    write: bool = False
    """Also write the card into the folder: README.md, and croissant.json for programs that look for data."""

    def run(self) -> int:
        shards = AIHShards(self.path)
        print(card(shards, str(self.path)))
        if self.write:
            print(*write_card(shards, self.path), sep="\n")
        return 0


@dataclass(frozen=True, kw_only=True)
class Verify:
    """Check a shard or a folder of shards, every byte and every invariant; exit code 1 when something is wrong."""

    path: tyro.conf.Positional[Path]
    """A shard, or a folder of shards."""

    def run(self) -> int:
        found = 0
        for problems in tqdm(verify(self.path), unit="sample", desc=str(self.path), disable=not sys.stderr.isatty()):
            for problem in problems:
                tqdm.write(str(problem), sys.stdout)
            found += len(problems)
        print(f"{self.path}: {f'problems: {found}' if found else 'all is well'}")
        return PROBLEMS_FOUND if found else 0


@dataclass(frozen=True, kw_only=True)
class Merge:
    """Put the shards of several folders into a new one, byte for byte; links take no room."""

    paths: tyro.conf.Positional[tuple[Path, ...]]
    """Folders of shards of one subset, size, codec and generator version."""
    out: Path
    """The new folder."""

    def run(self) -> int:
        manifest = merge(self.paths, self.out)
        print(f"{self.out}: {sum(entry.samples for entry in manifest.shards):,} samples")
        return 0


@dataclass(frozen=True, kw_only=True)
class Split:
    """Divide the shards of a folder at random among new folders train, val and test, byte for byte."""

    path: tyro.conf.Positional[Path]
    """A folder of shards."""
    out: Path
    """The folder for the new folders."""
    val: float = 0.1
    """Share of the shards, at least one."""
    test: float = 0.1
    """Share of the shards, at least one."""
    seed: int = 0
    """Another seed, another division."""

    def run(self) -> int:
        for name, manifest in split(self.path, self.out, {"val": self.val, "test": self.test}, self.seed).items():
            print(f"{self.out / name}: {sum(entry.samples for entry in manifest.shards):,} samples")
        return 0


@dataclass(frozen=True, kw_only=True)
class Preview:
    """Write one page of HTML: what the data set holds, examples by group, samples with masks, targets and joints."""

    path: tyro.conf.Positional[Path]
    """A shard, or a folder of shards."""
    out: Path = Path("preview.html")
    """The page."""
    count: int = 24
    """Samples shown in full, spread over the data set."""
    rerun: Path | None = None
    """Also write these samples as a file for the viewer rerun: hands in 3D, camera, image, masks, depth."""

    def run(self) -> int:
        if self.count < 1:
            raise AIHError(f"count: expected 1 or more, found {self.count}")
        places = [self.out, self.rerun] if self.rerun else [self.out]
        for place in places:
            check_writable(place, "file")
        shards = AIHShards(self.path)
        read = [path for shard in shards.shards for path in (shard.path, shard.path.with_name(MANIFEST))]
        for place in places:
            check_apart(place, [self.path, *read])
        count = min(self.count, len(shards))
        positions = [k * len(shards) // count for k in range(count)]
        recording = self._recorded(shards, positions) if self.rerun else None
        write_text(self.out, preview_page(shards, positions))
        print(self.out)
        if self.rerun and recording is not None:
            write_bytes(self.rerun, recording)
            print(self.rerun)
        return 0

    def _recorded(self, shards: AIHShards, positions: Sequence[int]) -> bytes:
        from aih_gen.reports.rerun import Recording, add_samples

        recording = Recording("--rerun", "aih-gen preview", "sample")
        add_samples(recording, ((k, shards[k]) for k in positions), shards.shards[0].header.hand_model)
        return recording.data()


@dataclass(frozen=True, kw_only=True)
class Doctor:
    """Try out what the toolkit needs of this machine, and say how to mend what is missing; exit code 1 then."""

    json: bool = False
    """Print it for programs."""

    def run(self) -> int:
        return diagnose(self.json)


def _make(
    config: DatasetConfig,
    making: _Making,
    work: _SharedWork,
    depth: bool = False,
    gl_device: Sequence[int] | None = None,
) -> int:
    started, shards = time.perf_counter(), list[ManifestEntry]()
    settings = {field.name: getattr(work, field.name) for field in fields(work)}
    generate(config, making.out, making.count, depth=depth, gl_device=gl_device, finished=shards.append, **settings)
    seconds = time.perf_counter() - started
    made, there = sum(shard.samples for shard in shards), _listed(making.out)
    rate = f"{made:,} made in {seconds:.1f} s, {made / seconds:.1f} a second"
    print(f"{making.out}: {there:,} samples; {rate if made else 'all were there already'}")
    sheet = making.out / SHEET
    if there and work.task_index == 0:  # always: other tasks may have added to the folder since the last sheet
        write_sheet(sheet, AIHShards(making.out)[:SHEET_SAMPLES])
        print(f"{sheet}: the first of them")
    return 0


def _listed(folder: Path) -> int:
    manifest = read_manifest(folder)
    return sum(entry.samples for entry in manifest.shards) if manifest else 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Run ``aih-gen``; returns the exit code: 0, 1 for problems found, 2 for a user's mistake, 130 for Ctrl-C."""
    print_any_name()
    description = "Makes AIH, the data set of interacting hands, and looks at it."
    commands = Render | Syn | Config | Annotate | Import | Export | Info | Verify | Merge | Split | Preview | Doctor
    try:
        try:
            return parse_arguments(commands, "aih-gen", description, arguments).run()
        finally:
            sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # else Python complains when it ends
        return 0
    except AIHError as error:
        return _failed(str(error))
    except OSError as error:
        return _failed(f"{error.filename or 'files'}: {error.strerror or error}")
    except MemoryError as error:
        return _failed(f"memory: expected enough for sizes and counts as asked for, found too little ({error})")
    except KeyboardInterrupt:
        print("aih-gen: interrupted; whole shards are kept, and the same command continues", file=sys.stderr)
        return INTERRUPTED


def _failed(sentence: str) -> int:
    print(f"aih-gen: error: {one_line(sentence)}", file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main())
