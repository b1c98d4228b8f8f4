"""The configuration of a generator as a JSON file, or as the manifest of shards has it."""

from __future__ import annotations

from dataclasses import Field, asdict, fields
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

from aih_gen.config import GENERATOR_VERSION, RenderConfig, SynConfig, canonical_json
from aih_gen.errors import AIHError
from aih_gen.io.json import read_json
from aih_gen.shards.schema import FORMAT

KINDS: dict[str, type[RenderConfig] | type[SynConfig]] = {kind.subset: kind for kind in (RenderConfig, SynConfig)}
_NAMES = {bool: "true or false", int: "an integer", float: "a number", str: "a text"}


def config_text(config: RenderConfig | SynConfig) -> str:
    """The configuration as JSON on one line; ``read_config`` of it is equal."""
    return canonical_json({"subset": config.subset, **asdict(config)})


def read_config(path: Path) -> RenderConfig | SynConfig:
    """The configuration in a file: an object of ``subset`` and fields, of which those left out have their defaults.

    A folder's ``manifest.json`` serves too, where all that its shards are made from is shipped: it knows other files by
    their content alone, not by their place.

    Raises:
        AIHError: there is no such file, or it holds something else.
    """
    try:
        document = read_json(path)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise AIHError(f"{path}: expected the file of a configuration, found none") from error
    from_manifest = isinstance(document, dict) and document.get("format") == FORMAT
    if from_manifest:
        document = document.get("config")
    if not isinstance(document, dict):
        raise AIHError(f"{path}: expected a configuration, an object of names and values, found something else")
    kind = KINDS.get(str(document.get("subset")))
    if kind is None:
        raise AIHError(f"{path}, subset: expected {' or '.join(KINDS)}, found {document.get('subset')!r}")
    if (version := document.get("generator_version", GENERATOR_VERSION)) != GENERATOR_VERSION:
        raise AIHError(
            f"{path}, generator_version: expected {GENERATOR_VERSION}, that of this program, found {version!r}"
        )
    given = {name: value for name, value in document.items() if name not in ("subset", "generator_version")}
    known = {field.name: field for field in fields(kind)}
    if from_manifest:  # it also describes the hands that a source's shards show
        given = {name: value for name, value in given.items() if name in known or not isinstance(value, dict)}
    if unknown := sorted(given.keys() - known.keys()):
        raise AIHError(f"{path}: expected fields of {kind.__name__}, found {unknown[0]!r}")
    types = get_type_hints(kind)
    return kind(**{name: _value(f"{path}, {name}", known[name], types[name], value) for name, value in given.items()})


def _value(place: str, field: Field[Any], kind: Any, value: Any) -> Any:
    """The field's value; a file's description in a manifest stands for the default of the same name."""
    if isinstance(value, dict) and field.default and value.get("name") == field.default:
        return field.default
    if get_origin(kind) is Literal:
        if value not in get_args(kind):
            raise AIHError(f"{place}: expected {' or '.join(get_args(kind))}, found {value!r}")
        return value
    if get_origin(kind) is tuple:
        numbers = get_args(kind)
        if not isinstance(value, list) or len(value) != len(numbers) or not all(map(_is, value, numbers)):
            raise AIHError(f"{place}: expected {len(numbers)} numbers, found {value!r}")
        return tuple(map(float, value))
    if not _is(value, kind):
        found = "a description of files, not their place" if isinstance(value, dict) else repr(value)
        raise AIHError(f"{place}: expected {_NAMES[kind]}, found {found}")
    return kind(value)


def _is(value: Any, kind: type) -> bool:
    """True where a value read from JSON is of the kind; an integer is a number too, unless it is beyond them."""
    return type(value) is kind or (kind is float and type(value) is int and abs(value) < 2**53)
