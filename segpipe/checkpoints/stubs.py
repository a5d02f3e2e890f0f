"""Stand-ins for the classes that a pickle names and torch does not allow: they keep what they get and run nothing."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from .pickle_scan import Scan

TENSORS = (Tensor, torch.UntypedStorage, torch.storage.TypedStorage)
"""A tensor, and what one is made from."""


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
def stand_ins(scan: Scan) -> Iterator[None]:
    """Let torch.load make stubs, inside the block, of whatever a pickle names and torch does not allow."""
    if not scan.names:
        yield
        return
    made: list[Callable[..., Any] | tuple[Callable[..., Any], str]] = [
        (type("Stub", (_kind(scan.fills.get(name, set())),), {"name": name}), name) for name in scan.names
    ]
    with torch.serialization.safe_globals(made):
        yield


def _kind(fills: set[str]) -> type[Stub]:
    """The stub of a class, by the items that are put into its objects: torch puts some into dicts and lists alone."""
    if fills & {"SETITEM", "SETITEMS"}:
        return _MappingStub
    return _ListStub if fills else Stub


def owners_of_tensors(content: Any) -> list[str]:
    """Return the names of the unknown classes in whose objects tensors lie; of objects in objects, the outer ones'."""
    outer = [value for value in _reached(content, set(), into_stubs=False) if isinstance(value, Stub)]
    return sorted({stub.name for stub in outer}) if first_with_tensor(outer) else []


def first_with_tensor(stubs: Iterable[Stub]) -> Stub | None:
    """Return the first stub that was given a tensor, at whatever depth; None where there is none."""
    seen: set[int] = set()  # shared, so that many references to one value cost one look
    for stub in stubs:
        if any(isinstance(value, TENSORS) for value in _reached(stub, seen, into_stubs=True)):
            return stub
    return None


def _reached(value: Any, seen: set[int], *, into_stubs: bool) -> Iterator[Any]:
    """Everything in a value that was not seen: members of dicts, lists, tuples and sets, and what stubs were given."""
    waiting = [value]
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
        elif isinstance(value, Stub) and into_stubs:
            waiting += value.given
