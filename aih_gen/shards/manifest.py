"""``manifest.json``: the content of a folder of shards, and the configuration that made it."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, TypeVar

from aih_gen.config import document_sha256
from aih_gen.errors import AssetError, ShardError
from aih_gen.io.json import read_json
from aih_gen.io.write import write_text
from aih_gen.shards.schema import FORMAT, SCHEMA_VERSION
from aih_gen.typing import Codec

MANIFEST = "manifest.json"
SHA256 = "sha256"
"""Key of the digest of all others."""
PARTS = "parts"
"""Key under which the configuration of a collection (``aih_gen.shards.rearrange``) holds those of its shards."""
SHARD_NAME = re.compile(r"[A-Za-z0-9_]+-\d{5,}\.h5")


@dataclass(frozen=True)
class ManifestEntry:
    """One shard."""

    name: str
    samples: int
    bytes: int
    sha256: str


@dataclass(frozen=True)
class Manifest:
    """A folder of shards."""

    config: dict[str, Any]
    """Everything the samples depend on."""
    config_sha256: str
    shard_size: int
    codec: Codec
    depth: bool
    shards: tuple[ManifestEntry, ...] = ()

    def configurations(self) -> dict[str, Any]:
        """Configurations of the shards by SHA-256: one, or those of a collection."""
        parts = self.config.get(PARTS)
        return parts if isinstance(parts, dict) else {self.config_sha256: self.config}


def describe_file(path: Path, name: str, samples: int) -> ManifestEntry:
    """The line in the manifest of the shard in ``path``, to be called ``name``."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return ManifestEntry(name=name, samples=samples, bytes=path.stat().st_size, sha256=digest)


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Replace the folder's manifest in one step.

    Raises:
        WriteError: it cannot be written; the one that was there still is.
    """
    document = _document(manifest)
    write_text(folder / MANIFEST, json.dumps({**document, SHA256: document_sha256(document)}, indent=1))


def is_as_written(folder: Path, manifest: Manifest) -> bool:
    """True if the file of a manifest is what ``write_manifest`` wrote, or may be: those of before have no SHA-256."""
    document = read_json(folder / MANIFEST)
    written = _document(manifest)
    return document in (written, {**written, SHA256: document_sha256(written)})


def _document(manifest: Manifest) -> dict[str, Any]:
    document = {
        "format": FORMAT,
        "schema_version": SCHEMA_VERSION,
        "samples": sum(entry.samples for entry in manifest.shards),
        **asdict(manifest),
    }
    return {**document, "shards": list(document["shards"])}


def read_manifest(folder: Path) -> Manifest | None:
    """The folder's manifest; None where there is none.

    Raises:
        ShardError: it is not a manifest of schema 1.
    """
    path = folder / MANIFEST
    try:
        document = read_json(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except AssetError as error:
        raise ShardError(str(error)) from error
    if not isinstance(document, dict):
        raise ShardError(f"{path}: expected an object, found {type(document).__name__}")
    for key, expected in (("format", FORMAT), ("schema_version", SCHEMA_VERSION)):
        if document.get(key) != expected:
            raise ShardError(f"{path}, {key}: expected {expected!r}, found {document.get(key)!r}")
    entries = document.get("shards")
    if not isinstance(entries, list):
        raise ShardError(f"{path}, shards: expected a list, found {type(entries).__name__}")
    parsed = tuple(_parse(ManifestEntry, path, f"shards[{k}]", entry) for k, entry in enumerate(entries))
    for entry in parsed:
        if not SHARD_NAME.fullmatch(entry.name):
            raise ShardError(f"{path}: expected shard names such as aih_render-00000.h5, found {entry.name!r}")
    if (samples := sum(entry.samples for entry in parsed)) != document.get("samples", samples):
        raise ShardError(f"{path}, samples: expected {samples} as in its shards, found {document['samples']!r}")
    return _parse(Manifest, path, "manifest", {**document, "shards": parsed})


Parsed = TypeVar("Parsed", Manifest, ManifestEntry)

_TYPES = {
    "str": str,
    "Codec": str,
    "int": int,
    "bool": bool,
    "dict[str, Any]": dict,
    "tuple[ManifestEntry, ...]": tuple,
}


def _parse(kind: type[Parsed], path: Path, place: str, document: Any) -> Parsed:
    if not isinstance(document, dict):
        raise ShardError(f"{path}, {place}: expected an object, found {type(document).__name__}")
    values: dict[str, Any] = {}
    for field in fields(kind):
        value = document.get(field.name)
        if type(value) is not _TYPES[str(field.type)]:
            raise ShardError(f"{path}, {place}.{field.name}: expected {field.type}, found {value!r}")
        values[field.name] = value
    return kind(**values)
