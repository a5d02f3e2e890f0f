"""Tensors into files: safetensors, and what torch.load opens; whole or not at all."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from segpipe.errors import CacheError, InputError


def write_tensors(tensors: Mapping[str, Tensor], path: Path) -> None:
    """Write a .safetensors file; each tensor gets memory of its own. See `write_pickle` for errors."""
    from safetensors.torch import save_file

    with _whole_or_gone(path):
        save_file({key: tensor.detach().cpu().contiguous().clone() for key, tensor in tensors.items()}, str(path))


def write_pickle(content: Mapping[str, Any], path: Path) -> None:
    """Write a new file that torch.load opens.

    Raises:
        CacheError: the file cannot be written, e.g. on a full disk; nothing is left of it.
    """
    with _whole_or_gone(path), open(path, "xb") as file:  # by name, torch's writer would end the process
        torch.save(content, file)


@contextmanager
def _whole_or_gone(path: Path) -> Iterator[None]:
    """Raise CacheError where a library cannot write a file, and leave none behind."""
    try:
        yield
    except FileExistsError:
        raise InputError(f"{path} exists. Name a new file, or remove it first.") from None
    except Exception as error:  # torch and safetensors have errors of their own for a full disk
        with suppress(OSError, ValueError):  # where nothing can be written, nothing was left
            path.unlink(missing_ok=True)
        cause = _refusal_behind(error)
        reason = (getattr(cause, "strerror", None) or str(cause).strip() or type(cause).__name__).splitlines()[0]
        raise CacheError(
            f"{path} cannot be written: {reason}. Free some space there, or give another place."
        ) from cause


def _refusal_behind(error: BaseException) -> BaseException:
    """The operating system's own error, for which torch has other words, or the error itself."""
    behind: BaseException | None = error
    while behind is not None and not isinstance(behind, OSError):
        behind = behind.__context__
    return behind or error
