"""Boundary maps for any data set with label maps: a two-channel PNG for each picture, in a folder for its classes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from segpipe import advice
from segpipe.configuration import LabelSet
from segpipe.errors import InputError

from ..datasets import Pair, SegmentationDataset, load_dataset
from ..datasets.boundary_maps import Metric, boundary_file, compute_boundary_maps, pack_boundaries
from ..labels import encode_label
from .plans import Plan, Task


def plan_boundaries(
    root: Path,
    *,
    data: str = "",
    split: str = "train",
    metric: Metric = "euclidean",
    options: Mapping[str, Any] | None = None,
) -> Plan:
    """Distances and directions to the boundaries of regions, which training with the boundary loss reads.

    Args:
        root: the data set's folder.
        data: the data set, as `load_dataset` knows it.
        split: train; the loss needs no maps for evaluation.
        metric: euclidean or taxicab. Files that are there already keep theirs.
        options: of the data set, see `load_dataset`.
    """
    if not data:
        raise InputError(f"Boundaries of which data set? Its name is needed. Give {advice.argument('data', 'camvid')}.")
    dataset = load_dataset(data, root, split, **(options or {}))
    if not isinstance(dataset, SegmentationDataset):
        raise InputError(f"{data} has no label maps, from which boundaries are made. Name a data set that has.")
    labels = dataset.labels
    tasks = tuple(
        Task((boundary_file(root, pair.image, labels),), partial(_make, pair, labels, metric)) for pair in dataset.pairs
    )
    return Plan(f"Boundary maps of {data} {split}, {len(labels.names)} classes, {metric} distances.", tasks)


def _make(pair: Pair, labels: LabelSet, metric: Metric) -> Sequence[np.ndarray]:
    label = encode_label(pair.read(pair.label), labels, origin=pair.label)
    return (pack_boundaries(compute_boundary_maps(label, len(labels.names), metric=metric)),)
