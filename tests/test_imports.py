"""The folders follow the project's sentence: none imports one that stands after it, and no imports run in a circle.

Imports inside functions and under ``TYPE_CHECKING`` count as all others do.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

ORDER = (
    "errors", "extras", "typing", "io", "assets", "interruption", "arguments", "config", "kernels",
    "hands", "scenes", "render", "compose", "shards", "sources", "exports", "engines", "factory",
    "reports", "import_export", "doctor", "cli", "__main__",
)  # fmt: skip
"""The folders and modules of ``aih_gen``; each imports only what stands before it."""


def modules(package: Path) -> dict[str, Path]:
    """The modules of a package by name; a package's own name stands for its ``__init__.py``."""
    found = {}
    for path in sorted(package.rglob("*.py")):
        parts = path.relative_to(package.parent).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imported(path: Path, known: dict[str, Path]) -> Iterator[str]:
    """The modules that a file names in its imports; of ``from a import b`` a.b where that is a module, else a."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.module and not node.level, f"{path}, line {node.lineno}: expected an absolute import"
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                yield inner if inner in known else node.module


def arrows(package: Path) -> dict[str, set[str]]:
    """The imports of each module of a package from it."""
    known = modules(package)
    return {name: {other for other in imported(path, known) if other in known} for name, path in known.items()}


def against_order(graph: dict[str, set[str]], order: tuple[str, ...]) -> list[str]:
    """Imports of what stands later in the order. The package itself is the list of its public names: it stands last."""
    place = {name: k for k, name in enumerate(order)}
    rank = {name: place[name.split(".")[1]] if "." in name else len(order) for name in graph}
    return [f"{name} imports {other}" for name in graph for other in sorted(graph[name]) if rank[other] > rank[name]]


def test_no_folder_of_aih_gen_imports_one_that_stands_after_it() -> None:
    graph = arrows(ROOT / "aih_gen")
    assert {name.split(".")[1] for name in graph if "." in name} == set(ORDER)
    assert against_order(graph, ORDER) == []


@pytest.mark.parametrize("package", ["aih_gen"])
def test_no_imports_run_in_a_circle(package: str) -> None:
    try:
        TopologicalSorter(arrows(ROOT / package)).prepare()
    except CycleError as error:
        pytest.fail(" <- ".join(error.args[1]))


def test_aih_gen_does_not_know_hdr_model() -> None:
    known = modules(ROOT / "hdr_model")
    for path in modules(ROOT / "aih_gen").values():
        assert not [name for name in imported(path, known) if name.startswith("hdr_model")], path


def test_imports_in_functions_and_for_types_are_seen(tmp_path: Path) -> None:
    folder = tmp_path / "p" / "scenes"
    folder.mkdir(parents=True)
    (folder / "__init__.py").write_text("def f():\n    from p.sources import fits\n")
    (tmp_path / "p" / "sources").mkdir()
    (tmp_path / "p" / "sources" / "fits.py").write_text(
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import p.scenes\n"
    )
    graph = arrows(tmp_path / "p")
    assert against_order(graph, ("scenes", "sources")) == ["p.scenes imports p.sources.fits"]
    with pytest.raises(CycleError):
        TopologicalSorter(graph).prepare()
