"""Hold data sets of images with label maps, or with one class each, that are decoded when a sample is asked for."""

from __future__ import annotations

import operator
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple, SupportsIndex, overload

import numpy as np

from segpipe.configuration import LabelSet
from segpipe.errors import ImageDecodeError, InputError

from ..findings import Finding
from ..image_options import DEFAULT_READING, Reading
from ..images import read_image
from ..label_encoding import encode_label
from ..label_files import read_label
from ..label_sets import FileValues
from ..sample import Sample, size_text

LabelReader = Callable[[str], np.ndarray]
"""Takes the path of a label and gives its raw values (H, W). It must pickle, for loader workers: no lambda."""


class Pair(NamedTuple):
    """Where one image and its label are."""

    image: str
    """Path of the image."""
    label: str
    """Path of the label, or another text that `read` understands."""
    read: LabelReader = read_label
    """What gives the label's raw values."""
    reading: Reading = DEFAULT_READING
    """What the image's samples mean."""

    def read_image(self) -> np.ndarray:
        """Return the image's pixels (H, W, 3)."""
        return read_image(self.image, **self.reading._asdict())


ExtrasReader = Callable[[Pair, np.ndarray], Mapping[str, np.ndarray]]
"""Takes a pair and its encoded label and gives further maps (H, W, …) of the image. It must pickle, too."""


@dataclass(frozen=True, eq=False)
class SegmentationDataset(Sequence[Sample]):
    """Images with their labels, in a fixed order.

    `dataset[3]` decodes an image and its label; `dataset[:100]` is a smaller data set. Nothing is kept between two
    calls, so it may be used by several threads, and it pickles to its list of paths.

    Attributes:
        name: the data set's name, for messages and cards.
        split: train, val, …
        labels: what class indices mean, and which raw values they have in the files.
        pairs: the files.
        times: number of passes over the pairs.
        extras: reads what samples carry beside image and label, see `with_boundaries`. If None, nothing.
        notes: what was found when the data set was opened, for `data check`.
        file_values: the values of its label files as they were published, so that any other value is an error.
    """

    name: str
    split: str
    labels: LabelSet
    pairs: tuple[Pair, ...]
    times: int = 1
    extras: ExtrasReader | None = None
    notes: tuple[Finding, ...] = ()
    file_values: FileValues | None = None

    def __len__(self) -> int:
        return len(self.pairs) * self.times

    @overload
    def __getitem__(self, index: SupportsIndex) -> Sample: ...
    @overload
    def __getitem__(self, index: slice) -> SegmentationDataset: ...
    def __getitem__(self, index: SupportsIndex | slice) -> Sample | SegmentationDataset:
        if isinstance(index, slice):
            chosen = range(len(self))[index]
            return replace(self, pairs=tuple(self.pairs[place % len(self.pairs)] for place in chosen), times=1)
        pair = self.pair(operator.index(index))
        image, raw = pair.read_image(), pair.read(pair.label)
        if raw.shape != image.shape[:2]:
            raise ImageDecodeError(_sizes_differ(image, raw, pair))
        label = encode_label(raw, self.labels, origin=pair.label)
        return Sample(image, label, pair.image, {} if self.extras is None else self.extras(pair, label))

    def pair(self, index: int) -> Pair:
        """Return the files of one sample; IndexError past the end, negative places count from it."""
        _check_index(self, index)
        return self.pairs[index % len(self.pairs)]

    def __repr__(self) -> str:
        return f"SegmentationDataset({self.name} {self.split}: {len(self)} samples, {len(self.labels.names)} classes)"


class ClassifiedImage(NamedTuple):
    """Where one image is, and what it shows."""

    image: str
    """Path of the image."""
    class_index: int


@dataclass(frozen=True, eq=False)
class ClassificationDataset(Sequence[Sample]):
    """Images with a class each, in a fixed order; their samples have a `class_index` and no label.

    Paths are kept as one array of bytes: ImageNet's take 40 MB, and loader processes share them.

    Attributes:
        name: the data set's name, for messages and cards.
        split: train, val, …
        labels: what class indices mean.
        root: the folder below which the paths lie.
        paths: (N,) bytes, relative to the root.
        classes: (N,) class indices.
        times: number of passes over the images.
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

    def pair(self, index: int) -> ClassifiedImage:
        """Return the file and the class of one sample; IndexError past the end, negative places count from it."""
        _check_index(self, index)
        place = index % len(self.paths)
        return ClassifiedImage(str(self.root / os.fsdecode(self.paths[place])), int(self.classes[place]))

    def __repr__(self) -> str:
        counts = f"{len(self)} images, {len(self.labels.names)} classes"
        return f"ClassificationDataset({self.name} {self.split}: {counts})"


def image_files(dataset: SegmentationDataset | ClassificationDataset) -> set[str]:
    """Return the paths of a data set's images; those of classified images are relative to its root."""
    if isinstance(dataset, ClassificationDataset):
        return set(map(os.fsdecode, dataset.paths))
    return {pair.image for pair in dataset.pairs}


def require_dataset(value: Any, name: str) -> None:
    """Raise an InputError unless a value has what a data set has."""
    if not hasattr(value, "labels") or not hasattr(value, "__getitem__"):
        raise InputError(
            f"{name} is {value!r}, which is not a data set. Open one: "
            'segpipe.load_dataset("folder", "path/to/it", "train", names=["road", "sky"]).'
        )


def require_label_maps(dataset: object, why: str) -> None:
    """Raise an InputError that says why label maps are needed, unless a data set has them."""
    if not isinstance(dataset, SegmentationDataset):
        raise InputError(f"{dataset!r} has no label maps, {why}.")


def _check_index(dataset: SegmentationDataset | ClassificationDataset, index: int) -> None:
    count = len(dataset)
    if not -count <= index < count:
        raise IndexError(f"There is no sample {index}; {dataset.name} {dataset.split} has {count}. Stay below that.")


def _sizes_differ(image: np.ndarray, raw: np.ndarray, pair: Pair) -> str:
    is_turned = raw.shape == image.shape[1::-1]
    advice = (
        "The image is turned by its EXIF orientation and the label is not: save the image upright without EXIF "
        "data, or turn the label."
        if is_turned
        else "Check that they belong together; resize labels with nearest neighbors only."
    )
    return (
        f"The label {pair.label} is {size_text(raw)} (height × width), its image {pair.image} is {size_text(image)}; "
        f"they must be equal. {advice}"
    )
