"""Trained runs -> ``assets/weights``: bfloat16, measured on held-out pairs, with a model card and a licence.

Part of build_weights.sh.

python scripts/pack_weights.py WORK OUT
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file

from aih_gen.arguments import run_script
from aih_gen.errors import AIHError
from aih_gen.io.write import write_text
from aih_gen.shards.reader import AIHShards
from hdr_model.config import TASKS, Task
from hdr_model.evaluation.bench import machine
from hdr_model.evaluation.evaluate import evaluate
from hdr_model.evaluation.table import Evaluation
from hdr_model.nets.pretrained import write_tensors
from hdr_model.weights import CONFIG_FILE, WEIGHTS_FILE, find_weights, read_settings

MAX_BYTES = 40_000_000
LICENCE = """# Licence of these weights

CC0 1.0 (https://creativecommons.org/publicdomain/zero/1.0/) for what `scripts/build_weights.sh` trained, on images
that this project drew from its own CC0 assets. The encoders of HASM and SHPE began with EfficientNet-Lite's ImageNet
weights (see `assets/encoders/LICENSE.md`), Apache License 2.0, which therefore holds for them.
"""


def pack_weights(work: Path, out: Path) -> None:
    """Pack the runs in WORK/runs into OUT, and measure them on WORK/aih_heldout."""
    packed = {task: pack(find_weights(work / "runs", task), out / task) for task in TASKS}
    total = sum(packed.values())
    if total > MAX_BYTES:
        raise AIHError(f"{out}: expected at most {MAX_BYTES / 1e6:.0f} MB of weights, found {total / 1e6:.1f} MB")
    write_text(out / "LICENSE.md", LICENCE)
    found = evaluate(work / "aih_heldout", out, work / "eval", [work / "aih_render"], "auto", None)
    write_text(out / "README.md", card(work, packed, found))
    print(f"{out}: {total / 1e6:.1f} MB")


def pack(source: Path, target: Path) -> int:
    """Store one network's weights as bfloat16, with its configuration and the size it was trained at; the bytes."""
    tensors = load_file(source / WEIGHTS_FILE)
    target.mkdir(parents=True, exist_ok=True)
    stored = {n: t.to(torch.bfloat16) if t.is_floating_point() else t for n, t in tensors.items()}
    write_tensors(target / WEIGHTS_FILE, stored)
    settings = read_settings(source.parent) or {}
    document = json.loads((source / CONFIG_FILE).read_text())
    document["training"] = {n: settings[n] for n in ("task", "preset", "size", "steps", "batch_size", "seed")}
    write_text(target / CONFIG_FILE, json.dumps(document, indent=1) + "\n")
    return (target / WEIGHTS_FILE).stat().st_size


def card(work: Path, packed: dict[Task, int], found: Evaluation) -> str:
    """The model card, from the commands' logs and the measured figures."""
    lines = [line.rpartition("\t") for line in (work / "commands.tsv").read_text().splitlines()]
    device = machine(torch.device("cuda" if torch.cuda.is_available() else "cpu"))
    typed = ((command.replace(str(work), "WORK"), seconds) for command, _, seconds in lines)
    commands = "\n".join(f"python -m {command}    # {seconds} s" for command, seconds in typed)
    hours = sum(int(seconds) for *_, seconds in lines) / 3600
    data = "\n".join(
        f"| {folder.name} | {len(shards)} | {shards.shards[0].header.seed} | `{shards.digest()}` |"
        for folder in sorted(work.glob("aih_*"))
        for shards in [AIHShards(folder)]
    )
    again = any("--start-from" in command for command, *_ in lines)
    before = "They started from earlier weights that were made likewise: see this file's history.\n\n" if again else ""
    figures = "\n".join("| " + " | ".join(row.cells[1:5]) + " |" for row in found.rows if not row.detail)
    sizes = "\n".join(f"| {task} | {size / 1e6:.1f} MB |" for task, size in packed.items())
    return (
        "# Weights of HDR\n\nHASM, HDRM and SHPE, stored as bfloat16, trained on drawn hands alone: "
        "expect them to fail on photographs that look otherwise.\n\n"
        f"Made in {hours:.1f} hours on {device}, PyTorch {torch.__version__}:\n\n```\n{commands}\n```\n\n{before}"
        f"| data | samples | seed | SHA-256 |\n|---|---|---|---|\n{data}\n\n| network | size |\n|---|---|\n{sizes}\n\n"
        f"On {contents(AIHShards(work / 'aih_heldout'))}, which no training saw (aih_heldout):\n\n"
        f"| figure | ours | trivial baseline | its figure |\n|---|---|---|---|\n{figures}\n"
    )


def contents(shards: AIHShards) -> str:
    """The numbers of samples of two hands, of one and of none, in words."""
    none, one, two = np.bincount(shards.column("present").sum(1), minlength=3)
    return f"{len(shards)} held-out samples ({two} pairs, {one} lone hands, {none} without hands)"


if __name__ == "__main__":
    run_script(pack_weights)
