"""Data sets by name: the registry and what opens one."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Sequence
from typing import Any

from segpipe.errors import InputError
from segpipe.names import unknown_name_message
from segpipe.registry import Registry

from .combining import subset_classes
from .dataset import SegmentationDataset

DATASETS: Registry[Callable[..., SegmentationDataset]] = Registry("data set")
"""Name → builder(root, split, **options)."""


def load_dataset(
    name: str,
    root: str | os.PathLike[str],
    split: str = "train",
    *,
    classes: Sequence[str] | None = None,
    **options: Any,
) -> SegmentationDataset:
    """Open a data set that lies in a folder. Files are listed, not decoded.

    Args:
        name: see `DATASETS`: ade20k, camvid, cityscapes, coco-stuff164k, pascal-context, pascal-voc, …; `folder` for
            pictures and masks of your own, `coco-annotations` and `coco-panoptic` for COCO's JSON.
        root: its folder.
        split: train, val, …; training and validation are understood.
        classes: only these, numbered in this order; the pixels of all others are ignored. None: all.
        options: of this data set; all but the COCO ones take `split_file`, a text with the pictures to use.

    Raises:
        UnknownNameError: no such data set, split or class; the nearest one is named.
        InputError: the folder does not hold the data set, or files do not fit together.
    """
    builder = DATASETS.get(name)
    _check_options(name, builder, options)
    dataset = builder(root, split, **options)
    return dataset if classes is None else subset_classes(dataset, classes)


def _check_options(name: str, builder: Callable[..., SegmentationDataset], options: dict[str, Any]) -> None:
    parameters = inspect.signature(builder).parameters.values()
    if any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in parameters):
        return
    known = [parameter.name for parameter in parameters if parameter.kind is inspect.Parameter.KEYWORD_ONLY]
    unknown = next((option for option in options if option not in known), None)
    if unknown is not None:
        raise InputError(unknown_name_message(f"option of the data set {name}", unknown, [*known, "classes"]))
