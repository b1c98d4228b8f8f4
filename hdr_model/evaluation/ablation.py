"""The paper's ablation: eight rows, each trained on the same number of steps, and the same hands measured in each.

A row is a run and a ``result.json``; what is there already is kept.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
import torch
from rich.console import Console
from torch import Tensor
from tqdm import tqdm

from aih_gen.config import RenderConfig, SynConfig
from aih_gen.errors import AIHError, AssetError
from aih_gen.io.json import read_json
from aih_gen.io.write import check_writable, write_text
from aih_gen.shards.reader import AIHShards
from aih_gen.typing import Array
from hdr_model.config import Preset, TrainConfig, preset, training_preset
from hdr_model.data.aih import AIHDataset
from hdr_model.data.batch import Batch
from hdr_model.device import choose_device, to_device, use_bfloat16
from hdr_model.evaluation.metrics import mpjpe
from hdr_model.evaluation.predict import FIELDS, cut_true_hands, estimate_in_image, known_hands, true_input
from hdr_model.evaluation.protocols import HDR_OWN, P1, by_side, protocol_errors
from hdr_model.evaluation.published import ABLATION, NAN
from hdr_model.evaluation.subsets import BATCH, portions, spread
from hdr_model.evaluation.table import Grid, Line, without_nan, write_grids
from hdr_model.evaluation.templates import render
from hdr_model.inference.hands import HandEstimator
from hdr_model.inference.pipeline import HDR, MEAN_BONE_LENGTH
from hdr_model.nets.hasm import HASM
from hdr_model.nets.hdrm import HDRM
from hdr_model.nets.shpe import SHPE
from hdr_model.painting import cut_hands
from hdr_model.training.checkpoint import start_from, steps_done
from hdr_model.training.hdrm import HDRMTask
from hdr_model.training.initial import initialise_encoder
from hdr_model.training.loop import train
from hdr_model.training.shpe import SHPETask
from hdr_model.training.task import Task
from hdr_model.weights import WEIGHTS, find_weights, trained_size

LARGE_ROWS = (1, 2, 3)
"""Those whose order is expected to be the paper's, worst first."""
HALF_HIDDEN = 0.5


@dataclass(frozen=True)
class Row:
    """One line of the table."""

    number: int
    name: str
    without: Literal["removal", "deocclusion", "discriminator", "transformer"] | None = None
    """The part that its HDRM lacks; also the name of the option --no-... of ``hdr train hdrm``."""
    subset: str | None = None
    """The part of AIH that is learnt from; None: all of it."""


ROWS = (
    Row(1, "SHPE only"),
    Row(2, "without removal", "removal"),
    Row(3, "without de-occlusion", "deocclusion"),
    Row(4, "without discriminator", "discriminator"),
    Row(5, "without transformer blocks", "transformer"),
    Row(6, "AIH_Render only", subset=RenderConfig.subset),
    Row(7, "AIH_Syn only", subset=SynConfig.subset),
    Row(8, "full"),
)


@dataclass(frozen=True)
class Study:
    """Everything the table depends on."""

    data: tuple[Path, ...]
    held_out: Path
    budget: int
    preset: Preset
    seed: int = 0
    hasm: Path | None = None
    """Masks of this HASM in place of the true ones."""
    limit: int | None = None
    start_from: Path | None = None
    """Trained weights where every row's HDRM begins, and whose SHPE serves all rows as it is."""

    def shpe(self, out: Path) -> Path:
        """The folder of the rows' SHPE."""
        return find_weights(self.start_from, "shpe") if self.start_from else out / "shpe" / WEIGHTS


class Trainer(Protocol):
    """The signature of ``training.loop.train`` as a row calls it."""

    def __call__(
        self,
        task: Task,
        config: TrainConfig,
        data: Sequence[Path],
        out: Path,
        *,
        device: torch.device,
        resume: bool,
        settings: Mapping[str, Any],
    ) -> object: ...


def ablate(study: Study, out: Path, device: str, train: Trainer = train) -> Grid:
    """Train and measure every row that is not there yet; write and print the table.

    Raises:
        AIHError: numbers or data that cannot serve, or ``out`` holds another study.
    """
    subsets = _check(study)
    _open_study(study, out)
    where = choose_device(device)
    shpe = study.shpe(out)
    commands = [] if study.start_from else [_command(study, "shpe", study.data, shpe.parent, device)]
    results: dict[int, dict[str, float]] = {}
    rows = [row for row in ROWS if not _same_as_full(row, study.preset)]
    for row in tqdm(rows, desc="ablation", unit="row"):
        run = out / f"{row.number}-{row.name.replace(' ', '-')}"
        finished = run / "result.json"
        painted = row.number > 1
        data = [path for path in study.data if row.subset in (None, subsets[path])]
        if painted:
            commands.append(_command(study, "hdrm", data, run, device, row.without))
        if finished.exists():
            results[row.number] = _read_result(finished)
            continue
        if not study.start_from and steps_done(shpe.parent) < study.budget:
            _train_shpe(study, shpe.parent, where, train)
        if painted and steps_done(run) < study.budget:
            _train_hdrm(study, row, data, run, where, train)
        results[row.number] = _measure(study, shpe, run if painted else None, where)
        run.mkdir(exist_ok=True)
        write_text(finished, json.dumps(without_nan(results[row.number]), indent=1) + "\n")
    grid, notes = _table(study, results), _notes(study, results, commands)
    _write_table(out, study, grid, notes)
    return grid


def _check(study: Study) -> dict[Path, str]:
    """The subset of each folder of training data."""
    if study.budget < 1:
        raise AIHError(f"--budget: expected at least 1, found {study.budget}")
    if study.limit is not None and study.limit < 1:
        raise AIHError(f"--limit: expected at least 1, found {study.limit}")
    subsets = {}
    for path in study.data:
        found = {shard.header.subset for shard in AIHShards(path).shards}
        if len(found) > 1:
            raise AIHError(f"{path}: expected shards of one subset in each of --data, found {', '.join(sorted(found))}")
        subsets[path] = found.pop()
    for row in ROWS:
        if row.subset and row.subset not in subsets.values():
            raise AIHError(
                f"--data: expected {row.subset} for row {row.number}, found {', '.join(sorted(subsets.values()))}"
            )
    AIHShards(study.held_out)
    if study.hasm:
        find_weights(study.hasm, "hasm")
    if study.start_from:
        find_weights(study.start_from, "hdrm"), find_weights(study.start_from, "shpe")
    return subsets


def _open_study(study: Study, out: Path) -> None:
    check_writable(out)
    settings = json.loads(json.dumps(asdict(study), default=str))
    path = out / "study.json"
    if path.exists():
        before = _read(path)
        for name, value in settings.items():
            if before.get(name) != value:
                raise AIHError(f"{path}, {name}: expected {before.get(name)} as before, found {value}")
    elif out.exists() and any(out.iterdir()):
        raise AIHError(f"{out}: expected an empty folder, or a study to go on with, found other things in it")
    out.mkdir(parents=True, exist_ok=True)
    write_text(path, json.dumps(settings, indent=1) + "\n")


def _same_as_full(row: Row, size: Preset) -> bool:
    """A preset without a discriminator makes row 4 the full model."""
    losses = training_preset("hdrm", size).losses
    return row.without == "discriminator" and not losses.adversarial


def _train_shpe(study: Study, out: Path, device: torch.device, train: Trainer) -> None:
    config = replace(training_preset("shpe", study.preset), steps=study.budget, seed=study.seed)
    torch.manual_seed(study.seed)
    task = SHPETask(config, preset("shpe", study.preset), device)
    init = initialise_encoder(task.shpe, "auto", started=False)
    settings = {"see": "one", "init": init, "chain": None}
    train(task, config, study.data, out, device=device, resume=True, settings=settings)


def _train_hdrm(study: Study, row: Row, data: Sequence[Path], out: Path, device: torch.device, train: Trainer) -> None:
    config = replace(training_preset("hdrm", study.preset), steps=study.budget, seed=study.seed)
    lacks: dict[str, Any] = {}
    if row.without == "discriminator":
        config = replace(config, losses=replace(config.losses, adversarial=0.0))
    elif row.without:
        lacks = {row.without: False}
    torch.manual_seed(study.seed)
    task = HDRMTask(config, replace(preset("hdrm", study.preset), **lacks), device)
    settings: dict[str, Any] = {"features": None, "chain": None}
    if study.start_from:
        start_from(task.hdrm, study.start_from)
        settings["start_from"] = str(study.start_from)
    train(task, config, data, out, device=device, resume=True, settings=settings)


def _command(
    study: Study, network: str, data: Sequence[Path], out: Path, device: str, without: str | None = None
) -> str:
    """The command line of the same run."""
    flag = f"--no-{without} " if without else ""
    flag += f"--start-from {study.start_from} " if study.start_from else ""
    return (
        f"hdr train {network} --data {' '.join(map(str, data))} --out {out} {flag}--preset {study.preset} "
        f"--steps {study.budget} --seed {study.seed} --device {device} --resume"
    )


@torch.inference_mode()
def _measure(study: Study, shpe: Path, run: Path | None, device: torch.device) -> dict[str, float]:
    """Errors of the held-out hands in mm; HDRM is that of ``run``, or there is none."""
    estimator = _networks(study, shpe, run, device)
    dataset = AIHDataset(study.held_out, FIELDS)
    errors: defaultdict[str, list[Array]] = defaultdict(list)
    shares: list[float] = []
    sides: list[int] = []
    for indices in tqdm(list(portions(spread(len(dataset), study.limit), BATCH)), desc="measure", unit="batch"):
        batch = to_device(dataset[indices], device)
        sample, hand, joints = _joints(estimator, batch, paint=run is not None)
        true = batch["joints_3d"][sample, hand].double().cpu().numpy()
        shares += batch["occlusion"][sample, hand].tolist()
        sides += hand.tolist()
        for protocol in (HDR_OWN, P1):
            errors[protocol.name] += list(protocol_errors(joints, true, protocol, MEAN_BONE_LENGTH))
    if not shares:
        raise AIHError(f"{study.held_out}: expected hands with masks, found none")
    hidden = np.asarray(shares) >= HALF_HIDDEN
    own, unscaled = (by_side(np.stack(errors[protocol.name]), sides) for protocol in (HDR_OWN, P1))
    return {"all": mpjpe(own), "hidden": mpjpe(own[hidden]), "unscaled": mpjpe(unscaled), "hands": float(len(own))}


def _networks(study: Study, shpe: Path, run: Path | None, device: torch.device) -> HandEstimator:
    """Row 1 paints nothing, and its HDRM is an untrained one."""
    pose, size = SHPE.from_pretrained(shpe), trained_size(shpe)
    hdrm = HDRM.from_pretrained(run / WEIGHTS) if run else HDRM(preset("hdrm", study.preset))
    bfloat16 = use_bfloat16(True, "auto", device)
    if study.hasm is None:
        return HandEstimator(hdrm, pose, size, device, bfloat16)
    weights = find_weights(study.hasm, "hasm")
    hasm, seen = HASM.from_pretrained(weights), trained_size(weights)
    return HDR(hasm, hdrm, pose, segmentation_size=seen, hand_size=size, device=device, bfloat16=bfloat16)


def _joints(estimator: HandEstimator, batch: Batch, paint: bool) -> tuple[Tensor, Tensor, Array]:
    """Sample (N,) and hand (N,) of a batch's hands, and their joints (N,21,3) in bone units and the camera's axes."""
    sample, hand, crops = cut_true_hands(batch, known_hands(batch)[0], estimator.hand_size)
    known = true_input(crops)
    if isinstance(estimator, HDR):
        images = batch["rgb"][:, 0].permute(0, 3, 1, 2).float() / 255
        masks = {name: mask[sample] for name, mask in estimator.segment(images).items()}
        known = cut_hands(images[sample], masks, hand, estimator.hand_size)
    shown = estimator.paint(known, dilate_hole=isinstance(estimator, HDR)).composite if paint else known.image
    return sample, hand, estimate_in_image(estimator, shown, known.affine)[1].double().cpu().numpy()


def _table(study: Study, results: dict[int, dict[str, float]]) -> Grid:
    full, paper_full = results[len(ROWS)], ABLATION[-1]
    lines = []
    for row, paper in zip(ROWS, ABLATION, strict=True):
        ours = results.get(row.number)
        figures = (NAN,) * 4
        if ours:
            figures = (ours["all"], ours["all"] - full["all"], ours["hidden"], ours["unscaled"])
        lines.append(Line(f"{row.number} {row.name}", (paper, paper - paper_full, *figures)))
    columns = ("paper [InterHand2.6M]", "paper, delta", "ours", "ours, delta", "ours, half hidden", "ours, P1")
    title = f"Ablation: MPJPE in mm after {study.budget} steps of preset {study.preset}"
    return Grid(title, columns, tuple(lines))


def _notes(study: Study, results: dict[int, dict[str, float]], commands: Sequence[str]) -> list[str]:
    order = sorted(LARGE_ROWS, key=lambda number: -results[number]["all"])
    same_order = order == list(LARGE_ROWS) and results[LARGE_ROWS[-1]]["all"] > results[len(ROWS)]["all"]
    ranking = " > ".join(str(number) for number in sorted(results, key=lambda number: -results[number]["all"]))
    left_out = [row for row in ROWS if row.number not in results]
    shpe = f"that of {study.start_from}, where every HDRM began" if study.start_from else "trained on hands alone"
    return [
        "The paper's column is other people's, on InterHand2.6M (M branch) after full training; ours is on "
        f"{int(results[1]['hands'])} hands of {study.held_out}, so only order and signs can be compared.",
        f"Ours: {HDR_OWN.name}; masks {'of a HASM' if study.hasm else 'true'}. Half hidden: hands of which at least "
        f"{HALF_HIDDEN:.0%} are. P1: wrist as root, no scale. One SHPE for all rows, {shpe}.",
        f"Ours from worst to best: {ranking}. The paper's order of its large rows (1 > 2 > 3 > 8) is "
        f"{'found' if same_order else 'not found'} here.",
        *(f"Row {row.number} is row 8: preset {study.preset} has no discriminator." for row in left_out),
        *commands,
    ]


def _write_table(out: Path, study: Study, grid: Grid, notes: Sequence[str]) -> None:
    document = {"study": json.loads(json.dumps(asdict(study), default=str)), "grid": asdict(grid), "notes": notes}
    write_text(out / "ablation.json", json.dumps(without_nan(document), indent=1) + "\n")
    write_text(out / "ablation.md", grid.markdown() + "\n" + "".join(f"- {note}\n" for note in notes))
    write_text(
        out / "index.html", render("ablation.html.jinja", title="The ablation", headings=(), grid=grid, notes=notes)
    )
    write_grids(out / "ablation.csv", [grid])
    console = Console()
    grid.print(console)
    for note in notes:
        console.print(f"- {note}", markup=False, highlight=False)
    print(out / "index.html")


def _read(path: Path) -> dict[str, Any]:
    try:
        document = read_json(path)
    except AssetError as error:
        raise AIHError(f"{path}: expected JSON that `hdr ablate` wrote, found other content ({error})") from error
    if not isinstance(document, dict):
        raise AIHError(f"{path}: expected a JSON object, found {type(document).__name__}")
    return document


def _read_result(path: Path) -> dict[str, float]:
    document = _read(path)
    if not {"all", "hidden", "unscaled", "hands"} <= document.keys():
        raise AIHError(f"{path}: expected the result of a row, found {', '.join(document)}; remove it to measure again")
    return {name: NAN if value is None else float(value) for name, value in document.items()}
