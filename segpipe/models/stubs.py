"""Stand-ins for the classes that a pickle names and torch does not allow: they keep what they get and run nothing."""

from __future__ import annotations

import io
import pickletools
import threading
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import torch
from torch import Tensor

from segpipe.errors import WeightsError
from segpipe.limits import limit
from segpipe.names import listing

BLOCKED = ("os", "posix", "nt", "sys")
"""Modules whose names torch refuses, whoever allows them."""
TENSORS = (Tensor, torch.UntypedStorage, torch.storage.TypedStorage)
"""A tensor, and what one is made from."""
_LOCK = threading.Lock()
"""What torch allows is a set of the whole process, in which a scan must not find the names of another thread."""


class Stub:
    """An object of a class that is not known. It keeps what it is given, and does nothing."""

    name = ""
    """Of the class that it stands for."""
    given: list[Any]
    """The arguments that the object was made with, and its state."""

    def __new__(cls, *given: Any) -> Any:
        stub = super().__new__(cls)
        stub.given = list(given)
        return stub

    def __setstate__(self, state: Any) -> None:
        self.given.append(state)


class _MappingStub(Stub):
    """Stands for a subclass of dict; its objects are read as plain ordered dicts."""

    def __new__(cls, *given: Any) -> Any:
        return OrderedDict()


class _ListStub(Stub):
    """Stands for a subclass of list; its objects are read as plain lists."""

    def __new__(cls, *given: Any) -> Any:
        return []


@contextmanager
def stand_ins(file: BinaryIO, path: Path) -> Iterator[tuple[str, ...]]:
    """Let torch.load make stubs, inside the block, of whatever a file names and torch does not know.

    Yields:
        The names, such as mmengine.logging.history_buffer.HistoryBuffer. None where the file cannot be scanned:
        loading it will say why.

    Raises:
        WeightsError: it names something in os, posix, nt or sys, or more than `pickle_names` names.
    """
    with _LOCK:
        kinds = _scan(file)
        names = tuple(sorted(kinds))
        _check_names(names, path)
        if names:
            stubs: list[Callable[..., Any] | tuple[Callable[..., Any], str]] = [
                (type("Stub", (kinds[name],), {"name": name}), name) for name in names
            ]
            with torch.serialization.safe_globals(stubs):
                yield names
            return
    yield ()


def names_with_tensors(content: Any) -> list[str]:
    """Return the names of the unknown classes whose objects hold tensors, anywhere in what a pickle held."""
    found = {stub.name for stub in _reached(content) if isinstance(stub, Stub) and holds_tensor(stub)}
    return sorted(found)


def holds_tensor(value: Any) -> bool:
    """Return whether a tensor lies somewhere in a value."""
    return any(isinstance(each, TENSORS) for each in _reached(value))


def _reached(value: Any) -> Iterator[Any]:
    """Everything in a value: members of dicts, lists, tuples and sets, and what stubs were given; each once."""
    waiting, seen = [value], set()
    while waiting:
        value = waiting.pop()
        if id(value) in seen:
            continue
        seen.add(id(value))
        yield value
        if isinstance(value, dict):
            waiting += [*dict.keys(value), *dict.values(value)]
        elif isinstance(value, list | tuple | set):
            waiting += list(value)
        elif isinstance(value, Stub):
            waiting.append(value.given)


def _scan(file: BinaryIO) -> dict[str, type[Stub]]:
    """Name that torch does not allow → the stub that its objects need, found without running the pickle."""
    try:
        program = _read_program(file)
        names = torch.serialization.get_unsafe_globals_in_checkpoint(_as_archive(program))
        filled = _filled(program) if names else {}
        return {name: filled.get(name, Stub) for name in names}
    except Exception:  # damaged pickles raise nearly anything; torch.load says what is wrong
        return {}


def _read_program(file: BinaryIO) -> bytes:
    """The pickle of the content: a member of an archive, or in older files the fourth of five, without its tensors."""
    file.seek(0)
    if file.read(2) == b"PK":
        with zipfile.ZipFile(file) as archive:
            return archive.read(next(name for name in archive.namelist() if name.endswith("/data.pkl")))
    file.seek(0)
    for _ in range(3):  # a magic number, the version of the format, sizes of numbers
        _pass_pickle(file)
    start = file.tell()
    _pass_pickle(file)
    end = file.tell()
    file.seek(start)
    return file.read(end - start)


def _pass_pickle(file: BinaryIO) -> None:
    for _ in pickletools.genops(file):
        pass


def _as_archive(program: bytes) -> io.BytesIO:
    """A checkpoint with this pickle and no tensors, in today's format, which torch scans."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("archive/data.pkl", program)
        archive.writestr("archive/version", "3\n")
    buffer.seek(0)
    return buffer


def _check_names(names: tuple[str, ...], path: Path) -> None:
    blocked = [name for name in names if name.split(".")[0] in BLOCKED]
    if blocked:
        raise WeightsError(
            f"{path} names {listing(blocked)}, which weights do not need and an attack would. It was not opened, and "
            "nothing in it was run. Do not open it with other programs; get the weights from a source that you trust."
        )
    if len(names) > limit("pickle_names"):
        raise WeightsError(
            f"{path} names {len(names):,} classes and functions that segpipe does not know ({listing(names, 3)}); at "
            f"most {limit('pickle_names'):,} are passed over. Where you trust it, save its state dict alone: "
            "torch.save(model.state_dict(), …)."
        )


_FILLING: dict[str, type[Stub]] = {
    "SETITEM": _MappingStub,
    "SETITEMS": _MappingStub,
    "APPEND": _ListStub,
    "APPENDS": _ListStub,
}


def _filled(program: bytes) -> dict[str, type[Stub]]:
    """Name of a class → the stub that its objects need, where a pickle puts items into them.

    torch puts items into dicts, ordered dicts and lists alone. The pickle's stack is followed by opcode, with the name
    of its class in the place of each object.
    """
    stack: list[str | None] = []
    marks: list[int] = []
    memo: dict[Any, str | None] = {}
    found: dict[str, type[Stub]] = {}
    for opcode, argument, _ in pickletools.genops(program):
        before, pushed = opcode.stack_before, None
        if opcode.name == "MARK":
            marks.append(len(stack))
            continue
        if opcode.name in ("BINPUT", "LONG_BINPUT"):
            memo[argument] = stack[-1]
            continue
        count = len(before)
        if pickletools.markobject in before:
            del stack[marks.pop() :]
            count = before.index(pickletools.markobject)
        taken = [stack.pop() for _ in range(count)][::-1]
        if opcode.name == "GLOBAL":
            pushed = str(argument).replace(" ", ".", 1)
        elif opcode.name in ("BINGET", "LONG_BINGET"):
            pushed = memo[argument]
        elif opcode.name in ("NEWOBJ", "REDUCE", "BUILD", *_FILLING):
            pushed = taken[0]
        if pushed is not None and opcode.name in _FILLING:
            found[pushed] = _FILLING[opcode.name]
        stack += [pushed] * len(opcode.stack_after)
    return found
