"""Devices by name, as segpipe, torch and ModelScope write them: cpu, cuda, cuda:1, gpu, gpu:1, mps."""

from __future__ import annotations

import torch

from segpipe import advice, distributed
from segpipe.errors import InputError


def parse_device(device: str | torch.device) -> torch.device:
    """Return the torch device of a name. ModelScope's "gpu" and "gpu:1" stand for CUDA's.

    Raises:
        InputError: torch knows no device of this name.
    """
    try:
        return torch.device(str(device).lower().replace("gpu", "cuda"))
    except RuntimeError:
        raise InputError(
            f"There is no device {device!r}. Give {advice.argument('device', 'cpu')} or "
            f"{advice.argument('device', 'cuda')}."
        ) from None


def find_device(device: str | torch.device | None = None) -> torch.device:
    """Return a device that this machine has. If None, a GPU where torch sees one, else the CPU.

    Torch's "meta" is there everywhere: shapes without memory.

    Raises:
        InputError: torch knows no device of this name, or this machine does not have it.
    """
    if device is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    chosen = parse_device(device)
    backend = getattr(torch, chosen.type, None)
    if chosen.type not in ("cpu", "cuda", "meta") and (backend is None or not backend.is_available()):
        raise InputError(
            f"The device {device!r} is not there. Give {advice.argument('device', 'cpu')}, or leave it out."
        )
    if chosen.type == "cuda" and (chosen.index or 0) >= torch.cuda.device_count():
        raise InputError(
            f"The device {device!r} is not there: torch sees {torch.cuda.device_count()} GPUs. "
            f"Give {advice.argument('device', 'cpu')}, or leave it out."
        )
    return chosen


def process_device() -> torch.device:
    """Return the GPU of this process, by its local rank among those of a launcher, or the CPU where torch sees none."""
    if not torch.cuda.is_available():
        return torch.device("cpu")
    return torch.device("cuda", distributed.device_index(distributed.read_ranks(), torch.cuda.device_count()))


def join_processes(device: str | torch.device | None = None) -> torch.device:
    """Join the other processes of a launcher, if there are any, and return the device of this one.

    Args:
        device: of this process. If None, see `process_device`.
    """
    chosen = process_device() if device is None else find_device(device)
    distributed.join(chosen.type)
    return chosen
