"""Processes that work together: their ranks, and sums over them. With `devices`, the lowest module with torch."""

from __future__ import annotations

import atexit
import gc
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

import torch
from torch import Tensor, distributed as dist

from segpipe.errors import InputError, SegpipeError
from segpipe.text import first_line

TIMEOUT = timedelta(minutes=10)
"""How long a process waits for the others at most."""
LAUNCHERS = {"pytorch": ("RANK", "torchrun"), "slurm": ("SLURM_STEP_NUM_TASKS", "srun")}
"""ModelScope's names, the variable that tells that a process was started so, and the command that sets it."""
_PORTS = range(15000, 25000)
_LOST = re.compile(r"gloo|nccl|connection (was )?(closed|reset|refused)|broken pipe|time(d )?out|pair closure", re.I)


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
    """Read torchrun's variables (RANK, WORLD_SIZE, LOCAL_RANK), else SLURM's; else a process is on its own.

    SLURM's are those that srun sets: a batch script that starts Python itself has SLURM_NTASKS as well, and is alone.
    """
    if "RANK" in os.environ and "WORLD_SIZE" in os.environ:
        return Ranks(_number("RANK"), _number("WORLD_SIZE"), _number("LOCAL_RANK", default=0))
    if "SLURM_PROCID" in os.environ and _number("SLURM_STEP_NUM_TASKS", default=1) > 1:
        return Ranks(_number("SLURM_PROCID"), _number("SLURM_STEP_NUM_TASKS"), _number("SLURM_LOCALID", default=0))
    return Ranks()


def check_launcher(launcher: str | None) -> None:
    """Raise InputError unless it is None, "pytorch" or "slurm", and that launcher's variables are there."""
    if launcher is None:
        return
    if launcher not in LAUNCHERS:
        raise InputError(f'launcher is {launcher!r}; it must be "pytorch", "slurm" or None. Leave it out to find out.')
    variable, command = LAUNCHERS[launcher]
    if variable not in os.environ:
        raise InputError(
            f"launcher is {launcher!r} and the variable {variable} is not set, so this process would train alone. "
            f"Start it with {command}, or leave launcher out."
        )


def device_index(ranks: Ranks, visible: int) -> int:
    """Return which of the visible GPUs is this process's: the only one, or the one of its local rank.

    Args:
        ranks: of this process.
        visible: GPUs that this process sees; launchers that set CUDA_VISIBLE_DEVICES show one to each.
    """
    if visible == 1:
        return 0
    if ranks.local_rank >= visible:
        raise InputError(
            f"This is process {ranks.local_rank + 1} of its machine, which has {visible} GPUs to see. "
            f"Start at most {visible} processes on a machine, or check CUDA_VISIBLE_DEVICES."
        )
    return ranks.local_rank


def join(device_type: str) -> Ranks:
    """Join the run's other processes, once, until this process ends. A process on its own joins nothing.

    Args:
        device_type: "cuda" uses NCCL, everything else gloo.
    """
    ranks = read_ranks()
    if ranks.world_size == 1 or dist.is_initialized():
        return ranks
    address, port = meeting_point()
    os.environ.setdefault("MASTER_ADDR", address)
    os.environ.setdefault("MASTER_PORT", str(port))
    backend = "nccl" if device_type == "cuda" else "gloo"
    with lost_processes_explained():
        store, _, _ = next(dist.rendezvous("env://", ranks.rank, ranks.world_size, timeout=TIMEOUT))
        # torchrun keeps one store over its restarts, in which the addresses of the dead processes still stand.
        store = dist.PrefixStore(f"segpipe/{os.environ.get('TORCHELASTIC_RESTART_COUNT', '0')}", store)
        dist.init_process_group(backend, store=store, rank=ranks.rank, world_size=ranks.world_size, timeout=TIMEOUT)
    atexit.register(_leave)
    return ranks


def meeting_point() -> tuple[str, int]:
    """Return address and port at which processes find each other where no launcher says it.

    Under SLURM rank 0 is on the first host of the step, and each job's steps have a port of their own.
    """
    hosts = next((os.environ[name] for name in ("SLURM_STEP_NODELIST", "SLURM_NODELIST") if os.environ.get(name)), "")
    address = first_host(hosts) if hosts else os.environ.get("SLURM_LAUNCH_NODE_IPADDR", "127.0.0.1")
    if "SLURM_JOB_ID" not in os.environ:
        return address, 29500
    return address, _PORTS[(_number("SLURM_JOB_ID") + 997 * _number("SLURM_STEP_ID", default=0)) % len(_PORTS)]


def first_host(hosts: str) -> str:
    """Return the first of SLURM's list of hosts: `node01` of `node[01-03,07],x1`."""
    found = re.match(r"(?:\[\d[^\]]*\]|[^,\[\]])+", hosts)
    if found is None:
        raise InputError(
            f"The list of hosts {hosts!r} cannot be read. Set MASTER_ADDR to the host of the first process."
        )
    return re.sub(r"\[(\d+)[^\]]*\]", r"\1", found.group())


@contextmanager
def lost_processes_explained() -> Iterator[None]:
    """Turn torch's error about a process that is gone into a sentence that says what to do."""
    try:
        yield
    except SegpipeError:
        raise
    except RuntimeError as error:
        is_alone = not dist.is_initialized() and read_ranks().world_size == 1
        if is_alone or not (isinstance(error, dist.DistError) or _LOST.search(str(error))):
            raise
        raise SegpipeError(
            f"Another process of the run ended or no longer answers ({first_line(error)}). Look at its own error; "
            "then start the run again with the same command, and it goes on from the last checkpoint. "
            "torchrun does so by itself with --max-restarts 3."
        ) from error


def is_main() -> bool:
    """Return whether this is the process that writes and prints."""
    return rank() == 0


def rank() -> int:
    """Return this process's rank in the group, 0 outside of one."""
    return dist.get_rank() if dist.is_initialized() else 0


def world_size() -> int:
    """Return the number of processes in the group, 1 outside of one."""
    return dist.get_world_size() if dist.is_initialized() else 1


def all_sum(values: Tensor) -> Tensor:
    """Return the sum over all processes, on all of them; the same tensor outside of a group."""
    if world_size() == 1:
        return values
    total = values.clone()
    with lost_processes_explained():
        dist.all_reduce(total)
    return total


def any_process(flag: bool, device: torch.device | str = "cpu") -> bool:
    """Return whether the flag is set in any process."""
    return bool(all_sum(torch.tensor(int(flag), device=device)).item())


def barrier() -> None:
    """Wait until all processes are here."""
    if world_size() > 1:
        with lost_processes_explained():
            dist.barrier()


def gather_texts(text: str) -> list[str]:
    """Return the texts of all processes, by rank, on all of them."""
    if world_size() == 1:
        return [text]
    texts: list[str] = [""] * world_size()
    with lost_processes_explained():
        dist.all_gather_object(texts, text)
    return texts


def _leave() -> None:
    if dist.is_initialized():
        gc.collect()  # what still holds the group in a cycle
        dist.destroy_process_group()


def _number(variable: str, default: int | None = None) -> int:
    text = os.environ.get(variable, "" if default is None else str(default))
    if not text.isdecimal():
        raise InputError(f"The variable {variable} is {text!r}; it must be a whole number. Launch with torchrun.")
    return int(text)
