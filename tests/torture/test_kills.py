"""SIGKILL at any moment of every command that writes: nothing half is visible, and the same command completes."""

from __future__ import annotations

import numpy as np
import pytest

from tests.torture.children import Kill, command
from tests.torture.conftest import Tally, times
from tests.torture.workshop import Workshop

KILLS = {"syn": 200, "train": 100} | dict.fromkeys(("import npz", "annotate", "merge", "split", "infer", "preview"), 50)
KILLS |= dict.fromkeys(("export coco", "export webdataset", "export aih-folders"), 17)
MAX_DELAY = 2e-3
"""Seconds after a change to files has begun: half of the kills hit within the change, the others before it."""


@pytest.mark.parametrize("name", KILLS)
def test_killed(name: str, workshop: Workshop, tally: Tally) -> None:
    rng = np.random.default_rng(1)
    moments = np.linspace(1, workshop.expected(name).events, times(KILLS[name])).round().astype(int)
    for number, moment in enumerate(rng.permutation(moments).tolist()):
        out = workshop.new_folder()
        delay = float(rng.uniform(0, MAX_DELAY)) if number % 2 else 0.0
        killed = command(workshop.commands[name].at(out), Kill(moment, delay))
        fault = f"{name}: {killed}" if killed.code not in (-9, 0) else workshop.fault(name, out)
        tally.expect(not fault, f"event {moment} + {delay * 1e3:.2f} ms: {fault}")
