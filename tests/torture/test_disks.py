"""A disk that is full or broken from the n-th write on, or writes too little: one sentence, nothing half-written."""

from __future__ import annotations

import shutil

import numpy as np
import pytest

from tests.torture.children import FailingDisk, command
from tests.torture.conftest import Tally, times
from tests.torture.workshop import Workshop

COMMANDS = (
    "syn", "train", "import npz", "annotate", "merge", "split", "infer", "preview",
    "export coco", "export webdataset", "export aih-folders",
)  # fmt: skip
WRITES = 50

pytestmark = pytest.mark.skipif(not shutil.which("cc"), reason="needs a C compiler")


@pytest.mark.parametrize("error", ["ENOSPC", "EIO", "SHORT"])
def test_disk(error: str, workshop: Workshop, tally: Tally) -> None:
    counts = {name: min(workshop.expected(name).writes, WRITES) for name in COMMANDS}
    attacks = [(name, write) for name, count in counts.items() for write in range(1, count + 1)]
    rng = np.random.default_rng(("ENOSPC", "EIO", "SHORT").index(error))
    for place in rng.permutation(len(attacks))[: times(len(attacks))].tolist():
        name, write = attacks[place]
        out = workshop.new_folder()
        outcome = command(workshop.commands[name].at(out), FailingDisk(write, error))
        fault = "" if outcome.clean and (error != "SHORT" or outcome.code == 0) else str(outcome)
        fault = fault or workshop.fault(name, out)
        tally.expect(not fault, f"{name}, write {write}: {fault}")
