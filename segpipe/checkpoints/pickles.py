"""Read what torch.save wrote, under `weights_only=True` alone: no code of a file is ever run.

For each class that a pickle names and torch does not allow, a stub stands in: it keeps what it gets and runs nothing.
"""

from __future__ import annotations

import pickle
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import torch
from torch import Tensor

from segpipe.errors import CorruptWeightsError, WeightsError
from segpipe.limits import limit
from segpipe.names import listing
from segpipe.text import first_line

from .archives import check_archive, damaged, open_weights
from .pickle_scan import CallError, OtherProtocolError, Scan, scan_pickle

BLOCKED = ("os", "posix", "nt", "sys")
"""Modules whose names torch refuses even where they are allowed."""
_LOCK = threading.Lock()
"""What torch allows is a set of the whole process, in which a scan must not find the names of another thread."""
_SAVE_AGAIN = "Where you trust it, save its state dict alone: torch.save(model.state_dict(), …)."
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


def read_pickle(path: Path) -> Any:
    """Return what torch saved in a file, of tensors and plain values alone, on the CPU.

    Raises:
        CorruptWeightsError: the file is damaged.
        WeightsError: it holds anything else.
    """
    with _open_pickle(path) as file:
        with _LOCK:
            scan = _scan(file, path)
        if scan.names:
            raise _more_than_tensors(path)
        return _load(file, path, ())


def read_foreign_pickle(path: Path) -> tuple[Any, tuple[str, ...]]:
    """Return what torch saved in a file, with a `Stub` for each object of an unknown class, and the classes' names.

    Raises:
        CorruptWeightsError, WeightsError: see `read_pickle`; it names something in os, posix, nt or sys, or more than
            `pickle_names` classes, or makes more than `pickle_objects` objects beside them.
    """
    with _open_pickle(path) as file, _LOCK:
        scan = _scan(file, path)
        _check(scan, path)
        with _stand_ins(scan):
            return _load(file, path, scan.names), scan.names


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


@contextmanager
def _open_pickle(path: Path) -> Iterator[BinaryIO]:
    with open_weights(path) as file:
        start = file.read(4)
        if start[:2] not in (b"PK", b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05"):
            raise CorruptWeightsError(
                f"{path} ({path.stat().st_size} bytes) is not a PyTorch checkpoint. Give a .safetensors, .pt, .pth or "
                ".bin file; if it should be one, download or copy it again."
            )
        if start[:2] == b"PK":
            check_archive(file, path, may_compress=False)
        yield file


def _scan(file: BinaryIO, path: Path) -> Scan:
    try:
        return scan_pickle(file)
    except OtherProtocolError:
        raise WeightsError(
            f"{path} is not pickled as torch.save does it by default (protocol 2), and torch reads nothing else "
            f"without running code. {_SAVE_AGAIN}"
        ) from None
    except CallError:
        raise _more_than_tensors(path) from None
    except Exception as error:  # damaged pickles raise nearly anything
        raise damaged(path, "a complete PyTorch file", error) from None


def _check(scan: Scan, path: Path) -> None:
    blocked = [name for name in scan.names if name.split(".")[0] in BLOCKED]
    if blocked:
        raise WeightsError(
            f"{path} names {listing(blocked)}, which weights do not need and an attack would. It was not opened, and "
            "nothing in it was run. Do not open it with other programs; get the weights from a source that you trust."
        )
    for count, bound, what in (
        (len(scan.names), "pickle_names", "classes and functions that are not known"),
        (scan.calls if scan.names else 0, "pickle_objects", "objects, some of classes that are not known"),
    ):
        if count > limit(bound):
            raise WeightsError(
                f"{path} holds {count:,} {what} ({listing(scan.names, 3)}); at most {limit(bound):,} are passed over. "
                f"{_SAVE_AGAIN} docs/limits.md says how to raise the limit."
            )


def _load(file: BinaryIO, path: Path, names: tuple[str, ...]) -> Any:
    file.seek(0)
    try:
        return torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        raise _more_than_tensors(path) from None
    except Exception as error:  # damaged pickles raise nearly anything
        if names:
            raise WeightsError(
                f"{path} is damaged, or its tensors need the code of {listing(names)}, which is not run: "
                f"{first_line(error)}. {_SAVE_AGAIN}"
            ) from None
        raise damaged(path, "a complete PyTorch file", error) from None


def _more_than_tensors(path: Path) -> WeightsError:
    return WeightsError(
        f"{path} holds more than tensors and plain values, and segpipe runs no code from a file. {_SAVE_AGAIN}"
    )


@contextmanager
def _stand_ins(scan: Scan) -> Iterator[None]:
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
    """Return the stub of a class by the items that are put into its objects: some go into dicts and lists alone."""
    if fills & {"SETITEM", "SETITEMS"}:
        return _MappingStub
    return _ListStub if fills else Stub


def _reached(value: Any, seen: set[int], *, into_stubs: bool) -> Iterator[Any]:
    """Yield what was not seen of a value: members of dicts, lists, tuples and sets, and what stubs were given."""
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
