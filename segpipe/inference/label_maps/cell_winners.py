"""The best class of each cell of the logits' grid, found while reading the logits once."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from segpipe.errors import NumericalError

CPU_CHUNK = 1 << 17
"""How many numbers a step may make on a CPU: about what its caches hold."""
GPU_CHUNK = 1 << 25
"""How many on a GPU, where many small steps are slow."""


@dataclass(frozen=True, eq=False)
class CellWinners:
    """What wins in each cell.

    Attributes:
        classes: (h, w) int64, the best class; the lowest of equals.
        logits: (h, w) float32, its logit.
        totals: (h, w) float32, the sum over all classes of exp(logit - best logit): the best class has the
            probability 1 / totals.
    """

    classes: Tensor
    logits: Tensor
    totals: Tensor


def find_winners(cells: Tensor) -> CellWinners:
    """The winners of cells (h, w, K), a few rows at a time so that each is read from memory once."""
    step = min(len(cells), max(1, chunk_size(cells.device) // cells[0].numel()))
    scratch = torch.empty(step, *cells.shape[1:], device=cells.device)  # making it anew each time costs as much as exp
    strips = [_find_in_strip(strip.float(), scratch[: len(strip)]) for strip in cells.split(step)]
    logits, classes, totals = (torch.cat(parts) for parts in zip(*strips, strict=True))
    check_finite(logits)
    return CellWinners(classes, logits, totals)


def check_finite(best: Tensor) -> None:
    """Refuse best logits that are not numbers.

    Raises:
        NumericalError: not a number, or infinite.
    """
    if not best.isfinite().all():
        raise NumericalError(
            "The network's logits are not all finite numbers. Compute in float32 or bfloat16; "
            "if that does not help, the weights are broken: load them again."
        )


def chunk_size(device: torch.device) -> int:
    """How many numbers one step may make."""
    return CPU_CHUNK if device.type == "cpu" else GPU_CHUNK


def label_dtype(num_classes: int) -> torch.dtype:
    """The smallest integer type that holds the class indices."""
    return torch.uint8 if num_classes <= 256 else torch.int32


def _find_in_strip(strip: Tensor, scratch: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    best, classes = strip.max(dim=-1)
    return best, classes, torch.sub(strip, best[..., None], out=scratch).exp_().sum(dim=-1)
