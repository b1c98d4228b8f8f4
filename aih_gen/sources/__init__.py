"""Other people's data -> poses, single hands or samples. ``open_source`` alone knows every kind of configuration."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

from aih_gen.config import DatasetConfig, RenderConfig, SourceConfig, SynConfig
from aih_gen.sources.records import Records, Source

if TYPE_CHECKING:
    from aih_gen.compose.copy_paste import CopyPasteSource
    from aih_gen.compose.rendered import RenderedSource

__all__ = ["Records", "Source", "describe_source", "open_source"]


@overload
def open_source(config: RenderConfig, gl_device: int | None = None) -> RenderedSource: ...
@overload
def open_source(config: SynConfig, gl_device: int | None = None) -> CopyPasteSource: ...
@overload
def open_source(config: SourceConfig, gl_device: int | None = None) -> Records: ...
def open_source(config: DatasetConfig, gl_device: int | None = None) -> Source:
    """Open and check everything that the samples of a configuration are made of, but what draws: the first does.

    ``gl_device`` is the number of EGL's device that draws AIH_Render, by default the first.

    Raises:
        AIHError: something is not there, cannot be read or cannot serve.
    """
    # Each kind is imported where it is wanted: most load PyTorch, some OpenGL.
    if isinstance(config, RenderConfig):
        from aih_gen.compose.rendered import RenderedSource
        from aih_gen.sources.fits import open_fits

        return RenderedSource(config, open_fits(config), gl_device)
    if isinstance(config, SynConfig):
        from aih_gen.compose.copy_paste import CopyPasteSource
        from aih_gen.sources.folder import HandFolder, is_hand_folder
        from aih_gen.sources.rendered_hands import RenderedHands

        folder = is_hand_folder(Path(config.source))
        return CopyPasteSource(config, HandFolder(config) if folder else RenderedHands(config))
    return _read(config)


def describe_source(config: RenderConfig | SynConfig) -> dict[str, Any]:
    """``open_source(config).describe()``, for a process that leaves drawing to others: that OpenGL starts is tried.

    Raises:
        AIHError: something is not there, cannot be read or cannot serve.
    """
    if isinstance(config, RenderConfig):
        from aih_gen.render.context import describe_driver

        describe_driver()
    return open_source(config).describe()


@functools.cache
def _read(config: SourceConfig) -> Records:
    """The records of a configuration, read and checked once a process."""
    from aih_gen.sources.aih_folders import AIHRenderConfig, AIHRenderFolder
    from aih_gen.sources.aih_syn_folders import AIHSynConfig, AIHSynFolder
    from aih_gen.sources.annotate import AnnotateConfig, AnnotatedPhotos
    from aih_gen.sources.single_hands import SingleHandPhotos, SingleHandsConfig
    from aih_gen.sources.tzionas import TzionasConfig, TzionasFrames

    readers: dict[type[SourceConfig], Callable[[Any], Records]] = {
        AIHRenderConfig: AIHRenderFolder,
        AIHSynConfig: AIHSynFolder,
        AnnotateConfig: AnnotatedPhotos,
        SingleHandsConfig: SingleHandPhotos,
        TzionasConfig: TzionasFrames,
    }
    return readers[type(config)](config)
