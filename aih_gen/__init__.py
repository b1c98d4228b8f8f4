"""The AIH data set factory: hand models, scenes, renderers, and the samples and shards they become."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from aih_gen.compose.sample import Sample as Sample
    from aih_gen.errors import ShardError as ShardError
    from aih_gen.factory import generate as generate
    from aih_gen.hands import load_hand_model as load_hand_model
    from aih_gen.import_export import annotate as annotate
    from aih_gen.shards.reader import AIHShards as AIHShards

# Names are imported when first used, so that reading shards loads neither torch nor OpenGL.
_HOMES = {
    "AIHShards": "aih_gen.shards.reader",
    "Sample": "aih_gen.compose.sample",
    "ShardError": "aih_gen.errors",
    "annotate": "aih_gen.import_export",
    "generate": "aih_gen.factory",
    "load_hand_model": "aih_gen.hands",
}

__all__ = ["AIHShards", "Sample", "ShardError", "annotate", "generate", "load_hand_model"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
