"""Data sets: pictures and labels as they lie on a disk, under one roof."""

from __future__ import annotations

# Each of these registers its data sets.
from . import ade20k, camvid, cityscapes, class_folders, coco, coco_stuff, mask_folders, pascal  # noqa: F401
from .boundary_maps import with_boundaries
from .combining import concat, hold_out, repeat, subset_classes
from .dataset import (
    ClassificationDataset,
    ExtrasReader,
    LabelReader,
    Pair,
    SegmentationDataset,
    build_classification_dataset,
)
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
