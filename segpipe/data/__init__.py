"""Pixels in, samples out: pictures, labels, data sets and what is done to them before a network sees them."""

from __future__ import annotations

from .datasets import (
    DATASETS,
    ClassificationDataset,
    Pair,
    SegmentationDataset,
    concat,
    hold_out,
    load_configured,
    load_dataset,
    repeat,
    subset_classes,
    with_boundaries,
)
from .label_files import read_label
from .labels import dataset_labels, encode_label
from .sample import Batch, Sample, collate

__all__ = [
    "DATASETS",
    "Batch",
    "ClassificationDataset",
    "Pair",
    "Sample",
    "SegmentationDataset",
    "collate",
    "concat",
    "dataset_labels",
    "encode_label",
    "hold_out",
    "load_configured",
    "load_dataset",
    "read_label",
    "repeat",
    "subset_classes",
    "with_boundaries",
]
