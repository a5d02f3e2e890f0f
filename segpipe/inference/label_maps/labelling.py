"""The label map of a prediction, without ever making its logits at the image's size.

One view is labelled exactly (`exact.py`), on a GPU by a kernel (`fused.py`). Several views, windows, and class scores
that are not linear in what the network gives are computed in strips (`dense.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from segpipe.errors import NumericalError
from segpipe.models import can_fuse

from ..geometry import Placement, Prediction, View
from .dense import label_densely
from .exact import label_exactly


@dataclass(frozen=True, eq=False)
class LabelMap:
    """Class indices of an image.

    Attributes:
        labels: (H, W) uint8, or int32 with more than 256 classes.
        scores: (K,) float32, mean softmax probability of each class over the cells that it wins on the network's grid;
            for a class that wins between cells only, its highest one; of several views, or where a `Scoring` says what
            a probability is, the mean over the class's pixels. NaN for classes that are not in the map.
    """

    labels: Tensor
    scores: Tensor

    def numpy(self) -> np.ndarray:
        """Return the labels on the CPU, (H, W) uint8, or uint16 with more than 256 classes."""
        labels: np.ndarray = self.labels.cpu().numpy()
        return labels if labels.dtype == np.uint8 else labels.astype(np.uint16)


def label_predictions(predictions: Sequence[Prediction]) -> list[LabelMap | NumericalError]:
    """Return the label map of each prediction, or the error of one whose logits are not finite.

    On a GPU, where small steps are slow, the images of a batch that share a placement are labelled together.
    """
    together = _label_batches(predictions)
    return [together[index] if index in together else _label_alone(each) for index, each in enumerate(predictions)]


def label_map(prediction: Prediction) -> LabelMap:
    """Return the winning class at each pixel, with a score for each class.

    Equal to interpolating all logits and taking the argmax, except for pixels where two classes are closer than
    rounding. Memory beyond the result does not grow with K·H·W.

    Raises:
        NumericalError: the best logit of a cell or pixel is not finite.
    """
    view = prediction.views[0]
    if len(prediction.views) > 1:
        return LabelMap(*label_densely(prediction))
    if not isinstance(view, View) or view.scoring is not None:
        return LabelMap(*label_densely(Prediction((view,), combine="logits")))
    if can_fuse(view.cells):
        return _label_fused(view.cells[None], view.placement)[0]
    return LabelMap(*label_exactly(view))


def _label_batches(predictions: Sequence[Prediction]) -> dict[int, LabelMap]:
    """Return label maps, by place in the list, of those that a kernel can label together: one batch, one placement."""
    batches: dict[tuple[int, Placement], tuple[Tensor, dict[int, int]]] = {}
    for place, prediction in enumerate(predictions):
        view = prediction.views[0]
        if len(prediction.views) > 1 or not isinstance(view, View) or view.scoring is not None:
            continue
        if view.batch is not None and can_fuse(view.batch):
            batches.setdefault((id(view.batch), view.placement), (view.batch, {}))[1][place] = view.index
    found: dict[int, LabelMap] = {}
    for (_, placement), (batch, indices) in batches.items():
        found |= zip(indices, _label_together(batch, [*indices.values()], placement), strict=False)
    return found


def _label_together(batch: Tensor, indices: list[int], placement: Placement) -> list[LabelMap]:
    """Return none where logits are not finite: each is then labelled by itself, so that only that one fails."""
    try:
        return _label_fused(batch if indices == list(range(len(batch))) else batch[indices], placement)
    except NumericalError:
        return []


def _label_alone(prediction: Prediction) -> LabelMap | NumericalError:
    try:
        return label_map(prediction)
    except NumericalError as error:
        return error


def _label_fused(logits: Tensor, placement: Placement) -> list[LabelMap]:
    from .fused import label_fused  # which needs Triton

    return [LabelMap(*each) for each in zip(*label_fused(logits, placement), strict=True)]
