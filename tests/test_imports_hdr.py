"""Imports inside hdr_model point backwards along the sentence: data, networks, training, inference, evaluation."""

from __future__ import annotations

import ast
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FILES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for path in (ROOT / "hdr_model").rglob("*.py")
}
FOLDERS = {path.name for path in (ROOT / "hdr_model").iterdir() if (path / "__init__.py").exists()}


def imports(module: str) -> set[str]:
    """Modules of the project that ``module`` imports, at its top, in functions and for type checkers alike."""
    found = set()
    for node in ast.walk(ast.parse(FILES[module].read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0 and node.module, f"{module}: expected absolute imports"
            names = (f"{node.module}.{alias.name}" for alias in node.names)
            found |= {name if name in FILES else node.module for name in names}
    return {name for name in found if name.split(".")[0] in ("aih_gen", "hdr_model")}


def part(module: str) -> str:
    """The folder, or the module beside the folders, that a module of hdr_model belongs to."""
    return ".".join(module.split(".")[:2])


def imports_of(name: str) -> set[str]:
    """Everything of the project that the parts of hdr_model called ``name`` import from other parts."""
    of = f"hdr_model.{name}"
    assert of in FILES
    return {found for module in FILES if part(module) == of for found in imports(module) if part(found) != of}


@pytest.mark.parametrize(
    ("name", "forbidden"),
    [
        ("nets", "data training inference evaluation"),
        ("data", "nets training inference evaluation"),
        ("training", "inference evaluation"),
        ("inference", "data training evaluation"),
    ],
)
def test_no_folder_imports_what_stands_after_it(name: str, forbidden: str) -> None:
    assert {f"hdr_model.{other}" for other in forbidden.split()} & set(map(part, imports_of(name))) == set()


@pytest.mark.parametrize("name", ["geometry", "device", "weights", "files", "config", "masks"])
def test_what_all_folders_stand_on_imports_none_of_them(name: str) -> None:
    assert {f"hdr_model.{folder}" for folder in FOLDERS} & set(map(part, imports_of(name))) == set()


def test_geometry_depends_on_nothing_of_the_project() -> None:
    assert imports_of("geometry") == set()


def test_only_the_command_line_imports_the_command_line() -> None:
    assert [module for module in FILES if "hdr_model.cli" in imports(module)] == ["hdr_model.__main__"]


def test_neither_folders_nor_modules_import_in_a_circle() -> None:
    modules = {module: imports(module) & FILES.keys() for module in FILES}
    parts: dict[str, set[str]] = {}
    for module, found in modules.items():
        parts.setdefault(part(module), set()).update(set(map(part, found)) - {part(module)})
    for graph in (modules, parts):
        tuple(TopologicalSorter(graph).static_order())  # raises CycleError, which names the circle


def test_hdr_is_loaded_without_the_trainer_or_shards() -> None:
    program = (
        "import sys, hdr_model; hdr_model.HDR.from_pretrained()\n"
        "import hdr_model.inference.infer, hdr_model.inference.demo.server; print(*sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    loaded = done.stdout.split()
    assert {"tensorboard", "h5py", "ijson", "onnxruntime"} & set(loaded) == set()
    others = ("hdr_model.training", "hdr_model.data", "hdr_model.evaluation", "aih_gen.shards")
    assert [name for name in loaded if name.startswith(others)] == []
