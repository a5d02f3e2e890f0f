"""Tensors into files: safetensors, and what torch.load opens; whole or not at all."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from segpipe.atomic import atomic_file, open_new
from segpipe.errors import CacheError


def write_tensors(tensors: Mapping[str, Tensor], path: Path) -> None:
    """Write a .safetensors file; each tensor gets memory of its own. See `write_pickle` for the rest."""
    from safetensors.torch import save_file

    own = {key: tensor.detach().cpu().contiguous().clone() for key, tensor in tensors.items()}
    with _refusals_explained(path), atomic_file(path, sync=False) as unfinished:
        save_file(own, str(unfinished))


def write_pickle(content: Mapping[str, Any], path: Path) -> None:
    """Write a file that torch.load opens. One that is there is replaced once the new one is whole.

    Raises:
        CacheError: the file cannot be written, e.g. on a full disk; nothing is left of it.
    """
    with _refusals_explained(path), atomic_file(path, sync=False) as unfinished, open_new(unfinished) as file:
        torch.save(content, file)  # by name, torch's writer would end the process


@contextmanager
def _refusals_explained(path: Path) -> Iterator[None]:
    """Raise CacheError where a library cannot write a file."""
    try:
        yield
    except Exception as error:  # torch and safetensors have errors of their own for a full disk
        cause = _refusal_behind(error)
        reason = (getattr(cause, "strerror", None) or str(cause).strip() or type(cause).__name__).splitlines()[0]
        raise CacheError(
            f"{path} cannot be written: {reason}. Free some space there, or give another place.", path=path
        ) from cause


def _refusal_behind(error: BaseException) -> BaseException:
    """The operating system's own error, for which torch has other words, or the error itself."""
    behind: BaseException | None = error
    while behind is not None and not isinstance(behind, OSError):
        behind = behind.__context__
    return behind or error
