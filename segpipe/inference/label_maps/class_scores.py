"""How sure a network is of each class of a label map."""

from __future__ import annotations

import torch
from torch import Tensor

from ..placement import Placement
from .cell_winners import CellWinners


def class_scores(cells: Tensor, winners: CellWinners, placement: Placement, present: Tensor) -> Tensor:
    """Mean softmax probability of each class over the cells that it wins and that the picture covers.

    Args:
        cells: (B, h, w, K) logits.
        winners: of all these cells, in their order.
        placement: where each of the B pictures lies on its grid.
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
    for picture, index in (present & scores.isnan()).nonzero().tolist():
        exponentials = (cells[picture, ..., index].float() - logits[picture]).exp_()
        scores[picture, index] = (exponentials * probabilities[picture]).max()
    return scores.float()


def _sum_by_class(classes: Tensor, values: Tensor, num_classes: int) -> Tensor:
    """(B, K) sums of values (B, h, w) by their classes."""
    count = len(classes)
    bins = classes.flatten(1) + num_classes * torch.arange(count, device=classes.device)[:, None]
    return torch.bincount(bins.flatten(), values.flatten(), count * num_classes).view(count, num_classes)
