"""ModelScope's way to name devices: cpu, gpu, gpu:1, cuda, cuda:1."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

import torch

from segpipe.errors import InputError
from segpipe.log import get_logger

logger = get_logger(__name__)

_NAME = re.compile(r"(cpu)|(?:gpu|cuda)(?::([0-9]{1,4}))?")


class UnknownDeviceError(InputError, AssertionError):
    """A device that is not named as a device; ModelScope asserts it."""


def verify_device(device_name: str) -> tuple[Literal["cpu", "gpu"], int | None]:
    """Return the kind of a device and its number: ("gpu", 0) for "cuda", ("cpu", None) for "CPU"."""
    match = _NAME.fullmatch(device_name.lower()) if isinstance(device_name, str) else None
    if match is None:
        raise UnknownDeviceError(f"There is no device {device_name!r}. Say cpu, gpu, gpu:1, cuda or cuda:1.")
    return ("cpu", None) if match[1] else ("gpu", int(match[2] or 0))


def create_device(device_name: str) -> torch.device:
    """Return the torch device. Where torch sees no GPU it is the CPU, and a line of the log says so."""
    kind, index = verify_device(device_name)
    if index is None:
        return torch.device(kind)
    if not torch.cuda.is_available():
        logger.info("There is no GPU for the device %r; using the CPU", device_name)
        return torch.device("cpu")
    return torch.device("cuda", index)


def own_device(device_name: str | None) -> str | None:
    """Return a device as segpipe names it: "cuda:1" for "gpu:1", the CPU for both where torch sees no GPU.

    "cuda" for "gpu" leaves the number open. Names of other devices, and None, come back as they are.
    """
    if device_name is None or not device_name.lower().startswith(("gpu", "cuda")):
        return device_name
    chosen = create_device(device_name)
    return str(chosen) if ":" in device_name else chosen.type


@contextmanager
def device_placement(framework: str = "pytorch", device_name: str = "gpu:0") -> Iterator[None]:
    """Make a device torch's current one inside the block. `framework` is there for ModelScope's signature."""
    device = create_device(device_name)
    if device.type == "cpu":
        yield
        return
    with torch.cuda.device(device):
        yield
