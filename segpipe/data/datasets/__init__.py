"""Data sets: pictures and labels as they lie on a disk, under one roof."""

from __future__ import annotations

# Each of these registers its data sets.
from . import (  # noqa: F401
    ade20k,
    camvid,
    cityscapes,
    coco_annotations,
    coco_panoptic,
    coco_stuff,
    folder,
    imagenet,
    pascal,
)
from .boundary_files import with_boundaries
from .classification import ClassificationDataset, build_classification_dataset
from .combining import concat, repeat, subset_classes
from .dataset import ExtrasReader, LabelReader, Pair, SegmentationDataset
from .holding_out import hold_out
from .loading import DATASETS, has_own_split, load_configured, load_dataset

__all__ = [
    "DATASETS",
    "ClassificationDataset",
    "ExtrasReader",
    "LabelReader",
    "Pair",
    "SegmentationDataset",
    "build_classification_dataset",
    "concat",
    "has_own_split",
    "hold_out",
    "load_configured",
    "load_dataset",
    "repeat",
    "subset_classes",
    "with_boundaries",
]
