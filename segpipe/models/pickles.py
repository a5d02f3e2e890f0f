"""What torch.save wrote, under `weights_only=True` alone: no code of a file is ever run."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import torch

from segpipe.errors import CorruptWeightsError, WeightsError
from segpipe.names import listing

from .archives import check_archive, damaged, first_line, open_weights
from .stubs import stand_ins

_SAVE_AGAIN = "Where you trust it, save its state dict alone: torch.save(model.state_dict(), …)."


def read_pickle(path: Path) -> Any:
    """Return what torch saved in a file, of tensors and plain values alone, on the CPU.

    Raises:
        CorruptWeightsError: the file is damaged.
        WeightsError: it holds anything else.
    """
    with _open_pickle(path) as file:
        return _load(file, path, ())


def read_foreign_pickle(path: Path) -> tuple[Any, tuple[str, ...]]:
    """Return what torch saved in a file, with a `Stub` for each object of an unknown class, and the classes' names.

    Raises:
        CorruptWeightsError, WeightsError: see `read_pickle`, and `stand_ins`.
    """
    with _open_pickle(path) as file, stand_ins(file, path) as names:
        return _load(file, path, names), names


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


def _load(file: BinaryIO, path: Path, names: tuple[str, ...]) -> Any:
    file.seek(0)
    try:
        return torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        if "Unsupported operand" in str(error):
            raise WeightsError(
                f"{path} is not pickled as torch.save does it by default (protocol 2), and torch reads nothing else "
                f"without running code. {_SAVE_AGAIN}"
            ) from None
        raise WeightsError(
            f"{path} holds more than tensors and plain values, and segpipe runs no code from a file. {_SAVE_AGAIN}"
        ) from None
    except Exception as error:  # damaged pickles raise nearly anything
        if names:
            raise WeightsError(
                f"{path} is damaged, or its tensors need the code of {listing(names)}, which is not run: "
                f"{first_line(error)}. {_SAVE_AGAIN}"
            ) from None
        raise damaged(path, "a complete PyTorch file", error) from None
