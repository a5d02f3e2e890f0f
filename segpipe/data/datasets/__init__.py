"""Data sets: pictures and labels as they lie on a disk, under one roof."""

from __future__ import annotations

# Each of these registers its data sets.
from . import ade20k, camvid, cityscapes, coco_annotations, coco_panoptic, coco_stuff, folder, pascal  # noqa: F401
from .combining import concat, repeat, subset_classes
from .dataset import LabelReader, Pair, SegmentationDataset
from .loading import DATASETS, load_configured, load_dataset

__all__ = [
    "DATASETS",
    "LabelReader",
    "Pair",
    "SegmentationDataset",
    "concat",
    "load_configured",
    "load_dataset",
    "repeat",
    "subset_classes",
]
