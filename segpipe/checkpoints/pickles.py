"""What torch.save wrote, under `weights_only=True` alone: no code of a file is ever run."""

from __future__ import annotations

import pickle
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import torch

from segpipe.errors import CorruptWeightsError, WeightsError
from segpipe.limits import limit
from segpipe.names import listing

from .archives import check_archive, damaged, first_line, open_weights
from .pickle_scan import CallError, OtherProtocolError, Scan, scan_pickle
from .stubs import stand_ins

BLOCKED = ("os", "posix", "nt", "sys")
"""Modules whose names torch refuses, whoever allows them."""
_LOCK = threading.Lock()
"""What torch allows is a set of the whole process, in which a scan must not find the names of another thread."""
_SAVE_AGAIN = "Where you trust it, save its state dict alone: torch.save(model.state_dict(), …)."


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
        with stand_ins(scan):
            return _load(file, path, scan.names), scan.names


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
