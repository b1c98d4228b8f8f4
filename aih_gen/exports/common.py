"""An export's new folder, and the samples that go into it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from tqdm import tqdm

from aih_gen.compose.sample import Sample
from aih_gen.errors import AIHError
from aih_gen.shards.reader import AIHShards


def each_sample(shards: AIHShards) -> Iterator[tuple[int, Sample]]:
    """Every sample with its position; tells how far it is."""
    yield from enumerate(tqdm((shards[k] for k in range(len(shards))), "export", len(shards), unit="sample"))


def new_folder(out: Path) -> Path:
    """Make a folder.

    Raises:
        AIHError: it is there already, or cannot be made.
    """
    try:
        out.mkdir(parents=True)
    except FileExistsError:
        raise AIHError(f"{out}: expected no such folder yet, found one") from None
    except OSError as error:
        raise AIHError(f"{out}: expected a folder that can be made ({error.strerror})") from error
    return out
