"""A data set whose pictures have one class each."""

from __future__ import annotations

import operator
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple, SupportsIndex, overload

import numpy as np

from segpipe.configuration import LabelSet

from ..images import read_image
from ..reading import DEFAULT_READING, Reading
from ..sample import Sample


class ClassifiedPicture(NamedTuple):
    """Where one picture is, and what it shows."""

    image: str
    """Path of the picture."""
    class_index: int


@dataclass(frozen=True, eq=False)
class ClassificationDataset(Sequence[Sample]):
    """Pictures with a class each, in a fixed order; their samples have a `class_index` and no label.

    Paths are kept as one array of bytes: ImageNet's take 40 MB, and loader processes share them.

    Attributes:
        name: of the data set, for messages and cards.
        split: train, val, …
        labels: what class indices mean.
        root: the folder below which the paths lie.
        paths: (N,) bytes, relative to the root.
        classes: (N,) class indices.
        times: how often the pictures are gone through.
        reading: what their samples mean.
    """

    name: str
    split: str
    labels: LabelSet
    root: Path
    paths: np.ndarray
    classes: np.ndarray
    times: int = 1
    reading: Reading = DEFAULT_READING

    def __len__(self) -> int:
        return len(self.paths) * self.times

    @overload
    def __getitem__(self, index: SupportsIndex) -> Sample: ...
    @overload
    def __getitem__(self, index: slice) -> ClassificationDataset: ...
    def __getitem__(self, index: SupportsIndex | slice) -> Sample | ClassificationDataset:
        if isinstance(index, slice):
            chosen = np.arange(len(self))[index] % max(len(self.paths), 1)
            return replace(self, paths=self.paths[chosen], classes=self.classes[chosen], times=1)
        pair = self.pair(operator.index(index))
        image = read_image(pair.image, **self.reading._asdict())
        return Sample(image, None, pair.image, class_index=pair.class_index)

    def pair(self, index: int) -> ClassifiedPicture:
        """The file and the class of one sample; IndexError past the end, negative places count from it."""
        if not -len(self) <= index < len(self):
            raise IndexError(f"There is no sample {index}; {self.name} {self.split} has {len(self)}. Stay below that.")
        place = index % len(self.paths)
        return ClassifiedPicture(str(self.root / os.fsdecode(self.paths[place])), int(self.classes[place]))

    def __repr__(self) -> str:
        counts = f"{len(self)} pictures, {len(self.labels.names)} classes"
        return f"ClassificationDataset({self.name} {self.split}: {counts})"


def build_classification_dataset(
    name: str, split: str, labels: LabelSet, root: Path, pictures: Sequence[tuple[str, int]]
) -> ClassificationDataset:
    """A data set of (path below the root, class index) pairs."""
    paths = np.array([os.fsencode(path) for path, _ in pictures], dtype=np.bytes_)
    return ClassificationDataset(name, split, labels, root, paths, np.array([index for _, index in pictures], np.int32))
