"""The best class of each cell of the logits' grid, and the score of each class that follows from them."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from segpipe.errors import NumericalError

from ..geometry import Placement

CPU_CHUNK = 1 << 17
"""A step makes at most this many numbers on a CPU: about what its caches hold."""
GPU_CHUNK = 1 << 25
"""The same on a GPU, where many small steps are slow."""


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
    """Return the winners of cells (h, w, K), a few rows at a time so that each is read from memory once."""
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
    """Return how many numbers one step may make."""
    return CPU_CHUNK if device.type == "cpu" else GPU_CHUNK


def label_dtype(num_classes: int) -> torch.dtype:
    """Return the smallest integer type that holds the class indices."""
    return torch.uint8 if num_classes <= 256 else torch.int32


def class_scores(cells: Tensor, winners: CellWinners, placement: Placement, present: Tensor) -> Tensor:
    """Return the mean softmax probability of each class over the cells that it wins and that the image covers.

    Args:
        cells: (B, h, w, K) logits.
        winners: of all these cells, in their order.
        placement: where each of the B images lies on its grid.
        present: (B, K) bool, whether a class is in their label maps.

    Returns:
        (B, K) float32; for a class that wins between cells only, its highest probability; not a number for
        classes that are not in the map.
    """
    covered = (placement.rows.read_cells[:, None] & placement.columns.read_cells).to(cells.device).double()
    probabilities = covered / winners.totals.view(-1, *covered.shape)  # (B, h, w)
    won = winners.classes.view_as(probabilities)
    counts = _sum_by_class(won, covered.expand_as(probabilities), cells.shape[-1])
    scores = _sum_by_class(won, probabilities, cells.shape[-1]) / counts
    scores[~present] = torch.nan
    logits = winners.logits.view_as(probabilities)
    for image, index in (present & scores.isnan()).nonzero().tolist():
        exponentials = (cells[image, ..., index].float() - logits[image]).exp_()
        scores[image, index] = (exponentials * probabilities[image]).max()
    return scores.float()


def count_classes(labels: Tensor, num_classes: int) -> Tensor:
    """Return (K,) how often each class occurs."""
    return torch.bincount(labels.flatten(), minlength=num_classes)


def _find_in_strip(strip: Tensor, scratch: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    best, classes = strip.max(dim=-1)
    return best, classes, torch.sub(strip, best[..., None], out=scratch).exp_().sum(dim=-1)


def _sum_by_class(classes: Tensor, values: Tensor, num_classes: int) -> Tensor:
    """Return (B, K) sums of values (B, h, w) by their classes."""
    count = len(classes)
    bins = classes.flatten(1) + num_classes * torch.arange(count, device=classes.device)[:, None]
    return torch.bincount(bins.flatten(), values.flatten(), count * num_classes).view(count, num_classes)
