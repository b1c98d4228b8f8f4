"""Methods measured beside HDR on request: another program's results, and an inpainting without learning."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from hdr_model.data.aih import AIHDataset
from hdr_model.evaluation.entry import ENTRY, EntryFolder, with_entry
from hdr_model.evaluation.inpainting import RADIUS, TELEA, Baseline, check_installed, with_telea
from hdr_model.evaluation.predict import Predictions
from hdr_model.evaluation.subsets import BATCH, portions


class Others:
    """Further methods for the samples of a data set, where they are requested."""

    def __init__(
        self, dataset: AIHDataset, positions: Sequence[int], predictions: Path | None, baseline: Baseline | None
    ) -> None:
        """``positions``: the samples that will be measured; all of their files are read, so that no fault comes late.

        Raises:
            AIHError: a file of ``predictions`` is missing or not what it should be, or OpenCV is not installed.
        """
        self.settings: dict[str, str] = {}
        self._telea = baseline == "telea"
        if self._telea:
            check_installed()
            self.settings["baseline"] = TELEA
        self._entry: EntryFolder | None = None
        self._not_found = 0
        if predictions is not None:
            height, width = dataset.shards[0].image.shape[:2]
            self._entry = EntryFolder(predictions, positions)
            for indices in portions(positions, BATCH):
                self._entry.read(indices, height, width)
            self.settings[ENTRY] = str(predictions)

    def beside(self, predicted: Predictions, indices: Sequence[int]) -> Predictions:
        """The predictions of a batch of these samples, with the requested methods."""
        if self._telea:
            predicted = with_telea(predicted)
        if self._entry is not None:
            height, width = predicted.true_masks["right_amodal"].shape[-2:]
            entry = self._entry.read(indices, height, width)
            predicted = with_entry(predicted, entry)
            self._not_found += int(entry.not_found[predicted.sample.cpu(), predicted.hand.cpu()].sum())
        return predicted

    def notes(self) -> list[str]:
        """Notes on their figures, once all samples are measured."""
        notes = []
        if self._telea:
            notes.append(f"{TELEA}: the true hole of each crop, by OpenCV's fast marching with a radius of {RADIUS:g}.")
        if self._entry is not None:
            notes.append(
                f"{ENTRY.capitalize()} of {self._entry.folder} ({', '.join(self._entry.kinds)}): whole masks of the "
                "image; images cut as the targets are; joints in metres, so that HDR's own protocol is P3 for them. "
                f"{self._not_found} hands without joints count with all joints at the wrist, in the "
                "middle of the image."
            )
        return notes
