"""The cost of a model: its numbers and multiplications, and latency, throughput and memory of its forward pass."""

from __future__ import annotations

import time
from dataclasses import dataclass
from statistics import median

import torch
from torch import Tensor

from segpipe.configuration import ModelConfig
from segpipe.devices import find_device
from segpipe.errors import InputError
from segpipe.inference import Network
from segpipe.models import build_model

from .counting import MacCount, ParameterCount, count_macs, count_parameters, saved_bytes

WARM_UP_ROUNDS = 3


@dataclass(frozen=True)
class Speed:
    """The cost of a network's forward pass, without reading and resizing images and without label maps.

    Attributes:
        latency: median seconds of one call.
        fastest: seconds of the fastest call.
        throughput: images per second at the median.
        peak_memory: bytes that a GPU had in use at most, weights included, or None on a CPU.
        batch_size: images in a call.
        rounds: calls that were timed.
    """

    latency: float
    fastest: float
    throughput: float
    peak_memory: int | None
    batch_size: int
    rounds: int


@dataclass(frozen=True)
class Profile:
    """The cost of a model.

    Attributes:
        parameters: numbers that it has.
        num_bytes: of its weights in a file, in float32.
        macs: multiply-accumulates of one image.
        speed: of its forward pass, or None where it was not timed.
        device: where it was timed.
    """

    parameters: ParameterCount
    num_bytes: int
    macs: MacCount
    speed: Speed | None
    device: str


def profile_model(
    config: ModelConfig,
    size: tuple[int, int],
    *,
    device: str | torch.device | None = None,
    dtype: str = "float32",
    batch_size: int = 1,
    rounds: int | None = 20,
) -> Profile:
    """Count what a model costs, and time it with freshly made weights: speed does not depend on their values.

    Args:
        config: the `model` section of a configuration.
        size: (height, width) of the images.
        device: where it is timed. If None, a GPU if there is one.
        dtype: that it is timed in.
        batch_size: images in a call.
        rounds: timed calls at most. If None, nothing is timed.
    """
    network = build_model(config).eval()
    parameters, num_bytes, macs = count_parameters(network), saved_bytes(network), count_macs(config, size)
    device = str(find_device(device))
    speed = None
    if rounds is not None:
        network = network.to(device, getattr(torch, dtype))
        network.apply_folding()
        speed = measure_speed(network, size, batch_size=batch_size, rounds=rounds)
    return Profile(parameters, num_bytes, macs, speed, device)


@torch.inference_mode()
def measure_speed(
    network: Network, size: tuple[int, int], *, batch_size: int = 1, rounds: int = 20, seconds: float = 20.0
) -> Speed:
    """Time a network in evaluation mode on images of noise.

    Args:
        network: as `load_model` gives it, on the device and in the type that it is timed in.
        size: (height, width) of the images.
        batch_size: images in a call.
        rounds: timed calls at most; three more before them do not count.
        seconds: after this time no further call begins, once one was timed.
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
    """Return the seconds of one call, on a GPU until it is done."""
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
