"""Other people's annotated photos as shards, made before an evaluation."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from aih_gen import annotate
from aih_gen.config import SourceConfig
from aih_gen.errors import AIHError
from aih_gen.sources.annotate import AnnotateConfig
from aih_gen.sources.tzionas import TzionasConfig
from aih_gen.typing import Branch, Split

Dataset = Literal["interhand26m", "tzionas"]


def annotated_photos(
    dataset: Dataset | None, root: Path | None, split: Split = "test", branch: Branch = "all", hand_model: str = ""
) -> SourceConfig:
    """All annotated photos of a data set in the folder ``root``.

    Raises:
        AIHError: a folder is not given.
    """
    if root is None or dataset is None:
        raise AIHError(f"--root: expected the folder of {dataset}, found nothing")
    if dataset == "tzionas":
        return TzionasConfig(source=str(root))
    # Without a fit they have joints alone, but the published figures are of every annotated photo.
    return AnnotateConfig(source=str(root), split=split, branch=branch, hand_model=hand_model, keep_unfitted=True)


def annotated_shards(photos: SourceConfig, out: Path, workers: int) -> tuple[Path, list[str]]:
    """The folder of the photos' shards in ``out``, and lines that say what was read; shards that are there are kept.

    Raises:
        AIHError: the photos or the shards are not what they should be.
    """
    folder = out / "annotated"
    return folder, list(annotate(photos, folder, workers=workers).lines())
