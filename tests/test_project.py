"""The repository as a whole: what is shipped has a licence, what is promised exists."""

from __future__ import annotations

import ast
import importlib
import os
import re
import subprocess
import tomllib
from collections import Counter
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from aih_gen.assets import asset_path
from aih_gen.errors import AssetError

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


def test_every_asset_folder_has_a_licence_and_names_its_script() -> None:
    folders = [folder for folder in (ROOT / "assets").iterdir() if any(folder.iterdir())]
    assert folders
    for folder in folders:
        licence = folder / "LICENSE.md"
        assert licence.is_file(), f"{folder.name} has no LICENSE.md"
        named = re.findall(r"scripts/\w+\.\w+", licence.read_text())
        assert named, f"{licence} does not name the script that made the folder"
        for script in named:
            assert (ROOT / script).is_file(), f"{licence} names {script}, which does not exist"


@pytest.mark.parametrize("command", ["aih-gen", "hdr"])
def test_console_scripts_lead_to_functions(command: str) -> None:
    module, function = PROJECT["project"]["scripts"][command].split(":")
    assert callable(getattr(importlib.import_module(module), function))


def test_constraints_hold_one_fitting_version_of_every_dependency() -> None:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    versions = dict(line.split("==") for line in lines if not line.startswith("#"))
    for text in [*PROJECT["project"]["dependencies"], *chain(*PROJECT["project"]["optional-dependencies"].values())]:
        requirement = Requirement(text)
        assert requirement.specifier.contains(versions[canonicalize_name(requirement.name)]), text


def test_a_missing_asset_is_named() -> None:
    with pytest.raises(AssetError, match="no_such_asset: expected a shipped file or folder, found none"):
        asset_path("no_such_asset")


def quickstart(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash", "scripts/quickstart.sh", *arguments],
        cwd=ROOT, env={**os.environ, **environment}, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


def test_quickstart_refuses_what_it_does_not_know_before_it_installs_anything() -> None:
    for arguments, sentence in (
        (["--cuont", "5"], "error: expected --out DIR or --count N, found: --cuont\n"),
        (["--count", "many"], "error: --count needs a number of samples, found: many\n"),
        (["--out"], "error: --out needs a folder\n"),
    ):
        done = quickstart(*arguments)
        assert (done.returncode, done.stderr, done.stdout) == (2, sentence, "")


def test_quickstart_says_which_python_it_needs(tmp_path: Path) -> None:
    old = tmp_path / "python3"
    old.write_text("#!/bin/sh\n[ $1 = --version ] && echo Python 3.9.2 || exit 1\n")
    old.chmod(0o755)
    done = quickstart(PYTHON=str(old))
    assert done.returncode == 2
    assert done.stderr.startswith("error: Python 3.11 or newer is needed")


def defined(tree: ast.Module) -> Iterator[str]:
    """The names of a module's constants, functions and classes, and of their methods."""
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            yield node.name
            yield from (inner.name for inner in node.body if isinstance(inner, ast.FunctionDef))
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            yield from (name.id for target in targets for name in ast.walk(target) if isinstance(name, ast.Name))


def test_every_name_of_aih_gen_is_used_in_the_project() -> None:
    texts = {
        path: path.read_text() for name in ("aih_gen", "hdr_model", "scripts") for path in (ROOT / name).rglob("*.py")
    }
    words = Counter(re.findall(r"\w+", "\n".join(texts.values())))
    for path, text in texts.items():
        if path.is_relative_to(ROOT / "aih_gen"):
            unused = [name for name in defined(ast.parse(text)) if words[name] < 2 and not name.startswith("__")]
            assert unused == [], path
