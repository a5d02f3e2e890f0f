"""The files that benchmarks take: a PNG for each image, with the benchmark's own numbers for classes."""

from __future__ import annotations

import io
import os
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image

from segpipe.atomic import write_atomically
from segpipe.configuration import Configuration, LabelSet
from segpipe.data import SegmentationDataset, dataset_labels
from segpipe.errors import InputError, UnknownNameError
from segpipe.names import unknown_name_message

from .classes import match_classes

Benchmark = Literal["cityscapes", "ade20k"]
BENCHMARKS: tuple[Benchmark, ...] = ("cityscapes", "ade20k")
"""Cityscapes takes its label ids (road is 7), ADE20K's scene parsing the class plus one; 0 is no class in both."""


def write_submission(folder: str | os.PathLike[str], picture: str, label_map: np.ndarray, values: np.ndarray) -> Path:
    """Write one image's file, a gray PNG, over one of that name, and return its path.

    Args:
        folder: made if it is missing.
        picture: path or name of the image; the file has its name, with .png.
        label_map: (H, W) the network's class indices, of the image's own size.
        values: (K,) see `submission_values`.
    """
    if label_map.ndim != 2 or label_map.size == 0 or label_map.dtype.kind != "u":
        raise InputError(
            f"The label map of {picture} has shape {label_map.shape} and dtype {label_map.dtype}; it must be "
            "(height, width) unsigned class indices. Give a result's label_map."
        )
    if int(label_map.max()) >= len(values):
        raise InputError(
            f"The label map of {picture} has the class {int(label_map.max())}; there are values for classes 0 to "
            f"{len(values) - 1}. Make them with submission_values for the network that made the label map."
        )
    path = Path(folder) / f"{Path(picture).stem}.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    buffer = io.BytesIO()
    Image.fromarray(values[label_map]).save(buffer, format="PNG")
    write_atomically(path, buffer.getvalue())
    return path


def submission_values(benchmark: str, labels: LabelSet | None, num_classes: int) -> np.ndarray:
    """Return (K,) uint8, what a benchmark writes for each of a network's classes; 0 where it has no such class.

    Args:
        benchmark: one of `BENCHMARKS`.
        labels: the network's labels; they are matched by name, see `match_classes`. If None, they are the benchmark's.
        num_classes: the network's outputs.

    Raises:
        UnknownNameError: the benchmark is unknown.
        InputError: the network does not know the benchmark's classes.
    """
    if benchmark not in BENCHMARKS:
        raise UnknownNameError(unknown_name_message("benchmark", benchmark, BENCHMARKS))
    theirs = dataset_labels(benchmark)
    matched = match_classes(labels, num_classes, theirs)
    classes = np.arange(num_classes) if matched is None else matched
    values = np.zeros(max(num_classes, len(theirs.names) + 1), np.uint8)  # what is past the last class stays 0
    values[: len(theirs.names)] = np.array(theirs.raw_ids)
    return values[classes]


def submission_writer(
    folder: str | os.PathLike[str], benchmark: str, configuration: Configuration, dataset: SegmentationDataset
) -> Callable[[str, np.ndarray], None]:
    """Return what `evaluate` calls with each image's name and label map to write its file of a submission.

    Raises:
        InputError: two images would be written to one file, or the network does not know the benchmark's classes.
    """
    _check_names(pair.image for pair in dataset.pairs)
    values = submission_values(benchmark, configuration.labels, configuration.model.num_classes)

    def write(name: str, label_map: np.ndarray) -> None:
        write_submission(folder, name, label_map, values)

    return write


def _check_names(images: Iterable[str]) -> None:
    """Raise an InputError where two images would be written to one file, since files have the images' names."""
    stems = Counter(Path(image).stem for image in dict.fromkeys(images))
    twice = [stem for stem, count in stems.items() if count > 1]
    if twice:
        raise InputError(
            f"{len(twice)} names are those of several images, {twice[0]!r} for one; a submission has a file of its "
            "own name for each image. Rename them, or evaluate without a submission."
        )
