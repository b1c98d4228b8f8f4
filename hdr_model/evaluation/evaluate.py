"""``hdr eval``: held-out shards through HDR, and tables, charts and examples of the results."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from tqdm import tqdm

from aih_gen.config import SIDES
from aih_gen.errors import AIHError
from aih_gen.io.write import check_apart, check_writable
from hdr_model.config import Engine
from hdr_model.data.aih import AIHDataset
from hdr_model.device import choose_device, to_device, use_bfloat16
from hdr_model.evaluation.examples import image_row, mask_row, pose_row, predict_examples, ranked, save_rows
from hdr_model.evaluation.inpainting import Baseline
from hdr_model.evaluation.meshes import MESH_FIELDS, MeshScores
from hdr_model.evaluation.others import Others
from hdr_model.evaluation.page import write_page
from hdr_model.evaluation.perceptual import PerceptualMetrics
from hdr_model.evaluation.pose import pose_curves, pose_grids
from hdr_model.evaluation.predict import FIELDS, FOUND, TRUE, predict
from hdr_model.evaluation.prior import training_prior
from hdr_model.evaluation.protocols import HDR_OWN
from hdr_model.evaluation.rows import result_notes, result_rows
from hdr_model.evaluation.scores import HASM, NO_PERCEPTUAL, Scores, add_scores, read_sample_meta
from hdr_model.evaluation.subsets import BATCH, portions, spread
from hdr_model.evaluation.table import Evaluation
from hdr_model.inference.pipeline import HDR


def evaluate(
    data: Path,
    weights: Path | None,
    out: Path,
    train_data: list[Path],
    device: str,
    limit: int | None,
    perceptual: PerceptualMetrics = NO_PERCEPTUAL,
    mesh: str | None = None,
    predictions: Path | None = None,
    baseline: Baseline | None = None,
    engine: Engine = "torch",
) -> Evaluation:
    """Measure the networks in ``weights`` (None: the shipped ones) on the shards in ``data``; write and print tables.

    Args:
        train_data: the shards trained on, for the guesses that know their mean; with none those are left out ("-").
        limit: at most so many samples, spread evenly.
        perceptual: also measure painted crops.
        mesh: a hand model, ``free`` or a path, that is fitted to the joints and measured too.
        predictions: a folder with another program's results, which are measured beside.
        baseline: an inpainting that is measured beside HDRM.
        engine: of the networks, as ``HDR.from_pretrained`` takes it.

    Raises:
        AIHError: a folder or a number is not what it should be.
    """
    check_request(out, limit)
    check_apart(out, [data, *train_data, *(path for path in (weights, predictions) if path)])
    dataset = AIHDataset(data, FIELDS + MESH_FIELDS if mesh else FIELDS)
    chosen = spread(len(dataset), limit)
    others = Others(dataset, chosen, predictions, baseline)
    meshes = MeshScores(mesh, dataset) if mesh else None
    bfloat16 = engine == "torch" and use_bfloat16(True, "auto", choose_device(device))
    hdr = HDR.from_pretrained(weights, device=device, bfloat16=bfloat16, engine=engine)
    perceptual = perceptual.to(hdr.device)
    prior = training_prior(train_data) if train_data else None
    scores = Scores()
    for indices in tqdm(list(portions(chosen, BATCH)), desc="evaluate", unit="batch"):
        batch = to_device(dataset[indices], hdr.device)
        metas = read_sample_meta(dataset, indices, batch)
        predicted = predict(hdr, batch)
        add_scores(scores, indices, batch, others.beside(predicted, indices), prior, metas, perceptual)
        if meshes:
            meshes.add(batch, predicted)
    settings = {"data": str(data), "weights": str(weights or "shipped"), "samples": str(len(chosen))}
    settings |= {"data_sha256": dataset.shards.digest(), "crop": str(hdr.hand_size)}
    settings |= {"precision": hdr.precision, "engine": engine}
    evaluation = Evaluation(
        (*result_rows(scores), *(meshes.rows() if meshes else ())),
        (*result_notes(scores, hdr, len(chosen)), *others.notes()),
        settings | others.settings,
        (*pose_grids(scores.pose), *(meshes.grids() if meshes else ())),
        tuple(pose_curves(scores.pose)),
    )
    (out / "pictures").mkdir(parents=True, exist_ok=True)
    evaluation.write(out)
    _write_examples(scores, dataset, hdr, out / "pictures")
    page = write_page(evaluation, out)
    evaluation.print()
    print(f"{page}: all tables, their notes and examples; {out / 'metrics.csv'}, {out / 'grids.csv'}: their figures")
    return evaluation


def check_request(out: Path, limit: int | None) -> None:
    """Raise AIHError for a folder or a limit that ``evaluate`` cannot work with."""
    check_writable(out)
    if limit is not None and limit < 1:
        raise AIHError(f"--limit: expected at least 1, found {limit}")


def _write_examples(scores: Scores, dataset: AIHDataset, hdr: HDR, folder: Path) -> None:
    of_hands = np.asarray(scores.overlap["amodal", HASM].of_each()).reshape(-1, len(SIDES))
    ious = [float(np.nanmean(hands)) if np.isfinite(hands).any() else float("nan") for hands in of_hands]
    psnrs = scores.region["hole", TRUE].psnr_of_each()
    pose = scores.pose
    by_hand = pose.errors(FOUND, HDR_OWN) if pose.sample else np.empty((0, 1))
    errors = [float(np.nanmean(e)) if np.isfinite(e).any() else float("nan") for e in by_hand]
    places = list(zip(pose.sample, pose.hand, strict=True))
    ranks = {
        "masks": [(f"{name}: IoU {ious[k]:.2f}", (scores.samples[k], 0)) for name, k in ranked(ious, "higher")],
        "images": [(f"{name}: {psnrs[k]:.1f} dB", scores.targets[k]) for name, k in ranked(psnrs, "higher")],
        "pose": [(f"{name}: {errors[k]:.1f} mm", places[k]) for name, k in ranked(errors, "lower")],
    }
    draw = {"masks": mask_row, "images": image_row, "pose": pose_row}
    for kind, ranking in tqdm(ranks.items(), desc="examples", unit="image"):
        examples = predict_examples(hdr, dataset, [place for _, place in ranking]) if ranking else []
        rows = [draw[kind](example, caption) for example, (caption, _) in zip(examples, ranking, strict=True)]
        save_rows(folder / f"{kind}.png", rows)
