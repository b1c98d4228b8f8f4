"""The card of a data set: its content and licences, as Markdown and as Croissant metadata."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from aih_gen.assets import asset_path
from aih_gen.errors import AIHError
from aih_gen.io.write import write_text
from aih_gen.reports.survey import OCCLUSION_BINS, Facet, Survey, facets, survey
from aih_gen.shards.manifest import ManifestEntry, describe_file, read_manifest
from aih_gen.shards.reader import AIHShards
from aih_gen.shards.schema import SCHEMA_VERSION

README, CROISSANT = "README.md", "croissant.json"

SHIPPED = {("hand_model", "free"): "free_hand", ("backgrounds", "shipped"): "backgrounds"}
"""Folders of ``assets/`` by the field and the name in a configuration."""
FOREIGN = "not of this project: its own licence holds for what is made with it, and may forbid passing that on."
SOURCE = "known by its files alone: the licence that it came with holds for what is made of it, and may forbid that."
"""Of samples' sources, whose paths are not stored: other people's photos, or shards with licences of their own."""
CROISSANT_VERSION = "http://mlcommons.org/croissant/1.0"


def card(shards: AIHShards, place: str) -> str:
    """The card as Markdown: counts, histograms, licences, configuration.

    Args:
        shards: the data set.
        place: what to call it.
    """
    counts = survey(shards)
    parts = (_counts(shards, counts, place), _occlusion(counts), _groups(facets(shards)), _licences(shards))
    lines = [line for part in (*parts, _configurations(shards)) for line in part]
    return "\n".join(lines) + "\n"


def write_card(shards: AIHShards, folder: Path) -> tuple[Path, Path]:
    """Write ``README.md`` and ``croissant.json`` into the folder of the shards; returns their paths.

    Raises:
        AIHError: ``folder`` is a file, or cannot be written to.
    """
    if not folder.is_dir():
        raise AIHError(f"{folder}: expected a folder to write {README} and {CROISSANT} into, found a file")
    name = shards.shards[0].header.subset
    documents = {README: card(shards, name), CROISSANT: json.dumps(croissant(shards, folder), indent=1) + "\n"}
    for file, text in documents.items():
        write_text(folder / file, text)
    return folder / README, folder / CROISSANT


def croissant(shards: AIHShards, folder: Path) -> dict[str, Any]:
    """Croissant 1.0 metadata (mlcommons.org/croissant) of the shards in a folder, as a JSON document."""
    header, (height, width) = shards.shards[0].header, shards.size
    entries = _entries(shards, folder)
    return {
        "@context": _CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": CROISSANT_VERSION,
        "name": header.subset,
        "description": f"{len(shards)} images of interacting hands, {width}x{height}, with each hand alone, amodal "
        f"and visible masks, 3D joints and poses, as HDF5 shards of the AIH schema {SCHEMA_VERSION}.",
        "license": sorted({licence for _, _, licence in _assets(shards)}),
        "version": f"{header.generator_version}.0.0",
        "url": f"urn:sha256:{header.config_sha256}",  # it has no place on the web, but a name that is its own
        "distribution": [_file_object(entry) for entry in entries],
    }


def _file_object(entry: ManifestEntry) -> dict[str, str]:
    return {
        "@type": "cr:FileObject",
        "@id": entry.name,
        "name": entry.name,
        "contentUrl": entry.name,
        "contentSize": f"{entry.bytes} B",
        "encodingFormat": "application/x-hdf5",
        "sha256": entry.sha256,
    }


def _entries(shards: AIHShards, folder: Path) -> Sequence[ManifestEntry]:
    manifest = read_manifest(folder)
    listed = {entry.name: entry for entry in manifest.shards} if manifest else {}
    return [
        listed.get(shard.path.name) or describe_file(shard.path, shard.path.name, shard.samples)
        for shard in shards.shards
    ]


def _configs(shards: AIHShards) -> dict[str, dict[str, Any]]:
    """By SHA-256; a collection has several."""
    return {shard.header.config_sha256: json.loads(shard.header.config) for shard in shards.shards}


def _configurations(shards: AIHShards) -> Iterator[str]:
    yield "## Configuration"
    for digest, config in _configs(shards).items():
        yield from ("", f"SHA-256 {digest}", "")
        yield from ("```json", json.dumps(config, indent=2, sort_keys=True), "```")


def _counts(shards: AIHShards, counts: Survey, place: str) -> Iterator[str]:
    header, (height, width) = shards.shards[0].header, shards.size
    yield f"# {place}: {_cell(header.subset)}, {len(shards):,} samples of {width}x{height} in {counts.shards:,} shards"
    yield ""
    yield f"{counts.bytes / 1e6:,.1f} MB on disk, {counts.bytes / counts.samples / 1e3:,.1f} KB a sample;"
    yield f"hand model {_cell(header.hand_model)}, seed {header.seed},"
    yield f"generator version {_cell(header.generator_version)}."
    if counts.looked_at < counts.samples:
        yield f"What follows was counted in {counts.looked_at:,} samples, drawn at random."
    yield ""


def _occlusion(counts: Survey) -> Iterator[str]:
    absent = counts.looked_at - counts.present
    named = [f"{low:4.0%} to {high:4.0%}" for low, high in pairwise(OCCLUSION_BINS)]
    rows = [*zip(named, counts.occlusion.T, strict=True), ("absent", absent)]
    yield from ("## Occlusion", "")
    yield f"| {'hidden by the other hand':24} | {'right':>9} | {'left':>9} |"
    yield f"|{'-' * 26}|{'-' * 10}:|{'-' * 10}:|"
    yield from (f"| {name:24} | {hands[0]:9,} | {hands[1]:9,} |" for name, hands in rows)
    yield ""


def _groups(divisions: Sequence[Facet]) -> Iterator[str]:
    for facet in divisions:
        total = sum(len(group.positions) for group in facet.groups)
        yield from (f"## By {facet.title}", "")
        yield f"| {facet.title:24} | {'samples':>9} | share |"
        yield f"|{'-' * 26}|{'-' * 10}:|------:|"
        for group in facet.groups:
            yield f"| {_cell(group.name):24} | {len(group.positions):9,} | {len(group.positions) / total:5.1%} |"
        yield ""


def _cell(text: str) -> str:
    """Names come from the shards: nothing in them may end the cell or the line."""
    return "".join(letter if letter.isprintable() and letter not in "|<>`" else "?" for letter in text)


def _assets(shards: AIHShards) -> list[tuple[str, str, str]]:
    """Everything from outside that the configurations name: field, name, and licence in a word or a sentence."""
    named = {
        (field, described["name"])
        for config in _configs(shards).values()
        for field, described in config.items()
        if isinstance(described, Mapping) and isinstance(described.get("name"), str) and described["name"] != "none"
    }
    sources = {("source", f"of {config.get('subset')}") for config in _configs(shards).values() if config.get("source")}
    licensed = [(*asset, "CC0-1.0" if asset in SHIPPED else FOREIGN) for asset in sorted(named)]
    return licensed + [(*asset, SOURCE) for asset in sorted(sources)]


def _licences(shards: AIHShards) -> Iterator[str]:
    yield from ("## Licences", "")
    for field, name, licence in _assets(shards):
        folder = SHIPPED.get((field, name))
        yield f"- {field} {_cell(name)}: {f'{licence}, see assets/{folder}/LICENSE.md' if folder else licence}"
    yield ""
    for field, name, _ in _assets(shards):
        if (field, name) in SHIPPED:
            text = (asset_path(SHIPPED[field, name]) / "LICENSE.md").read_text()
            yield from (f"> {line}".rstrip() for line in text.strip().splitlines())
            yield ""


_CONTEXT = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "citeAs": "cr:citeAs",
    "column": "cr:column",
    "conformsTo": "dct:conformsTo",
    "cr": "http://mlcommons.org/croissant/",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "dct": "http://purl.org/dc/terms/",
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "extract": "cr:extract",
    "field": "cr:field",
    "fileObject": "cr:fileObject",
    "fileProperty": "cr:fileProperty",
    "fileSet": "cr:fileSet",
    "format": "cr:format",
    "includes": "cr:includes",
    "isLiveDataset": "cr:isLiveDataset",
    "jsonPath": "cr:jsonPath",
    "key": "cr:key",
    "md5": "cr:md5",
    "parentField": "cr:parentField",
    "path": "cr:path",
    "recordSet": "cr:recordSet",
    "references": "cr:references",
    "regex": "cr:regex",
    "repeated": "cr:repeated",
    "replace": "cr:replace",
    "sc": "https://schema.org/",
    "separator": "cr:separator",
    "source": "cr:source",
    "subField": "cr:subField",
    "transform": "cr:transform",
}
"""The context that Croissant 1.0 prescribes."""
