"""Scores of a classifier on a data set whose images have one class each: Acc@1 and Acc@5."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from segpipe import distributed
from segpipe.configuration import Configuration, LabelSet, PreprocessorConfig
from segpipe.data import LabelledSamples, Sample
from segpipe.errors import NumericalError
from segpipe.hub import ModelFolder
from segpipe.inference import Network, resize_image
from segpipe.log import get_logger
from segpipe.names import Tasks
from segpipe.text import html_table

from .classes import match_classes
from .loop import check_countable, count_in_batches, network_and_configuration, require_known
from .scores import Scores, divide, mean, without_nan

logger = get_logger(__name__)

TOP = 5


@dataclass(frozen=True)
class ClassificationScores:
    """Scores over all images, as fractions of 1.

    Attributes:
        acc1: fraction of the images whose own class has the highest logit; of equal ones the lowest index is higher.
        acc5: fraction of the images whose own class is among the five highest.
        mean_accuracy: mean of `accuracy` over the classes that have images.
        accuracy: fraction of a class's images that are right, by name; NaN where it has none.
        num_pictures: how many were counted.
    """

    acc1: float
    acc5: float
    mean_accuracy: float
    accuracy: dict[str, float]
    num_pictures: int

    @property
    def means(self) -> dict[str, float]:
        """The figures that stand for all classes, the main one first."""
        return {"acc1": self.acc1, "acc5": self.acc5, "mean_accuracy": self.mean_accuracy}

    @property
    def by_class(self) -> dict[str, dict[str, float]]:
        """Return an empty dict, since a log has no use for a thousand classes."""
        return {}

    def to_dict(self) -> dict[str, Any]:
        """Return what JSON can hold: the attributes, with null for NaN."""
        return {key: without_nan(value) for key, value in asdict(self).items()}

    def table(self) -> str:
        """Return the means in percent."""
        rows = self._rows()
        width = max(len(name) for name, _ in rows)
        lines = [f"{name.ljust(width)}  {value:>6}" for name, value in rows]
        return "\n".join([f"{'score'.ljust(width)}       %", *lines])

    def _repr_html_(self) -> str:
        return html_table([("score", "%"), *self._rows()])

    def _rows(self) -> list[tuple[str, str]]:
        means = [("Acc@1", self.acc1), ("Acc@5", self.acc5), ("mean of the classes", self.mean_accuracy)]
        return [(name, f"{100 * value:.2f}") for name, value in means]

    __str__ = table


AnyScores = Scores | ClassificationScores
"""The scores that a task's evaluation gives; `means` and `by_class` are in both."""


def evaluate_classifier(
    model: Network | ModelFolder | str | Path,
    dataset: LabelledSamples,
    *,
    configuration: Configuration | None = None,
    device: str | torch.device | None = None,
    batch_size: int = 1,
    progress: bool = False,
    readers: int = 2,
    should_stop: Callable[[], bool] | None = None,
) -> ClassificationScores:
    """Return Acc@1 and Acc@5 of a classifier on all images of a data set.

    Under torch.distributed each process takes every n-th image and all get the scores of all, from counts of whole
    numbers, so that they do not depend on the number of processes. Classes are matched by name where the names differ
    in order.

    Args:
        model: a network, which is used where it is and given back in the mode it was in; or a folder or a name.
        dataset: a Sequence of samples that have `image`, `class_index` and `name`, with `labels`.
        configuration: preprocessing and labels of a network. If None, the folder's own, or no resize.
        device: where a folder's network runs. If None, a GPU if there is one.
        batch_size: images of one input size that the network takes at once.
        progress: show a bar in the first process, or where stderr is a file a line now and then.
        readers: threads that read images ahead. If 0, images are read one by one.
        should_stop: asked after each batch; when it says yes in one process, all raise EvaluationStopped.
    """
    check_countable(dataset, batch_size)
    network, chosen = network_and_configuration(model, configuration, device, task=Tasks.image_classification)
    matched = match_classes(chosen.labels if chosen else None, network.num_classes, dataset.labels)
    output_of = np.arange(len(dataset.labels.names)) if matched is None else _inverted(matched, dataset.labels)
    preprocessor = chosen.preprocessor if chosen else PreprocessorConfig()
    counts = np.zeros((len(dataset.labels.names), 3), np.int64)  # images, right, among the five

    def count(batch: list[Sample]) -> None:
        classes = [require_known(sample.class_index, "class", sample) for sample in batch]
        ranks = _ranks(network, batch, preprocessor, output_of[classes])
        for index, rank in zip(classes, ranks, strict=True):
            counts[index] += (1, rank < 1, rank < TOP)

    count_in_batches(
        network,
        dataset,
        count,
        indices=range(distributed.rank(), len(dataset), distributed.world_size()),
        batch_size=batch_size,
        readers=readers,
        progress=progress,
        should_stop=should_stop,
    )
    place = network.pixel_mean.device
    scores = scores_of(distributed.all_sum(torch.from_numpy(counts).to(place)).cpu().numpy(), dataset.labels.names)
    if distributed.is_main():
        logger.info("Evaluated %d images: Acc@1 %.4f, Acc@5 %.4f", len(dataset), scores.acc1, scores.acc5)
    return scores


def scores_of(counts: np.ndarray, names: tuple[str, ...]) -> ClassificationScores:
    """Return the scores of counts (K, 3) int64: images of a class, the right ones, those among the highest five."""
    images, right, among = (int(total) for total in counts.sum(axis=0))
    accuracy = divide(counts[:, 1], counts[:, 0])
    return ClassificationScores(
        acc1=right / images,
        acc5=among / images,
        mean_accuracy=mean(accuracy),
        accuracy=dict(zip(names, accuracy.tolist(), strict=True)),
        num_pictures=images,
    )


def rank_of(logits: Tensor, classes: Tensor) -> Tensor:
    """Return (B,) how many classes are before an image's own: those with a higher logit, or the same and a lower index.

    Args:
        logits: (B, K).
        classes: (B,) int64.
    """
    own = logits.gather(1, classes[:, None])  # (B, 1)
    indices = torch.arange(logits.shape[1], device=logits.device)
    return ((logits > own) | ((logits == own) & (indices < classes[:, None]))).sum(dim=1)


def _inverted(matched: np.ndarray, labels: LabelSet) -> np.ndarray:
    """Return (K,) the network's output for each class of the data set."""
    outputs = np.zeros(len(labels.names), np.int64)
    for output, index in enumerate(matched.tolist()):
        if index < len(labels.names):
            outputs[index] = output
    return outputs


@torch.inference_mode()
def _ranks(network: Network, batch: list[Sample], preprocessor: PreprocessorConfig, own: np.ndarray) -> list[int]:
    """Return how many outputs are before each image's own; images of one size go through the network together."""
    images = [resize_image(sample.image, preprocessor) for sample in batch]
    ranks = [0] * len(batch)
    for size in dict.fromkeys(image.shape for image in images):
        members = [index for index, image in enumerate(images) if image.shape == size]
        pixels = torch.from_numpy(np.stack([images[index] for index in members])).permute(0, 3, 1, 2)  # (B, 3, h, w)
        logits = network(pixels.to(network.pixel_mean.device)).float()  # (B, K)
        if not torch.isfinite(logits).all():
            names = ", ".join(batch[index].name for index in members)
            raise NumericalError(f"A logit is not finite. Look at these images and at the weights: {names}.")
        classes = torch.from_numpy(own[members]).to(logits.device)
        for index, rank in zip(members, rank_of(logits, classes).tolist(), strict=True):
            ranks[index] = rank
    return ranks
