"""The project's prose: docstrings begin with a noun phrase or a verb, errors are one sentence of one form."""

from __future__ import annotations

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
FILES = sorted(path for name in ("aih_gen", "hdr_model", "scripts", "tests") for path in (ROOT / name).rglob("*.py"))
QUESTION = re.compile(r"(What|Where|Which|Who|Whose|How|Whether)\b")
OTHER_FORM = re.compile(r"\.$|should be")
ERRORS = {"AIHError", "AssetError", "ShardError", "WriteError"}


def docstrings(tree: ast.Module) -> list[str]:
    """Every docstring, also those below a field or a constant."""
    return [
        node.value.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
    ]


def sentences(tree: ast.Module) -> list[str]:
    """The constant text of every error that is raised, in which {} stands for a value."""
    return [
        "".join(part.value if isinstance(part, ast.Constant) else "{}" for part in getattr(text, "values", [text]))
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ERRORS
        for text in node.args[:1]
        if isinstance(text, ast.Constant | ast.JoinedStr)
    ]


def test_docstrings_begin_with_a_noun_phrase_or_a_verb() -> None:
    trees = {path: ast.parse(path.read_text()) for path in FILES}
    assert [(path, text) for path, tree in trees.items() for text in docstrings(tree) if QUESTION.match(text)] == []


def test_errors_are_sentences_of_one_form() -> None:
    trees = {path: ast.parse(path.read_text()) for path in FILES if ROOT / "tests" not in path.parents}
    assert [(path, text) for path, tree in trees.items() for text in sentences(tree) if OTHER_FORM.search(text)] == []
