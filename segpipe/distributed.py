"""Processes that work together: who they are, and what they add up. The one room below the networks with torch."""

from __future__ import annotations

import atexit
import os
from dataclasses import dataclass
from datetime import timedelta

import torch
from torch import Tensor
from torch import distributed as dist

from segpipe.errors import InputError

TIMEOUT = timedelta(minutes=10)


@dataclass(frozen=True)
class Ranks:
    """The place of this process among those of a run.

    Attributes:
        rank: 0 … world_size - 1 over all machines.
        world_size: number of processes.
        local_rank: 0 … on this machine; picks the GPU.
    """

    rank: int = 0
    world_size: int = 1
    local_rank: int = 0


def read_ranks() -> Ranks:
    """From torchrun's variables (RANK, WORLD_SIZE, LOCAL_RANK), else SLURM's, else a process on its own."""
    if "RANK" in os.environ and "WORLD_SIZE" in os.environ:
        return Ranks(_number("RANK"), _number("WORLD_SIZE"), _number("LOCAL_RANK", default=0))
    if "SLURM_PROCID" in os.environ and _number("SLURM_NTASKS", default=1) > 1:
        return Ranks(_number("SLURM_PROCID"), _number("SLURM_NTASKS"), _number("SLURM_LOCALID", default=0))
    return Ranks()


def join(device_type: str) -> Ranks:
    """Join the run's other processes, once; a process on its own joins nothing. Left when the process ends.

    Args:
        device_type: "cuda" uses NCCL, everything else gloo.
    """
    ranks = read_ranks()
    if ranks.world_size == 1 or dist.is_initialized():
        return ranks
    os.environ.setdefault("MASTER_ADDR", "127.0.0.1")
    os.environ.setdefault("MASTER_PORT", "29500")
    backend = "nccl" if device_type == "cuda" else "gloo"
    dist.init_process_group(backend, rank=ranks.rank, world_size=ranks.world_size, timeout=TIMEOUT)
    atexit.register(_leave)
    return ranks


def is_main() -> bool:
    """Whether this is the process that writes and prints."""
    return rank() == 0


def rank() -> int:
    """This process's rank in the group, 0 outside of one."""
    return dist.get_rank() if dist.is_initialized() else 0


def world_size() -> int:
    """Processes in the group, 1 outside of one."""
    return dist.get_world_size() if dist.is_initialized() else 1


def all_sum(values: Tensor) -> Tensor:
    """The sum over all processes, on all of them; the same tensor outside of a group."""
    if world_size() == 1:
        return values
    total = values.clone()
    dist.all_reduce(total)
    return total


def any_process(flag: bool, device: torch.device | str = "cpu") -> bool:
    """Whether the flag is set in any process."""
    return bool(all_sum(torch.tensor(int(flag), device=device)).item())


def barrier() -> None:
    """Wait until all processes are here."""
    if world_size() > 1:
        dist.barrier()


def gather_texts(text: str) -> list[str]:
    """The texts of all processes, by rank, on all of them."""
    if world_size() == 1:
        return [text]
    texts: list[str] = [""] * world_size()
    dist.all_gather_object(texts, text)
    return texts


def _leave() -> None:
    if dist.is_initialized():
        dist.destroy_process_group()


def _number(variable: str, default: int | None = None) -> int:
    text = os.environ.get(variable, "" if default is None else str(default))
    if not text.isdecimal():
        raise InputError(f"The variable {variable} is {text!r}; it must be a whole number. Launch with torchrun.")
    return int(text)
