"""``hdr``: the command line. Arguments and printing, nothing else."""

from __future__ import annotations

import json
import math
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro
from tqdm import tqdm

from aih_gen.arguments import parse_arguments, print_any_name
from aih_gen.errors import AIHError
from aih_gen.io.write import check_apart
from aih_gen.typing import Branch, Split
from hdr_model.config import Engine, Preset
from hdr_model.training_arguments import TrainHASM, TrainHDRM, TrainSHPE

if TYPE_CHECKING:
    from hdr_model.inference.result import Part

INTERRUPTED = 130

Device = Annotated[str, tyro.conf.arg(help="auto (the GPU where there is one), cpu, cuda, cuda:1, ...")]
NetworksEngine = Annotated[
    Engine,
    tyro.conf.arg(
        help="Computes the networks. onnxruntime does so on the CPU, and also takes the folder of an export as "
        "--weights; weights are exported first."
    ),
]


@dataclass(frozen=True, kw_only=True)
class Train:
    """Train one of the three networks, on AIH shards or with no disk."""

    network: (
        Annotated[TrainHASM, tyro.conf.subcommand("hasm")]
        | Annotated[TrainHDRM, tyro.conf.subcommand("hdrm")]
        | Annotated[TrainSHPE, tyro.conf.subcommand("shpe")]
    )

    def run(self) -> None:
        """Train."""
        self.network.run()


@dataclass(frozen=True, kw_only=True)
class Evaluate:
    """Measure trained networks on held-out shards, or on other people's photos, beside trivial guesses."""

    out: Path
    """Folder of the page, the table and examples."""
    data: Path | None = None
    """Held-out shards: a file, or a folder of them."""
    dataset: Literal["interhand26m", "tzionas"] | None = None
    """In place of --data: photos of --root, of which shards are first made in OUT/annotated (see aih-gen annotate)."""
    root: Path | None = None
    """The folder of that data set."""
    split: Split = "test"
    """Of InterHand2.6M."""
    branch: Branch = "all"
    """Of InterHand2.6M: human_annot, machine_annot or all; v1.0 has only all."""
    hand_model: str = ""
    """Folder of the MANO files that the fits of InterHand2.6M are for; with --mesh, of those fitted: else the free
    hand."""
    workers: int = 1
    """Processes that make these shards."""
    weights: Path | None = None
    """Folder with hasm, hdrm and shpe: weights, or the runs that made them; by default the shipped weights."""
    train_data: tuple[Path, ...] = ()
    """The shards trained on, for the guesses that know their mean."""
    vgg: Path | None = None
    """VGG16's weights as torchvision stores them: with --lpips, LPIPS is measured too."""
    lpips: Path | None = None
    """LPIPS's linear layers for VGG16: vgg.pth of the authors' package."""
    inception: Path | None = None
    """Inception's weights as pytorch-fid uses them, pt_inception-2015-12-05-6726825d.pth: FID is measured too."""
    predictions: Path | None = None
    """Folder of another program's masks, images or joints for these samples: in it a folder for each, of its number in
    the shards (eight digits), with files as hdr infer writes them."""
    baseline: Literal["telea"] | None = None
    """An inpainting that is measured beside HDRM; its package comes with the extra baselines."""
    mesh: bool = False
    """Also fit the hand model to the joints, and measure its vertices (MPVPE) and joints."""
    engine: NetworksEngine = "torch"
    device: Device = "auto"
    limit: int | None = None
    """At most so many samples, spread evenly."""

    def run(self) -> None:
        """Evaluate."""
        if (self.data is None) == (self.dataset is None):
            found = "neither" if self.data is None else "both"
            raise AIHError(f"expected --data with shards, or --dataset and --root, found {found}")
        if (self.vgg is None) != (self.lpips is None):
            raise AIHError("LPIPS: expected --vgg and --lpips, found only one of them")
        from hdr_model.evaluation.evaluate import evaluate
        from hdr_model.evaluation.perceptual import PerceptualMetrics

        perceptual = PerceptualMetrics.from_files(self.vgg, self.lpips, self.inception)
        data = self.data or self._annotated()
        mesh = (self.hand_model or "free") if self.mesh else None
        evaluate(
            data, self.weights, self.out, list(self.train_data), self.device, self.limit, perceptual, mesh,
            self.predictions, self.baseline, self.engine,
        )  # fmt: skip

    def _annotated(self) -> Path:
        from hdr_model.evaluation.annotated import annotated_photos, annotated_shards
        from hdr_model.evaluation.evaluate import check_request
        from hdr_model.inference.pipeline import HDR

        photos = annotated_photos(self.dataset, self.root, self.split, self.branch, self.hand_model)
        check_request(self.out, self.limit)
        check_apart(self.out, [photos.source])
        HDR.from_pretrained(self.weights, engine=self.engine)  # what they lack is said before many photos are drawn
        shards, lines = annotated_shards(photos, self.out, self.workers)
        print(*lines, sep="\n  ")
        return shards


@dataclass(frozen=True, kw_only=True)
class Infer:
    """Photos to masks, each hand alone, and joints in 3D."""

    photos: tyro.conf.Positional[tuple[Path, ...]] = ()
    """Photos of one hand or two, of any size; a folder stands for the photos in it."""
    out: Path
    """Folder of the results, one folder a photo."""
    weights: Path | None = None
    """Folder with hasm, hdrm and shpe; by default the shipped weights."""
    video: Path | None = None
    """A video to work on frame by frame, instead of photos."""
    box: tuple[float, float, float, float] | None = None
    """Left, top, right, bottom of the hands in pixels; by default they are looked for."""
    batch_size: Annotated[int, tyro.conf.arg(aliases=["--batch"])] = 1
    """Photos worked on together; --batch is its name of before."""
    only: str | None = None
    """Write only these of masks, alone, joints, skeletons, overview, result and mesh (commas between them)."""
    mesh: bool = False
    """Also fit the hand model to the joints: meshes as GLB and OBJ, and over the photo. --only mesh says so too."""
    hand_model: str = "free"
    """Of the meshes: free, or the path of a MANO file or of the folder with them."""
    focal_length: float | None = None
    """Of the photos' camera in their pixels, which meshes are placed before; by default a guess, a photo's diagonal."""
    smooth: float | None = None
    """Seconds over which the joints of a video at rest are smoothed, moving ones less; 0: as each frame shows them; by
    default 0.05."""
    rerun: Path | None = None
    """Also write all photos' results into one file for the viewer rerun."""
    json: bool = False
    """Print a line of JSON for each photo or video, in place of one for people."""
    engine: NetworksEngine = "torch"
    device: Device = "auto"

    def run(self) -> None:
        """Infer."""
        if bool(self.photos) == bool(self.video):
            found = "both" if self.photos else "none"
            raise AIHError(f"expected at least one photo, or --video with a video, found {found}")
        if self.batch_size < 1:
            raise AIHError(f"--batch-size: expected at least 1, found {self.batch_size}")
        if self.video and self.only:
            raise AIHError("--only: expected photos, of whose files it chooses, found --video")
        if self.video and self.rerun:
            raise AIHError("--rerun: expected photos, found --video")
        if self.smooth is not None and not self.video:
            raise AIHError("--smooth: expected --video, whose joints it smooths, found photos")
        if self.smooth is not None and not 0 <= self.smooth < math.inf:
            raise AIHError(f"--smooth: expected seconds of 0 or more, found {self.smooth:g}")
        mesh = self.mesh or (self.only is not None and "mesh" in _parts(self.only))
        if self.video and mesh:
            raise AIHError("--mesh: expected photos, found --video")
        for flag, given in (
            ("--hand-model", self.hand_model != "free"),
            ("--focal-length", self.focal_length is not None),
        ):
            if given and not mesh:
                raise AIHError(f"{flag}: expected --mesh too, of whose meshes it speaks, found none")
        from hdr_model.inference.infer import Meshes, Written, infer_photos, infer_video
        from hdr_model.inference.smoothing import SMOOTH

        def tell(written: Written) -> None:
            line = json.dumps(written.to_dict(), allow_nan=False) if self.json else written.line
            tqdm.write(line)

        if self.video:
            smooth = SMOOTH if self.smooth is None else self.smooth
            infer_video(self.video, self.weights, self.out, self.device, self.box, smooth, tell, self.engine)
        else:
            only = _parts(self.only)
            meshes = Meshes(self.hand_model, self.focal_length) if mesh else None
            infer_photos(
                self.photos, self.weights, self.out, self.device, self.box, self.batch_size, only, tell, meshes,
                self.engine, self.rerun,
            )  # fmt: skip


def _parts(listed: str | None) -> tuple[Part, ...]:
    from hdr_model.inference.result import PARTS

    named = {name.strip() for name in listed.split(",")} if listed is not None else set(PARTS)
    if not named <= set(PARTS):
        raise AIHError(f"--only: expected some of {', '.join(PARTS)}, found {', '.join(sorted(named - set(PARTS)))}")
    return tuple(part for part in PARTS if part in named)


@dataclass(frozen=True, kw_only=True)
class Ablate:
    """Train and evaluate the rows of the paper's ablation, each on the same budget; continues where it stopped."""

    data: tuple[Path, ...]
    """Shards of AIH_Render and of AIH_Syn to learn from."""
    held_out: Path
    """Shards to measure on."""
    out: Path
    """Folder of the rows' runs and of the table."""
    budget: int = 400
    """Steps of SHPE, and of HDRM in every row."""
    preset: Preset = "nano"
    """Size of the networks and schedule."""
    seed: int = 0
    """Another seed, other first weights and another order of the samples."""
    hasm: Path | None = None
    """A trained HASM, whose masks are then used in place of the true ones."""
    limit: int | None = None
    """Measure on at most so many samples, spread evenly."""
    start_from: Path | None = None
    """A folder with trained hdrm and shpe: every row's HDRM begins there, and SHPE stays as it is."""
    device: Device = "auto"

    def run(self) -> None:
        """Ablate."""
        from hdr_model.evaluation.ablation import Study, ablate

        study = Study(
            self.data, self.held_out, self.budget, self.preset, self.seed, self.hasm, self.limit, self.start_from
        )
        ablate(study, self.out, self.device)


@dataclass(frozen=True, kw_only=True)
class Bench:
    """Time the networks and the whole of HDR, beside the paper's times."""

    preset: Preset = "light"
    """Sizes of the networks; their weights do not matter here."""
    out: Path | None = None
    """Folder for bench.json and bench.md."""
    device: Device = "auto"
    batch_sizes: tuple[int, ...] = (1, 32)
    """Photos, or hands, that are worked on together."""
    seconds: float = 5.0
    """Measure each figure for about so long."""

    def run(self) -> None:
        """Measure."""
        from hdr_model.evaluation.bench import bench

        bench(self.preset, self.device, self.batch_sizes, self.seconds, self.out)


@dataclass(frozen=True, kw_only=True)
class Demo:
    """A page on this machine to try HDR on photos."""

    weights: Path | None = None
    """Folder with hasm, hdrm and shpe; by default the shipped weights."""
    port: int = 7860
    """Of the page: http://127.0.0.1:PORT."""
    engine: NetworksEngine = "torch"
    device: Device = "auto"

    def run(self) -> None:
        """Serve until interrupted."""
        from hdr_model.inference.demo.server import serve

        serve(self.weights, self.port, self.device, self.engine)


@dataclass(frozen=True, kw_only=True)
class Export:
    """The three networks as ONNX, which onnxruntime and others run; each is compared with torch's first."""

    out: Path
    """Folder of config.json and model.onnx of hasm, hdrm and shpe; not there yet."""
    to: Literal["onnx"] = "onnx"
    """The format."""
    weights: Path | None = None
    """Folder with hasm, hdrm and shpe; by default the shipped weights."""

    def run(self) -> None:
        """Export."""
        from hdr_model.inference.export import Exported, export

        def tell(network: Exported) -> None:
            print(f"{network.task}: {len(network.model):,} bytes, {network.difference:.1e} at most from torch's")

        export(self.weights, self.out, tell)
        print(self.out)


@dataclass(frozen=True, kw_only=True)
class ImportReference:
    """Turn the authors' checkpoints into a folder of weights that HDR.from_pretrained takes."""

    hasm: Path
    """Their HASM: an mmsegmentation checkpoint."""
    hdrm: Path
    """Their HDRM."""
    shpe: Path
    """Their SHPE."""
    out: Path
    """Folder of our weights: hasm, hdrm and shpe."""

    def run(self) -> None:
        """Import."""
        from hdr_model.import_reference import import_reference

        for folder in import_reference({"hasm": self.hasm, "hdrm": self.hdrm, "shpe": self.shpe}, self.out):
            print(folder)


COMMANDS = (
    Annotated[Train, tyro.conf.subcommand("train")]
    | Annotated[Evaluate, tyro.conf.subcommand("eval")]
    | Annotated[Ablate, tyro.conf.subcommand("ablate")]
    | Annotated[Infer, tyro.conf.subcommand("infer")]
    | Annotated[Bench, tyro.conf.subcommand("bench")]
    | Annotated[Demo, tyro.conf.subcommand("demo")]
    | Annotated[Export, tyro.conf.subcommand("export")]
    | Annotated[ImportReference, tyro.conf.subcommand("import-reference")]
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run ``hdr``; a user's mistake, and a file or disk that fails, is one sentence and exit code 2."""
    print_any_name()
    description = "Hand de-occlusion and removal: train, measure and run HASM, HDRM and SHPE."
    command: Any = None
    try:
        try:
            command = parse_arguments(COMMANDS, "hdr", description, arguments)
            command.run()
        finally:
            sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # else Python complains when it ends
    except AIHError as error:
        return _failed(str(error))
    except OSError as error:
        return _failed(f"{error.filename or 'files'}: {error.strerror or error}")
    except (MemoryError, RuntimeError) as error:
        if not _lacks_memory(error):
            raise
        return _failed(f"memory: expected enough for these sizes and batches, found too little ({error})")
    except KeyboardInterrupt:
        more = "a training goes on from its last checkpoint with --resume"
        print(f"hdr: interrupted; {more if isinstance(command, Train) else 'what is complete stays'}", file=sys.stderr)
        return INTERRUPTED
    return 0


def _lacks_memory(error: Exception) -> bool:
    """True for NumPy's error, and torch's of a GPU and of the CPU, which has no type of its own."""
    named = isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError"
    return named or "can't allocate memory" in str(error)


def _failed(sentence: str) -> int:
    print(f"hdr: error: {' '.join(sentence.splitlines())}", file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main())
