"""The arguments of ``hdr train``: one frozen dataclass a network, each of which can ``run()``."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar, cast, get_args

import tyro

from aih_gen.arguments import device_numbers
from aih_gen.config import CONFIG_SUFFIX
from aih_gen.errors import AIHError
from hdr_model.config import Precision, Preset, TrainConfig, preset, training_preset
from hdr_model.nets.encoders import EncoderName
from hdr_model.weights import MAX_NUMBER

if TYPE_CHECKING:
    import torch

    from hdr_model.nets.pretrained import PretrainedNetwork
    from hdr_model.training.task import Task

MAX_SIZE, MAX_WORKERS = 2048, 1024
"""Pixels of a side, and processes, beyond which no machine has the memory."""
MAX_MINUTES = 366 * 24 * 60

Config = TypeVar("Config", bound=TrainConfig)


def _presets(text: str, name: str) -> Any:
    """The help of an option: what it is, in its unit, and every preset's number."""
    presets, rows = get_args(Preset), []
    for task in ("hasm", "hdrm", "shpe"):
        numbers = [getattr(training_preset(task, preset), name) for preset in presets]
        rows.append(f"{task} {' '.join(f'{number:.7g}' for number in numbers)}")
    return tyro.conf.arg(help=f"{text}; by default the preset's ({' '.join(presets)}): {', '.join(rows)}.")


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """Length of the training and its batches."""

    steps: Annotated[int | None, _presets("Steps of the optimiser", "steps")] = None
    minutes: float | None = None
    """In place of --steps: as many as that time allows by the rate of the first few, for a schedule that ends then."""
    size: Annotated[int | None, _presets("Side of the network's input in pixels", "size")] = None
    batch_size: Annotated[int | None, _presets("Samples in a step of each process", "batch_size")] = None
    learning_rate: Annotated[float | None, _presets("Highest learning rate of the schedule", "learning_rate")] = None
    seed: int = 0
    """Another seed, other first weights and another order of the samples."""


@dataclass(frozen=True, kw_only=True)
class Reports:
    """Intervals of reports and checkpoints; by default the preset's."""

    log_every: int | None = None
    """Steps between points of the curves."""
    picture_every: int | None = None
    """Steps between images of the predictions."""
    checkpoint_every: int | None = None
    """Steps between checkpoints."""
    validate: Path | None = None
    """Held-out shards: the weights of the step with the lowest loss on them are kept in RUN/best."""
    validate_every: int | None = None
    """Steps between these."""


@dataclass(frozen=True, kw_only=True)
class Synthesis:
    """Samples that are made during training."""

    synthesise: float = 0.0
    """Share of each batch that is composed while training, one hand pasted over another (AIH_Syn); with 1, --data needs
    to hold nothing but single hands."""
    hands: Path | None = None
    """The source of those single hands: AIH_Render shards, or a folder with right/NAME.jpg, right/NAME_mask.png,
    left/... By default the first of --data."""
    window: int | None = None
    """Samples of a configuration in --data that are held in memory (655 kB each at 256 pixels), from which batches are
    drawn; by default 1,024."""
    new_per_step: int | None = None
    """Samples of each batch that are new, the others come from the window; by default a quarter of the batch."""
    gl_device: str | None = None
    """Number of the device that draws a configuration's samples, from 0, as aih-gen render takes it; of several, such
    as 0,1, each worker takes one, in turn. By default the first."""


@dataclass(frozen=True, kw_only=True)
class Machine:
    """Device, precision and processes."""

    device: str = "auto"
    """auto, cpu, cuda, cuda:1, ..."""
    precision: Precision = "auto"
    """auto: as the preset says, where the device computes bfloat16 natively."""
    workers: int = 0
    """Processes that read shards, or make samples; 0 does so between the steps."""
    compile: bool = False
    """Compile the networks with torch.compile: slow to start, then faster on a GPU."""


@dataclass(frozen=True, kw_only=True)
class TrainArguments:
    """The arguments that the training of all networks has."""

    data: tuple[Path, ...]
    """Shards to learn from: files, or folders of them. Or a configuration, whose samples are made meanwhile: the JSON
    that aih-gen config prints, or the manifest.json of shards."""
    out: Path
    """Folder of the run: weights, checkpoint, curves, images of predictions."""
    preset: Preset = "light"
    """Size of the network and schedule; other options change single numbers of it."""
    start_from: Path | None = None
    """Weights to start from in place of random ones, of the preset's sizes: a folder with hasm, hdrm and shpe, or a
    run."""
    resume: bool = False
    """Go on with the run in --out, or start it where there is none."""
    schedule: Schedule
    reports: Reports
    synthesis: Synthesis
    machine: Machine

    def _changed(self, config: Config) -> Config:
        """The preset with what was given in place of its numbers."""
        schedule, numbers = self.schedule, {**asdict(self.schedule), **asdict(self.reports)}
        names = ["steps", "size", "batch_size", "learning_rate"]
        names += ["log_every", "picture_every", "checkpoint_every", "validate_every"]
        changes = {name: numbers[name] for name in names if numbers[name] is not None}
        for name, value in changes.items():
            if not 0 < value < math.inf:
                raise AIHError(f"--{name.replace('_', '-')}: expected a number above 0, found {value}")
            if value > (most := MAX_SIZE if name == "size" else MAX_NUMBER):
                raise AIHError(f"--{name.replace('_', '-')}: expected at most {most}, found {value}")
        if schedule.minutes is not None and (schedule.steps or not 0 < schedule.minutes <= MAX_MINUTES):
            found = f"both {schedule.minutes:g} and --steps" if schedule.steps else f"{schedule.minutes:g}"
            raise AIHError(f"--minutes: expected a time above 0 and up to a year, without --steps, found {found}")
        if schedule.minutes is not None and any(path.suffix == CONFIG_SUFFIX for path in self.data):
            raise AIHError(
                "--minutes: expected --steps with a configuration, whose first steps are slower, found a time"
            )
        if schedule.batch_size == 1:
            raise AIHError("--batch-size: expected at least 2, for batch normalisation, found 1")
        found = f"{self.machine.workers} and {schedule.seed}"
        if self.machine.workers < 0 or schedule.seed < 0:
            raise AIHError(f"--workers, --seed: expected no negative number, found {found}")
        if self.machine.workers > MAX_WORKERS or schedule.seed >= 2**63:
            raise AIHError(f"--workers: expected at most {MAX_WORKERS}, and --seed below 2^63, found {found}")
        return replace(config, seed=schedule.seed, **changes)

    def _device(self) -> torch.device:
        """The device, with the random numbers of the first weights set."""
        import torch

        from hdr_model.device import choose_device

        torch.manual_seed(self.schedule.seed)
        return choose_device(self.machine.device)

    def _train(self, task: Task, config: TrainConfig, device: torch.device, **settings: object) -> None:
        from hdr_model.training.checkpoint import start_from
        from hdr_model.training.loop import train

        if self.reports.validate:
            _check_held_out(self.reports.validate, self.data)
        if self.start_from:
            start_from(cast("PretrainedNetwork", task.networks[config.task]), self.start_from)
            settings["start_from"] = str(self.start_from)
        weights = train(
            task,
            config,
            self.data,
            self.out,
            device=device,
            precision=self.machine.precision,
            workers=self.machine.workers,
            resume=self.resume,
            synthesise=self.synthesis.synthesise,
            hands=self.synthesis.hands,
            window=self.synthesis.window,
            new_per_step=self.synthesis.new_per_step,
            gl_device=device_numbers(self.synthesis.gl_device),
            validation=self.reports.validate,
            compiled=self.machine.compile,
            seconds=None if self.schedule.minutes is None else 60 * self.schedule.minutes,
            settings=settings,
        )
        print(weights)


def _check_held_out(shards: Path, data: Sequence[Path]) -> None:
    place = shards.resolve()
    for given in (path.resolve() for path in data):
        if place == given or (place.parent == given and place.is_file()) or (given.parent == place and given.is_file()):
            raise AIHError(f"--validate: expected shards that are not trained on, found {shards}, which is in --data")


@dataclass(frozen=True, kw_only=True)
class TrainHASM(TrainArguments):
    """Train HASM, which finds both hands' whole (amodal) and visible masks."""

    windows: float | None = None
    """Share of images that are a small part of the photo, in place of the preset's."""
    distant: float | None = None
    """Share of images in which the hands are smaller, over another background, in place of the preset's."""
    encoder: EncoderName | None = None
    """In place of the preset's."""
    init: str = "auto"
    """The encoder's first weights: auto takes those of ImageNet where they are shipped and --start-from
    gives none; imagenet expects them; random; or a file of a Mix Transformer's in NVlabs', mmsegmentation's or
    transformers' layout."""

    def run(self) -> None:
        """Train."""
        from hdr_model.training.hasm import HASMTask
        from hdr_model.training.initial import initialise_encoder

        config, device = self._changed(training_preset("hasm", self.preset)), self._device()
        shares = {name: getattr(self, name) for name in ("windows", "distant") if getattr(self, name) is not None}
        for name, share in shares.items():
            if not 0 <= share <= 1:
                raise AIHError(f"--{name}: expected a share from 0 to 1, found {share:g}")
        config = replace(config, **shares)
        network = preset("hasm", self.preset)
        task = HASMTask(config, replace(network, encoder=self.encoder or network.encoder), device)
        init = initialise_encoder(task.hasm, self.init, started=self.start_from is not None)
        self._train(task, config, device, init=init)


@dataclass(frozen=True, kw_only=True)
class TrainHDRM(TrainArguments):
    """Train HDRM, which paints what hides a hand. The --no options are the paper's ablation."""

    removal: bool = True
    """Paint the background behind the other hand."""
    deocclusion: bool = True
    """Paint the hidden part of this hand."""
    discriminator: bool = True
    """Train against a discriminator, in presets that have one."""
    transformer: bool = True
    """Attention between the convolutions."""
    features: Path | None = None
    """For the perceptual and style losses: VGG16's weights as torchvision stores them, or a run of HASM or SHPE."""
    chain: Path | None = None
    """A folder with a trained hasm, whose masks a share of the crops then has."""
    perceptual: float | None = None
    """Weight of the perceptual loss, in place of the preset's."""
    style: float | None = None
    """Weight of the style loss, in place of the preset's."""

    def run(self) -> None:
        """Train."""
        from hdr_model.training.features import open_features
        from hdr_model.training.hdrm import HDRMTask

        if not (self.removal or self.deocclusion):
            raise AIHError("--no-removal, --no-deocclusion: expected at most one of them, found both")
        config, device = self._changed(training_preset("hdrm", self.preset)), self._device()
        changes = {name: getattr(self, name) for name in ("perceptual", "style") if getattr(self, name) is not None}
        for name, weight in changes.items():
            if not 0 <= weight < math.inf:
                raise AIHError(f"--{name}: expected a weight of at least 0, found {weight:g}")
        if not self.discriminator:
            changes["adversarial"] = 0.0
        losses = replace(config.losses, **changes)
        config = replace(config, losses=losses)
        if self.features and not (losses.perceptual or losses.style):
            raise AIHError(
                "--features: expected a weight for their losses, such as --perceptual 0.1 --style 250, found none in "
                f"preset {self.preset}"
            )
        network = replace(
            preset("hdrm", self.preset),
            removal=self.removal,
            deocclusion=self.deocclusion,
            transformer=self.transformer,
        )
        extract = open_features(self.features, device) if self.features else None
        features = str(self.features) if self.features else None
        task = HDRMTask(config, network, device, extract, self.chain)
        self._train(task, config, device, features=features, chain=str(self.chain) if self.chain else None)


@dataclass(frozen=True, kw_only=True)
class TrainSHPE(TrainArguments):
    """Train SHPE, which measures the joints of one hand in 3D."""

    see: Literal["one", "both"] = "one"
    """Learn from images of one hand alone (the targets), or of both (the paper's "SHPE only")."""
    chain: Path | None = None
    """A folder with a trained hasm and hdrm, whose paintings a share of the crops then shows."""
    encoder: EncoderName | None = None
    """In place of the preset's."""
    init: str = "auto"
    """The encoder's first weights: auto takes those of ImageNet where they are shipped and --start-from
    gives none; imagenet expects them; random; or a file."""

    def run(self) -> None:
        """Train."""
        from hdr_model.training.initial import initialise_encoder
        from hdr_model.training.shpe import SHPETask

        config, device = self._changed(training_preset("shpe", self.preset)), self._device()
        network = preset("shpe", self.preset)
        network = replace(network, encoder=self.encoder or network.encoder)
        if self.chain and self.see == "both":
            raise AIHError("--chain, --see both: expected one of them, as HDRM paints one hand alone, found both")
        task = SHPETask(config, network, device, both_hands=self.see == "both", chain=self.chain)
        init = initialise_encoder(task.shpe, self.init, started=self.start_from is not None)
        self._train(task, config, device, see=self.see, init=init, chain=str(self.chain) if self.chain else None)
