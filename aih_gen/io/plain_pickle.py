"""A pickle's content as plain data: the file is decoded, and nothing in it is ever imported, called or built.

A pickle is a program for a small stack machine. ``pickletools`` decodes its instructions; `read_plain_pickle` carries
out the ones that models' files use. Where Python's own machine would import a name and call it, this one notes down
name and arguments as a `Record`, which the caller interprets. So no name, allowed or not, can run anything, and memory
stays within a small multiple of the file's size: no instruction sets aside more room than its own bytes in the file.
"""

from __future__ import annotations

import pickletools
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from aih_gen.errors import AssetError

MAX_INSTRUCTIONS = 100_000  # a MANO file has about 600: each of its arrays is one

_CONSTANTS: dict[str, Any] = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_ARGUMENTS = frozenset(
    {"BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT", "INT", "LONG", "FLOAT", "STRING", "UNICODE"}
    | {"BINUNICODE", "SHORT_BINUNICODE", "BINSTRING", "SHORT_BINSTRING", "BINBYTES", "SHORT_BINBYTES", "BYTEARRAY8"}
    | {"BINUNICODE8", "BINBYTES8"}
)
_EMPTY: dict[str, type] = {"EMPTY_DICT": dict, "EMPTY_LIST": list, "EMPTY_TUPLE": tuple, "EMPTY_SET": list}
"""A set's members are kept as a list: nothing needs to hash them."""
_TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
_MARK = object()


@dataclass(frozen=True)
class Name:
    """A module's name and a name inside it, as the pickle writes them."""

    module: str
    name: str

    def __str__(self) -> str:
        return f"{self.module[:60]}.{self.name[:60]}"


@dataclass(eq=False, repr=False)
class Record:
    """One object of a pickle: the name that would have been called, its arguments, and the state set afterwards."""

    name: Name
    arguments: tuple[Any, ...]
    state: Any = None


def read_plain_pickle(raw: bytes, allowed: Collection[Name], most: int = MAX_INSTRUCTIONS) -> Any:
    """The object that a pickle describes, made of plain values, tuples, lists, dictionaries and `Record`.

    Byte strings of Python 2 are read as Latin-1 text. ``most`` bounds the instructions.

    Raises:
        AssetError: a name that is not in ``allowed``, an instruction of another kind, or too many.
        Exception: of any kind where the file is cut or damaged.
    """
    machine = _Machine(frozenset(allowed))
    for count, (instruction, argument, _) in enumerate(pickletools.genops(raw)):
        if count == most:
            raise AssetError(f"expected at most {most} pickle instructions, found more")
        if instruction.name != "STOP":  # always the last
            machine.step(instruction.name, argument)
    return machine.stack.pop()


_ORDERED_DICT = Name("collections", "OrderedDict")
_RECONSTRUCTORS = {Name(module, "_reconstructor") for module in ("copyreg", "copy_reg")}
_OF_PYTHON = {_ORDERED_DICT, *_RECONSTRUCTORS, Name("builtins", "object"), Name("__builtin__", "object")}
"""Names that stand for plain values, or for nothing, in every pickle."""


class _Machine:
    """The stack and the memo; the memo is a dictionary, so that a large index costs nothing."""

    def __init__(self, allowed: frozenset[Name]) -> None:
        self.allowed = allowed
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}

    def step(self, instruction: str, argument: Any) -> None:
        stack = self.stack
        if instruction in ("PROTO", "FRAME"):
            return
        if instruction in _CONSTANTS:
            stack.append(_CONSTANTS[instruction])
        elif instruction in _ARGUMENTS:
            stack.append(argument)
        elif instruction in _EMPTY:
            stack.append(_EMPTY[instruction]())
        elif instruction in _TUPLES:
            stack[-_TUPLES[instruction] :] = [tuple(stack[-_TUPLES[instruction] :])]
        elif instruction in ("GLOBAL", "STACK_GLOBAL"):
            stack.append(self._named(argument))
        elif instruction in ("REDUCE", "NEWOBJ"):
            arguments, name = stack.pop(), stack.pop()
            stack.append(_called(name, arguments))
        elif instruction == "MARK":
            stack.append(_MARK)
        elif instruction == "TUPLE":
            stack.append(tuple(self._since_mark()))
        elif instruction in ("LIST", "FROZENSET"):
            stack.append(self._since_mark())
        elif instruction == "DICT":
            items = self._since_mark()
            stack.append({})
            _update(stack[-1], items)
        elif instruction in ("PUT", "BINPUT", "LONG_BINPUT"):
            self.memo[argument] = stack[-1]
        elif instruction == "MEMOIZE":
            self.memo[len(self.memo)] = stack[-1]
        elif instruction in ("GET", "BINGET", "LONG_BINGET"):
            stack.append(self.memo[argument])
        else:
            self._fill(instruction)

    def _fill(self, instruction: str) -> None:
        """The instructions that change the object below them on the stack."""
        if instruction in ("SETITEM", "APPEND"):
            items = [self.stack.pop()] if instruction == "APPEND" else [self.stack.pop(), self.stack.pop()][::-1]
        elif instruction in ("SETITEMS", "APPENDS", "ADDITEMS"):
            items = self._since_mark()
        elif instruction == "BUILD":
            items = [self.stack.pop()]
        else:
            raise AssetError(f"expected only what such a file holds, found the pickle instruction {instruction}")
        target = self.stack[-1]
        if instruction == "BUILD" and isinstance(target, Record):
            target.state = items[0]
        elif instruction in ("APPEND", "APPENDS", "ADDITEMS") and isinstance(target, list):
            target.extend(items)
        elif instruction in ("SETITEM", "SETITEMS") and isinstance(target, dict):
            _update(target, items)
        else:
            raise AssetError(f"expected a value that {instruction} can fill, found {type(target).__name__}")

    def _named(self, argument: str | None) -> Name:
        if argument is None:
            name, module = self.stack.pop(), self.stack.pop()
        else:
            module, _, name = argument.partition(" ")
        if not (isinstance(module, str) and isinstance(name, str)):
            raise AssetError("expected the name of a class, found another kind of value")
        found = Name(module, name)
        if found not in self.allowed and found not in _OF_PYTHON:
            raise AssetError(f"expected only what such a file holds, found the name {found}")
        return found

    def _since_mark(self) -> list[Any]:
        start = len(self.stack) - 1
        while self.stack[start] is not _MARK:
            start -= 1
            if start < 0:
                raise AssetError("expected a mark on the pickle's stack, found none")
        items = self.stack[start + 1 :]
        del self.stack[start:]
        return items


def _called(name: Any, arguments: Any) -> Record | dict[Any, Any]:
    if not (isinstance(name, Name) and isinstance(arguments, tuple)):
        raise AssetError("expected an object with a name and arguments, found another kind of value")
    if name == _ORDERED_DICT:
        found: dict[Any, Any] = {}
        if arguments:  # as Python 2 writes it, a list of pairs
            pairs = arguments[0]
            if not (
                isinstance(pairs, list) and all(isinstance(pair, list | tuple) and len(pair) == 2 for pair in pairs)
            ):
                raise AssetError("expected pairs of names and values, found something else")
            _update(found, [part for pair in pairs for part in pair])
        return found
    if name in _RECONSTRUCTORS and len(arguments) == 3 and isinstance(arguments[0], Name):
        return Record(arguments[0], ())  # as protocols 0 and 1 write any object
    return Record(name, arguments)


def _update(target: dict[Any, Any], items: list[Any]) -> None:
    keys = items[::2]
    if not all(isinstance(key, str | int) for key in keys):  # hashing nested tuples can take for ever
        raise AssetError("expected names as the keys of a dictionary, found another kind")
    target.update(zip(keys, items[1::2], strict=True))
