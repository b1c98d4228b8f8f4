"""Paths of the files that ship with the project: ``assets/`` of a checkout, or its copy in an installed package."""

from __future__ import annotations

from pathlib import Path

from aih_gen.errors import AssetError

_INSTALLED = Path(__file__).parent / "shipped"  # pyproject.toml installs assets/ under this name
_CHECKOUT = Path(__file__).parent.parent / "assets"


def asset_path(name: str) -> Path:
    """The path of the shipped file or folder ``name``, for example ``free_hand`` or ``demo/pair.png``.

    Raises:
        AssetError: there is no such file or folder.
    """
    root = _INSTALLED if _INSTALLED.is_dir() else _CHECKOUT
    path = root / name
    if not path.exists():
        raise AssetError(f"{path}: expected a shipped file or folder, found none")
    return path
