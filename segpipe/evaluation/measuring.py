"""Scores of a model on a data set: each process counts its share of the pictures, the counts are added up."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import torch

from segpipe import advice, distributed
from segpipe.configuration import Configuration, InferenceConfig, LabelSet, PreprocessorConfig
from segpipe.errors import InputError, NumericalError
from segpipe.hub import ModelFolder
from segpipe.inference import Network, in_evaluation_mode, segment
from segpipe.log import get_logger
from segpipe.names import Tasks

from .boundaries import BoundaryCounts
from .classes import match_classes
from .confusion import ConfusionMatrix
from .reading import in_batches, read_ahead
from .scores import Scores
from .sharing import (
    EvaluationStopped,
    check_countable,
    count_together,
    open_network,
    with_bar,
)

logger = get_logger(__name__)

OnPicture = Callable[[str, np.ndarray], None]
"""What is called with each picture's name and its (H, W) label map."""


class LabelledPicture(Protocol):
    """What is needed of a sample."""

    @property
    def image(self) -> np.ndarray: ...
    @property
    def label(self) -> np.ndarray | None: ...
    @property
    def name(self) -> str: ...


class LabelledDataset(Protocol):
    """What is needed of a data set; several threads may read from it at once."""

    @property
    def labels(self) -> LabelSet: ...
    def __len__(self) -> int: ...
    def __getitem__(self, index: int, /) -> LabelledPicture: ...


def evaluate(
    model: Network | ModelFolder | str | Path,
    dataset: LabelledDataset,
    *,
    configuration: Configuration | None = None,
    inference: InferenceConfig | None = None,
    device: str | torch.device | None = None,
    batch_size: int = 1,
    boundary_ratio: float | None = None,
    shard: tuple[int, int] | None = None,
    progress: bool = False,
    readers: int = 2,
    on_picture: OnPicture | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> Scores:
    """Scores of a model on all pictures of a data set, at the labels' own sizes.

    Under torch.distributed each process takes every n-th picture and all get the scores of all; an error
    in one is an error in all. The counts do not depend on the number of processes or the batch size.

    Args:
        model: a network, which is used where it is and given back in the mode it was in, also one that another runtime
            executes, such as a pipeline's `model`; or a folder or a name.
        dataset: a Sequence of samples that have `image`, `label` and `name`, with `labels`.
        configuration: preprocessing and inference of a network; None: the folder's own, or no resize and one look.
        inference: how pictures are seen, instead of the configuration's: windows, scales, mirrored.
        device: where a folder's network shall run; None: a GPU if there is one.
        batch_size: whole pictures of one input size that a GPU sees at once.
        boundary_ratio: also count boundary IoU, at this share of the diagonal; the paper's is 0.02.
        shard: (index, number) of this process's part of the pictures; None: its rank among all processes.
        progress: show a bar in the first process, or where stderr is a file a line now and then.
        readers: threads that read pictures ahead; 0: none.
        on_picture: called with the name and the label map of each picture that this process sees.
        should_stop: asked after each batch; when it says yes in one process, all raise EvaluationStopped.

    Raises:
        InputError: there are no pictures, or no pixel of any label is a class.
    """
    check_countable(dataset, batch_size)
    network, chosen = open_network(model, configuration, device, task=Tasks.image_segmentation)
    plan = Plan(
        preprocessor=chosen.preprocessor if chosen else PreprocessorConfig(),
        inference=inference or (chosen.inference if chosen else InferenceConfig()),
        batch_size=batch_size,
        classes=match_classes(chosen.labels if chosen else None, network.num_classes, dataset.labels),
        on_picture=on_picture,
        should_stop=should_stop,
    )
    part, parts = shard or (distributed.rank(), distributed.world_size())
    indices = range(part, len(dataset), parts)
    samples = with_bar(read_ahead(dataset, indices, readers), len(indices), progress)
    tally = Tally.empty(dataset.labels, boundary_ratio)
    _count_together(network, samples, plan, tally)
    if shard is None and not tally.matrix.counts.any():
        raise InputError(
            f"The labels of {dataset!r} hold nothing but ignored pixels, so there is no score. Look at them with "
            "segpipe data check."
        )
    scores = tally.scores(dataset.labels.names)
    if distributed.is_main():
        logger.info("Evaluated %d pictures in %d processes: mIoU %.4f", len(dataset), parts, scores.miou)
    return scores


@dataclass(frozen=True, eq=False)
class Plan:
    """How pictures become label maps that can be counted.

    Attributes:
        preprocessor: before the network.
        inference: from the network to label maps.
        batch_size: pictures at a time.
        classes: (K,) the data set's class for each of the network's; None: they are the same.
        on_picture: called with each label map.
        should_stop: asked between batches.
    """

    preprocessor: PreprocessorConfig
    inference: InferenceConfig
    batch_size: int
    classes: np.ndarray | None
    on_picture: OnPicture | None
    should_stop: Callable[[], bool] | None = None


@dataclass(frozen=True, eq=False)
class Tally:
    """All that is counted."""

    matrix: ConfusionMatrix
    boundaries: BoundaryCounts | None

    @classmethod
    def empty(cls, labels: LabelSet, boundary_ratio: float | None) -> Tally:
        """Zeros for a data set's classes."""
        num_classes, ignore_index = len(labels.names), labels.ignore_index
        if boundary_ratio is None:
            return cls(ConfusionMatrix(num_classes, ignore_index), None)
        boundaries = BoundaryCounts(num_classes, ignore_index, ratio=boundary_ratio)
        return cls(ConfusionMatrix(num_classes, ignore_index), boundaries)

    def update(self, *, prediction: np.ndarray, label: np.ndarray) -> None:
        """Count one picture."""
        self.matrix.update(prediction=prediction, label=label)
        if self.boundaries is not None:
            self.boundaries.update(prediction=prediction, label=label)

    def apply_all_sum(self, device: torch.device) -> None:
        """Add up the counts of all processes."""
        for counter in (self.matrix, self.boundaries):
            if counter is not None:
                counter.counts = distributed.all_sum(torch.from_numpy(counter.counts).to(device)).cpu().numpy()

    def scores(self, names: tuple[str, ...]) -> Scores:
        """What follows."""
        return self.matrix.scores(names, boundaries=self.boundaries)


def _count_together(network: Network, samples: Iterable[LabelledPicture], plan: Plan, tally: Tally) -> None:
    """Count this process's samples, then add up over all; no process is left waiting for one that failed."""
    device = network.pixel_mean.device
    with in_evaluation_mode(network):
        count_together(lambda: _count(network, samples, plan, tally), device)
    tally.apply_all_sum(device)


def _count(network: Network, samples: Iterable[LabelledPicture], plan: Plan, tally: Tally) -> None:
    for batch in in_batches(samples, plan.batch_size):
        _check_labelled(batch)
        for sample, prediction in zip(batch, _label_maps(network, batch, plan), strict=True):
            assert sample.label is not None
            if plan.on_picture is not None:
                plan.on_picture(sample.name, prediction)
            try:
                counted = prediction if plan.classes is None else plan.classes[prediction]
                tally.update(prediction=counted, label=sample.label)
            except InputError as error:
                raise InputError(f"{sample.name}: {error}") from None
        if plan.should_stop is not None and plan.should_stop():
            raise EvaluationStopped


def _check_labelled(batch: list[LabelledPicture]) -> None:
    for sample in batch:
        if sample.label is None:
            raise InputError(
                f"{sample.name} has no label; scores need one for each image. Give a labelled split: "
                f"{advice.argument('split', 'val')}."
            )


def _label_maps(network: Network, batch: list[LabelledPicture], plan: Plan) -> list[np.ndarray]:
    """Return (H, W) label maps in the order of the batch."""
    maps = []
    for sample, found in zip(batch, segment(network, [sample.image for sample in batch], plan), strict=True):
        if isinstance(found, NumericalError):
            raise NumericalError(f"{sample.name}: {found}")
        maps.append(found.numpy())
    return maps
