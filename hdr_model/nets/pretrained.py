"""A network in a folder: ``config.json`` (which network, which sizes) and ``model.safetensors`` (its tensors).

The SHA-256 of the tensors stands in the metadata of their own file: no killed process can part the two.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Self, get_args, get_type_hints

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from aih_gen.errors import AIHError, AssetError
from aih_gen.io.json import read_json
from aih_gen.io.write import write_bytes, write_text
from hdr_model.config import NetworkConfig, Task
from hdr_model.weights import CONFIG_FILE, WEIGHTS_FILE

CHECKSUM = "sha256"
"""Name of the checksum in the metadata of ``model.safetensors``."""
_MAX_NAMES = 4
_MAX_SIZE = 8192
_MAX_LEVELS = 16


class PretrainedNetwork(nn.Module):
    """The base of HASM, HDRM and SHPE: a configuration, a stride, and a folder they can be saved to."""

    task: ClassVar[Task]
    config_type: ClassVar[type[Any]]
    config: NetworkConfig

    @property
    def stride(self) -> int:
        """The height and width of the input must be multiples of this."""
        raise NotImplementedError

    @classmethod
    def from_pretrained(cls, folder: str | os.PathLike[str]) -> Self:
        """The network saved in ``folder``, on the CPU, in evaluation mode.

        Raises:
            AssetError: the folder, or what is in it, is not this network.
        """
        path = Path(folder)
        if not path.is_dir():
            raise AssetError(
                f"{path}: expected a folder with {cls.__name__}'s {CONFIG_FILE} and {WEIGHTS_FILE}, found none"
            )
        tensors = _read_tensors(path / WEIGHTS_FILE)
        # Sizes are compared before any memory is taken: a broken configuration costs a sentence, not the machine.
        network = cls.without_weights(path)
        check_tensors(network, tensors, f"{path / WEIGHTS_FILE}")
        network.load_state_dict(tensors, assign=True)
        return network.float().eval()  # stored as bfloat16, perhaps

    @classmethod
    def without_weights(cls, folder: Path) -> Self:
        """The network that ``folder/config.json`` describes, without memory for its tensors.

        Raises:
            AssetError: it is not the configuration of this network.
        """
        config = cls._read_config(folder / CONFIG_FILE)
        try:
            with torch.device("meta"):
                return cls(config)
        except AIHError as error:
            raise AssetError(f"{folder / CONFIG_FILE}, {error}") from None

    def save_pretrained(self, folder: str | os.PathLike[str]) -> None:
        """Write ``config.json`` and ``model.safetensors`` into ``folder``, each whole or not at all."""
        path = Path(folder)
        path.mkdir(parents=True, exist_ok=True)
        write_tensors(path / WEIGHTS_FILE, self.state_dict())
        text = json.dumps({"network": self.task, "config": dataclasses.asdict(self.config)}, indent=2)
        write_text(path / CONFIG_FILE, text + "\n")

    @classmethod
    def _read_config(cls, path: Path) -> Any:
        try:
            document = read_json(path)
        except FileNotFoundError:
            raise AssetError(f"{path}: expected the configuration of {cls.__name__}, found no file") from None
        except (OSError, ValueError, RecursionError) as error:
            raise AssetError(f"{path}: expected JSON, found none that can be read ({error})") from None
        found = document.get("network") if isinstance(document, dict) else None
        if found != cls.task:
            raise AssetError(f'{path}: expected "network": "{cls.task}", found {json.dumps(found)}')
        return _parse_config(cls.config_type, document.get("config"), path)

    def check_sides(self, image: Tensor) -> None:
        """Raise AIHError unless the ``stride`` divides the sides of (B, C, H, W)."""
        height, width = image.shape[-2:]
        if height % self.stride or width % self.stride:
            raise AIHError(
                f"{type(self).__name__}: expected images with sides that {self.stride} divides, found {height}x{width}"
            )


def write_tensors(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Write a file of safetensors that knows its own checksum, whole or not at all."""
    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    write_bytes(path, save(plain, {CHECKSUM: _checksum(plain)}))


def load_checked(network: nn.Module, tensors: dict[str, Tensor], source: str) -> None:
    """Give ``network`` tensors that are exactly its own; ``source`` names them in errors.

    Raises:
        AssetError: a tensor is missing, of another shape, not finite, or not the network's.
    """
    check_tensors(network, tensors, source)
    network.load_state_dict(tensors)


def check_tensors(network: nn.Module, tensors: dict[str, Tensor], source: str) -> None:
    """Raise AssetError unless ``tensors`` are exactly the network's, by name and shape, and finite."""
    expected, kind = network.state_dict(), type(network).__name__
    if missing := sorted(expected.keys() - tensors.keys()):
        raise AssetError(f"{source}: expected all tensors of {kind}, found {len(missing)} missing: {_some(missing)}")
    if unexpected := sorted(tensors.keys() - expected.keys()):
        raise AssetError(
            f"{source}: expected only tensors of {kind}, found {len(unexpected)} others: {_some(unexpected)}"
        )
    for name, tensor in expected.items():
        shape, found = tuple(tensor.shape), tuple(tensors[name].shape)
        if shape != found:
            raise AssetError(f"{source}, {name}: expected shape {shape}, found {found}")
    if broken := not_finite(tensors):
        raise AssetError(f"{source}: expected finite numbers, found others in tensor {broken}")


def not_finite(tensors: Mapping[str, Tensor]) -> str | None:
    """The name of the first tensor that holds NaN or an infinity."""
    return next((n for n, tensor in tensors.items() if not bool(tensor.isfinite().all())), None)


def _some(names: list[str]) -> str:
    return ", ".join(names[:_MAX_NAMES]) + (" ..." if len(names) > _MAX_NAMES else "")


def _read_tensors(path: Path) -> dict[str, Tensor]:
    if not path.is_file():
        raise AssetError(f"{path}: expected the network's weights, found no file")
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            stored = (file.metadata() or {}).get(CHECKSUM)  # earlier weights have none
    except (OSError, SafetensorError) as error:
        raise AssetError(f"{path}: expected safetensors, found none that can be read ({error})") from None
    if stored and stored != (found := _checksum(tensors)):
        raise AssetError(f"{path}: expected tensors of SHA-256 {stored}, found {found}")
    return tensors


def _checksum(tensors: Mapping[str, Tensor]) -> str:
    sha256 = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        sha256.update(f"{name} {tensor.dtype} {list(tensor.shape)}\n".encode())
        sha256.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return sha256.hexdigest()


def _parse_config(config_type: type[Any], values: object, path: Path) -> Any:
    fields = {field.name: field.default for field in dataclasses.fields(config_type)}
    if not isinstance(values, dict):
        raise AssetError(f'{path}: expected a table as "config", found {json.dumps(values)[:80]}')
    if unknown := sorted(values.keys() - fields.keys()):
        raise AssetError(f"{path}: expected a configuration of {', '.join(fields)}, found {_some(unknown)}")
    for name in values:
        default, choices, found = fields[name], _choices(config_type, name), json.dumps(values[name])
        if choices and values[name] not in choices:
            raise AssetError(f"{path}, {name}: expected one of {', '.join(choices)}, found {found}")
        if not choices and not _plausible(values[name], default):
            raise AssetError(f"{path}, {name}: expected a value like {json.dumps(default)}, found {found}")
    try:
        return config_type(
            **{name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}
        )
    except AIHError as error:
        raise AssetError(f"{path}: {error}") from None


def _choices(config_type: type[Any], name: str) -> tuple[str, ...]:
    """The strings that a field of a configuration may be; none where it is a number or a list of them."""
    return tuple(c for c in get_args(get_type_hints(config_type)[name]) if isinstance(c, str))


def _plausible(value: Any, default: object) -> bool:
    """True for a value of the default's type, and a number one that a network can be built with: a size, or a rate."""
    if isinstance(default, bool | str):
        return type(value) is type(default)
    if isinstance(default, tuple):
        return (
            isinstance(value, list)
            and len(value) <= _MAX_LEVELS
            and all(_plausible(item, default[0]) for item in value)
        )
    if isinstance(default, float):
        return type(value) in (int, float) and 0 <= value < 1
    return type(value) is int and 0 < value <= _MAX_SIZE
