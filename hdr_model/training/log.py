"""The progress of a run while it trains: progress line, metrics.jsonl, tensorboard curves, images of predictions."""

from __future__ import annotations

import json
import math
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.tensorboard import SummaryWriter
from tqdm import tqdm

from aih_gen.errors import AIHError
from aih_gen.io.images import encoded
from aih_gen.io.write import write_bytes, write_text
from hdr_model.files import read_metrics

TERMINAL_INTERVAL, FILE_INTERVAL = 1.0, 10.0
"""Seconds between two states of the progress line while samples are waited for."""


def check_loss(name: str, value: float, step: int) -> None:
    """Raise AIHError where a loss is NaN or infinite."""
    if not math.isfinite(value):
        advice = "try a lower learning rate or --precision float32"
        raise AIHError(f"step {step}: expected a finite loss, found {name} {value}; {advice}")


@dataclass
class LossBuffer:
    """Loss terms since the last report, kept on the device so that no step waits for them."""

    terms: list[tuple[int, list[str], Tensor]] = field(default_factory=list)

    def add(self, step: int, terms: Mapping[str, Tensor]) -> None:
        """Take in the scalar terms of one step."""
        self.terms.append((step, list(terms), torch.stack([value.detach().float() for value in terms.values()])))

    def check(self) -> None:
        """Look at the terms since the last report.

        Raises:
            AIHError: a term was not finite; says which, and when.
        """
        for step, name, value in self._values():
            check_loss(name, value, step)

    def means(self) -> dict[str, float]:
        """Mean of each term; they are then forgotten.

        Raises:
            AIHError: a term was not finite.
        """
        self.check()
        gathered: dict[str, list[float]] = {}
        for _, name, value in self._values():
            gathered.setdefault(name, []).append(value)
        self.terms.clear()
        return {name: float(np.mean(values)) for name, values in gathered.items()}

    def state_dict(self) -> dict[str, Any]:
        return {"terms": [[step, names, values.cpu()] for step, names, values in self.terms]}

    def load_state_dict(self, state_dict: dict[str, Any], /) -> None:
        self.terms = [(step, list(names), values) for step, names, values in state_dict["terms"]]

    def _values(self) -> Iterator[tuple[int, str, float]]:
        for step, names, values in self.terms:
            for name, value in zip(names, values.tolist(), strict=True):
                yield step, name, value


class Log:
    """The visible side of a run, in its folder ``out``."""

    def __init__(self, out: Path, name: str, start: int, steps: int, samples_per_step: int) -> None:
        _forget_after(out / "metrics.jsonl", start)
        self.out, self.step, self.samples_per_step = out, start, samples_per_step
        self.time = self.told = time.perf_counter()
        self.waited = 0.0
        """Seconds since the last report in which a step had no samples."""
        self.measured = self.awaited = ""  # the two ends of the progress line
        self._excepthook, threading.excepthook = threading.excepthook, self._thread_failed
        self.curves = SummaryWriter(str(out / "tensorboard"), purge_step=start + 1)
        self.bar = tqdm(total=steps, initial=start, desc=name, unit="step", mininterval=1.0, dynamic_ncols=True)
        (out / "pictures").mkdir(exist_ok=True)

    def metrics(self, step: int, losses: Mapping[str, float], learning_rate: float) -> None:
        """Report the mean losses since the last report, and what was measured at this step."""
        now = time.perf_counter()
        speed = (step - self.step) * self.samples_per_step / (now - self.time)
        row = {**losses, "learning_rate": learning_rate, "samples_per_second": speed}
        with (self.out / "metrics.jsonl").open("a") as file:
            file.write(json.dumps({"step": step, **row}) + "\n")
        for name, value in row.items():
            self.curves.add_scalar(name, value, step)
        waited = self.waited / (now - self.time)
        self.measured = f"loss {row['loss']:.4f}, {speed:.0f} samples/s, {waited:.0%} waiting for them"
        self.bar.set_postfix_str(self._postfix(), refresh=False)
        self.bar.update(step - self.step)
        self.step, self.time, self.waited = step, now, 0.0

    def tell(self, text: str) -> None:
        """Say on the progress line what is waited for, if it has not just been said; an empty text ends it."""
        self.awaited, now = text, time.perf_counter()
        if text and now - self.told > (TERMINAL_INTERVAL if sys.stderr.isatty() else FILE_INTERVAL):
            self.told = now
            self.bar.set_postfix_str(self._postfix())

    def image(self, step: int, image: Tensor) -> None:
        """Keep an image (3,H,W) uint8 of the predictions."""
        pixels = image.cpu()
        write_bytes(self.out / "pictures" / f"{step:07d}.png", encoded(pixels.permute(1, 2, 0).numpy()))
        self.curves.add_image("predictions", pixels, step)

    def close(self) -> None:
        """Finish the progress line and flush the curves."""
        self.bar.close()
        try:
            self.curves.close()
        finally:
            threading.excepthook = self._excepthook

    def _postfix(self) -> str:
        return ", ".join(text for text in (self.measured, self.awaited) if text)

    def _thread_failed(self, failure: threading.ExceptHookArgs) -> None:
        """A disk error in TensorBoard's own thread is raised again by the next call from here; others are shown."""
        if not issubclass(failure.exc_type, OSError):
            self._excepthook(failure)


def _forget_after(path: Path, step: int) -> None:
    """Drop the rows a resumed run is about to write again."""
    if path.exists():
        kept = [row for row in read_metrics(path) if row["step"] <= step]
        write_text(path, "".join(json.dumps(row) + "\n" for row in kept))
