"""How fast a network is on a device: latency and throughput of its forward pass, and the memory that it takes."""

from __future__ import annotations

import time
from dataclasses import dataclass
from statistics import median

import torch
from torch import Tensor

from segpipe.errors import InputError
from segpipe.inference import Network

WARM_UP_ROUNDS = 3


@dataclass(frozen=True)
class Speed:
    """What a network's forward pass takes, without reading and resizing pictures and without label maps.

    Attributes:
        latency: median seconds of one call.
        fastest: seconds of the fastest call.
        throughput: pictures per second at the median.
        peak_memory: bytes that a GPU had in use at most, weights included; None on a CPU, where nobody counts.
        batch_size: pictures in a call.
        rounds: calls that were timed.
    """

    latency: float
    fastest: float
    throughput: float
    peak_memory: int | None
    batch_size: int
    rounds: int


@torch.inference_mode()
def measure_speed(
    network: Network, size: tuple[int, int], *, batch_size: int = 1, rounds: int = 20, seconds: float = 20.0
) -> Speed:
    """Time a network, which stands in evaluation mode on its device, on pictures of noise.

    Args:
        network: as `load_model` gives it, in the type that it shall compute in.
        size: (height, width) of the pictures.
        batch_size: pictures in a call.
        rounds: timed calls at most; three more before them do not count.
        seconds: no new call begins after so long, once one was timed.
    """
    if not (1 <= batch_size < 2**31 and 1 <= rounds < 2**31):
        raise InputError(f"batch_size={batch_size} and rounds={rounds}: both must be at least 1 and below 2**31.")
    device = network.pixel_mean.device
    images = torch.randint(0, 256, (batch_size, 3, *size), dtype=torch.uint8, device=device)
    begin = time.perf_counter()
    for _ in range(WARM_UP_ROUNDS):
        _time_call(network, images)
        if time.perf_counter() - begin > seconds:
            break
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    begin, times = time.perf_counter(), [_time_call(network, images)]
    while len(times) < rounds and time.perf_counter() - begin < seconds:
        times.append(_time_call(network, images))
    peak = torch.cuda.max_memory_allocated(device) if device.type == "cuda" else None
    return Speed(median(times), min(times), batch_size / median(times), peak, batch_size, len(times))


def _time_call(network: Network, images: Tensor) -> float:
    """Seconds of one call, on a GPU until it is done."""
    _wait(images.device)
    start = time.perf_counter()
    network(images)
    _wait(images.device)
    return time.perf_counter() - start


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()
