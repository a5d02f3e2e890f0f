"""Scores of a model on a data set: each process counts its part of the images, the counts are added up."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from segpipe import distributed
from segpipe.configuration import Configuration, InferenceConfig, PreprocessorConfig
from segpipe.data import LabelledSamples, Sample
from segpipe.errors import InputError, NumericalError
from segpipe.hub import ModelFolder
from segpipe.inference import Network, segment
from segpipe.log import get_logger
from segpipe.names import Tasks

from .boundary_iou import BoundaryCounts
from .classes import match_classes
from .confusion import ConfusionMatrix
from .loop import check_countable, count_in_batches, network_and_configuration, require_known
from .scores import Scores

logger = get_logger(__name__)

OnPicture = Callable[[str, np.ndarray], None]
"""Called with each image's name and its (H, W) label map."""


def evaluate(
    model: Network | ModelFolder | str | Path,
    dataset: LabelledSamples,
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
    """Return the scores of a model on all images of a data set, at the labels' own sizes.

    Under torch.distributed each process takes every n-th image and all get the scores of all; an error
    in one is an error in all. The counts do not depend on the number of processes or the batch size.

    Args:
        model: a network, which is used where it is and given back in the mode it was in, also one that another runtime
            executes, such as a pipeline's `model`; or a folder or a name.
        dataset: a Sequence of samples that have `image`, `label` and `name`, with `labels`.
        configuration: preprocessing and inference of a network. If None, the folder's own, or no resize and one view.
        inference: how images are segmented, instead of the configuration's: windows, scales, flips.
        device: where a folder's network runs. If None, a GPU if there is one.
        batch_size: images of one input size that a GPU takes at once.
        boundary_ratio: also count boundary IoU, at this fraction of the diagonal; the paper's is 0.02.
        shard: (index, number) of this process's part of the images. If None, its rank among all processes.
        progress: show a bar in the first process, or where stderr is a file a line now and then.
        readers: threads that read images ahead. If 0, images are read one by one.
        on_picture: called with the name and the label map of each image of this process.
        should_stop: asked after each batch; when it says yes in one process, all raise EvaluationStopped.

    Raises:
        InputError: there are no images, or no pixel of any label is a class.
    """
    check_countable(dataset, batch_size)
    network, chosen = network_and_configuration(model, configuration, device, task=Tasks.image_segmentation)
    options = Options(
        preprocessor=chosen.preprocessor if chosen else PreprocessorConfig(),
        inference=inference or (chosen.inference if chosen else InferenceConfig()),
    )
    classes = match_classes(chosen.labels if chosen else None, network.num_classes, dataset.labels)
    names, ignore_index = dataset.labels.names, dataset.labels.ignore_index
    matrix, boundaries = ConfusionMatrix(len(names), ignore_index), None
    if boundary_ratio is not None:
        boundaries = BoundaryCounts(len(names), ignore_index, ratio=boundary_ratio)
    counters: list[ConfusionMatrix | BoundaryCounts] = [matrix] if boundaries is None else [matrix, boundaries]

    def count(batch: list[Sample]) -> None:
        labels = [require_known(sample.label, "label", sample) for sample in batch]
        for sample, label, label_map in zip(batch, labels, _label_maps(network, batch, options), strict=True):
            if on_picture is not None:
                on_picture(sample.name, label_map)
            try:
                for counter in counters:
                    counter.update(prediction=label_map if classes is None else classes[label_map], label=label)
            except InputError as error:
                raise InputError(f"{sample.name}: {error}") from None

    part, parts = shard or (distributed.rank(), distributed.world_size())
    count_in_batches(
        network,
        dataset,
        count,
        indices=range(part, len(dataset), parts),
        batch_size=batch_size,
        readers=readers,
        progress=progress,
        should_stop=should_stop,
    )
    for counter in counters:
        counts = torch.from_numpy(counter.counts).to(network.pixel_mean.device)
        counter.counts = distributed.all_sum(counts).cpu().numpy()
    if shard is None and not matrix.counts.any():
        raise InputError(
            f"The labels of {dataset!r} hold nothing but ignored pixels, so there is no score. Look at them with "
            "segpipe data check."
        )
    scores = matrix.scores(names, boundaries=boundaries)
    if distributed.is_main():
        logger.info("Evaluated %d images in %d processes: mIoU %.4f", len(dataset), parts, scores.miou)
    return scores


class Options(NamedTuple):
    """How images become label maps, see `segment`."""

    preprocessor: PreprocessorConfig
    inference: InferenceConfig


def _label_maps(network: Network, batch: list[Sample], options: Options) -> list[np.ndarray]:
    """Return (H, W) label maps in the order of the batch."""
    maps = []
    for sample, found in zip(batch, segment(network, [sample.image for sample in batch], options), strict=True):
        if isinstance(found, NumericalError):
            raise NumericalError(f"{sample.name}: {found}")
        maps.append(found.numpy())
    return maps
