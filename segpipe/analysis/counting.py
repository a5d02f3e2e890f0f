"""The cost of a network, counted from its shapes: parameters, bytes of its weights, multiplications of one image."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import IO, cast

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from segpipe.configuration import ModelConfig
from segpipe.models import build_outline


@dataclass(frozen=True)
class ParameterCount:
    """The number of a network's parameters.

    Attributes:
        total: learnable numbers; buffers such as BatchNorm's averages are not.
        trainable: those that are not frozen.
        by_part: part → learnable numbers, in the network's order; parts are its direct children.
    """

    total: int
    trainable: int
    by_part: Mapping[str, int]


@dataclass(frozen=True)
class MacCount:
    """Multiply-accumulates of one image: FLOPs are twice as many.

    Counted are convolutions, matrix products and both products of attention, as mmsegmentation's get_flops does; not
    norms, activations, resizing and the reading of values by deformable attention.

    Attributes:
        total: what segpipe computes.
        by_part: part → multiply-accumulates that segpipe computes.
        published: what papers state, often as "FLOPs": with SegFormer's four levels brought to stride 4 before
            they are fused, which segpipe does not do. Equal to `total` for other networks.
    """

    total: int
    by_part: Mapping[str, int]
    published: int


def count_parameters(network: nn.Module) -> ParameterCount:
    """Count the learnable numbers of a network, each once however often it is used."""
    by_part: dict[str, int] = {}
    for name, parameter in network.named_parameters():
        part = name.partition(".")[0]
        by_part[part] = by_part.get(part, 0) + parameter.numel()
    trainable = sum(parameter.numel() for parameter in network.parameters() if parameter.requires_grad)
    return ParameterCount(sum(by_part.values()), trainable, by_part)


def saved_bytes(network: nn.Module) -> int:
    """Return the size of the file that `torch.save` makes of the state dict; no file is written."""
    counter = _ByteCounter()
    torch.save(network.state_dict(), cast(IO[bytes], counter))
    return counter.count


def count_macs(config: ModelConfig, size: tuple[int, int]) -> MacCount:
    """Count the multiply-accumulates of a network for one image of (height, width), from shapes alone."""
    network = build_outline(config).eval()
    images = torch.empty(1, 3, *size, device="meta")
    network.apply_folding()
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        network(images)
    counts = counter.get_flop_counts()
    by_part = {
        part: sum(counts[f"{type(network).__name__}.{part}"].values()) // 2
        for part, _ in network.named_children()
        if f"{type(network).__name__}.{part}" in counts
    }
    total = counter.get_total_flops() // 2
    return MacCount(total, by_part, network.published_macs(size, by_part))


class _ByteCounter:
    """A file that keeps nothing."""

    def __init__(self) -> None:
        self.count = 0

    def write(self, data: bytes) -> int:
        """Count the bytes, and return their number."""
        size = memoryview(data).nbytes
        self.count += size
        return size

    def flush(self) -> None:
        """Do nothing."""
