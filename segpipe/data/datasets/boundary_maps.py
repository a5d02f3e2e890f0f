"""Make and read boundary maps: how far each pixel is from the boundary of its region, and which way the inside is.

`with_boundaries` makes a data set whose samples carry them, from prepared files or computed on reading.
Source: openseg's generator of "dt_offset" (Yuan et al. 2020, SegFix), whose maps UN-EPT is trained on.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, get_args

import numpy as np

from segpipe import advice
from segpipe.configuration import BoundaryMapSource, LabelSet
from segpipe.errors import ImageDecodeError, InputError
from segpipe.extras import import_opencv
from segpipe.files import read_file
from segpipe.limits import limit
from segpipe.log import get_logger

from ..image_formats import check_size, open_encoded
from ..image_options import Metric
from ..label_encoding import encode_label
from ..matlab import read_matlab
from ..preparing.plans import FilePlan, FileTask, Preparer
from ..sample import ANGLE, size_text
from .dataset import Pair, SegmentationDataset, require_label_maps
from .loading import PREPARERS, load_dataset

logger = get_logger(__name__)
cv2 = import_opencv()
DISTANCE = "distance"
"""The extra with distances: uint8, 0 outside of all regions. Transforms leave its values as they are: after resizing
they are still in pixels of the file. Pixels that transforms add have 0, and a label that is ignored."""
FOLDER = "boundaries"
"""Where `segpipe data prepare boundaries` writes."""
OPENSEG_FOLDER = "dt_offset"
"""Where openseg's own files lie, beside the folder of labels."""
GREATEST_DISTANCE = 250
DEGREES_PER_STEP = 2
"""Files hold (angle + 180) / 2, rounded down."""
LEAST_PIXELS = 100
"""A class with fewer pixels in an image is left out, and its pixels have distance 0 and direction 0."""
KERNEL_SIDE = 5
_OPENSEG_ARRAYS = ("depth", "dir_deg", "deg_reduce")


class StoredBoundaries(NamedTuple):
    """The maps of a label as files hold them.

    Attributes:
        distance: (H, W) uint8 pixels to the region's boundary, rounded down, at most 250; 1 for its outermost pixels, 0
            outside of all regions. The image's edge is not a boundary.
        direction: (H, W) uint8, (angle + 180) / 2 rounded down; 90, which is right, outside of all regions.
    """

    distance: np.ndarray
    direction: np.ndarray

    def extras(self) -> Mapping[str, np.ndarray]:
        """Return the maps as samples carry them."""
        return {DISTANCE: self.distance, ANGLE: self.direction.astype(np.int16) * DEGREES_PER_STEP - 180}


def compute_boundary_maps(label: np.ndarray, num_classes: int, *, metric: Metric = "euclidean") -> StoredBoundaries:
    """Compute the maps of an encoded label.

    They hold, for each class with at least 100 pixels, the exact distance of its pixels to the nearest pixel of
    anything else, and the direction in which this distance grows. The direction is a correlation with the 5 × 5 kernels
    x / (x² + y²) and y / (x² + y²), where distances beyond the image and outside of the class are zero. A class that
    fills the image has distance 250.

    Args:
        label: (H, W) class indices; anything from num_classes on, as `ignore_index`, is not a region.
        metric: euclidean; or taxicab, rows plus columns.
    """
    if metric not in get_args(Metric):
        raise InputError(f"The metric of boundary maps is {metric!r}; it is euclidean or taxicab. Give one of them.")
    distance = np.zeros(label.shape, np.uint8)
    angle = np.zeros(label.shape, np.float64)
    counts = np.bincount(label.ravel(), minlength=num_classes)[:num_classes]
    for index in np.flatnonzero(counts >= LEAST_PIXELS):
        box = _box_of(label == index)
        mask = (label[box] == index).astype(np.uint8)
        depth = _depth(mask, metric)
        inside = mask.astype(bool)
        # Squares of distances are whole numbers, so that these are rounded: 4.9999995 would become 4.
        distance[box][inside] = np.minimum(_cut_to_whole(depth[inside], metric), GREATEST_DISTANCE)
        angle[box][inside] = _angle(depth)[inside]
    # A little is added, so that an error in the last digit does not make 44 degrees of 45.
    return StoredBoundaries(distance, np.floor((angle + 180.0) / DEGREES_PER_STEP + 1e-6).astype(np.uint8))


def with_boundaries(dataset: SegmentationDataset, source: BoundaryMapSource = "any") -> SegmentationDataset:
    """Return the same samples with the extras `distance` (uint8) and `angle` (int16 degrees).

    Files are those of `segpipe data prepare boundaries`, or openseg's dt_offset/…/NAME.mat beside the labels.

    Args:
        dataset: one data set, which may be repeated or joined from several.
        source: "prepared" reads files alone. "computed" makes the maps from the labels as they are read, in about 20 ms
            for an image of 360 × 480, where reading a file takes 3 ms. "any" computes them where there is no file, and
            warns of files that were made for other classes.

    Raises:
        InputError: the data set has no label maps; or with "prepared", a folder of images has no maps of its classes.
    """
    require_label_maps(dataset, "from which boundaries are made. Choose a SegmentationDataset")
    pairs = {_folders_with(pair): pair for pair in dataset.pairs}
    folders = {} if source == "computed" else {key: _folders_of(pair, dataset.labels) for key, pair in pairs.items()}
    for (images, _), found in folders.items():
        if not found:
            _report_no_maps(images, dataset, source)
    return replace(dataset, extras=BoundaryReader(len(dataset.labels.names), source, folders))


@dataclass(frozen=True)
class BoundaryReader:
    """A reader of the boundary maps of whole images, for the extras of a data set.

    Attributes:
        num_classes: values of the label from here on are not a region.
        source: as in `with_boundaries`.
        folders: the folders that have maps, by those of the image and its label.
    """

    num_classes: int
    source: BoundaryMapSource
    folders: Mapping[tuple[str, str], tuple[Path, ...]] = field(repr=False)

    def __call__(self, pair: Pair, label: np.ndarray) -> Mapping[str, np.ndarray]:
        folders = self.folders.get(_folders_with(pair), ())
        for folder in folders:
            for suffix in (".png", ".mat"):
                path = folder / f"{Path(pair.image).stem}{suffix}"
                if os.path.isfile(path):
                    return _fitting(read_boundaries(path), label, path)
        if self.source == "prepared":
            raise InputError(
                f"{pair.image} has no boundary maps in {' or '.join(map(str, folders))}. Run segpipe data prepare "
                f"boundaries again, or give {advice.setting('train.loss.maps', 'any')}."
            )
        return compute_boundary_maps(label, self.num_classes).extras()


def boundary_file(root: Path, image: str | Path, labels: LabelSet) -> Path:
    """Return where the maps of an image below the root lie. Data sets with other classes may share its images."""
    try:
        below = Path(image).absolute().relative_to(root.absolute())
    except ValueError:
        raise InputError(
            f"{image} does not lie below {root}; its boundary maps would have no place. Give a root that holds it."
        ) from None
    return root / FOLDER / _classes_folder(labels) / below.with_suffix(".png")


def read_boundaries(path: Path) -> Mapping[str, np.ndarray]:
    """Read the extras in a file of ours (.png) or of openseg's (.mat); ImageDecodeError if it is neither or damaged."""
    if path.suffix == ".mat":
        return _read_openseg(path)
    data = read_file(path, max_bytes=limit("image_bytes"), error=ImageDecodeError)
    try:
        image = open_encoded(data, str(path))
        check_size(image.height, image.width, limit("image_pixels"), str(path))
        image.load()
    except Exception as error:  # on broken data Pillow's reader raises nearly anything
        raise ImageDecodeError(
            f"{path} cannot be read: {error}. Delete it and run segpipe data prepare boundaries again."
        ) from None
    if image.mode != "LA":
        raise ImageDecodeError(
            f"{path} has Pillow's mode {image.mode}; boundary maps have two channels (LA). Delete it and run segpipe "
            "data prepare boundaries again."
        )
    values = np.asarray(image)
    return StoredBoundaries(values[..., 0], values[..., 1]).extras()


def _box_of(mask: np.ndarray) -> tuple[slice, slice]:
    """Return the box of a class and one pixel around: the nearest pixel of something else is never farther away."""
    ranges = []
    for axis in (1, 0):
        used = np.flatnonzero(mask.any(axis=axis))
        ranges.append(slice(max(int(used[0]) - 1, 0), int(used[-1]) + 2))
    return ranges[0], ranges[1]


def _depth(mask: np.ndarray, metric: Metric) -> np.ndarray:
    """Return (H, W) float32 distances to the nearest pixel outside of the mask, exact but for rounding."""
    if mask.all():
        return np.full(mask.shape, GREATEST_DISTANCE, np.float32)
    if metric == "taxicab":
        return np.asarray(cv2.distanceTransform(mask, cv2.DIST_L1, 3), np.float32)
    return np.asarray(cv2.distanceTransform(mask, cv2.DIST_L2, cv2.DIST_MASK_PRECISE))


def _cut_to_whole(depth: np.ndarray, metric: Metric) -> np.ndarray:
    if metric == "taxicab":
        return np.rint(depth)
    return np.floor(np.sqrt(np.rint(depth.astype(np.float64) ** 2)))


def _angle(depth: np.ndarray) -> np.ndarray:
    """Return (H, W) degrees in [-180, 180] of the gradient."""
    reach = KERNEL_SIDE // 2
    y, x = np.mgrid[-reach : reach + 1, -reach : reach + 1].astype(np.float64)
    square = np.where((x == 0) & (y == 0), 1.0, x * x + y * y)
    gradients = (
        cv2.filter2D(depth.astype(np.float64), cv2.CV_64F, kernel / square, borderType=cv2.BORDER_CONSTANT)
        for kernel in (y, x)
    )
    clean = (np.where(np.abs(gradient) < 1e-5, 0.0, gradient) for gradient in gradients)
    angle: np.ndarray = np.degrees(np.arctan2(*clean))
    return angle


def _read_openseg(path: Path) -> Mapping[str, np.ndarray]:
    arrays = read_matlab(path, _OPENSEG_ARRAYS)
    missing = [name for name in _OPENSEG_ARRAYS if name not in arrays]
    if missing:
        raise ImageDecodeError(
            f"{path} has no {', '.join(missing)}; boundary maps hold {', '.join(_OPENSEG_ARRAYS)}. Make it again with "
            "openseg's dt_offset_generator."
        )
    depth, direction, step = (arrays[name] for name in _OPENSEG_ARRAYS)
    if step.size != 1 or not 1 <= step.item() <= 180:
        raise ImageDecodeError(
            f"{path} has deg_reduce {step.ravel()[:3].tolist()}; one number of degrees from 1 to 180 is needed. Make "
            "it again with openseg's dt_offset_generator."
        )
    angle = direction.astype(np.int16) * int(step.item()) - 180
    return {DISTANCE: np.clip(depth, 0, 255).astype(np.uint8), ANGLE: angle}


def _folders_with(pair: Pair) -> tuple[str, str]:
    """Return the folders of an image and its label."""
    return str(Path(pair.image).parent), str(Path(pair.label).parent)


def _folders_of(pair: Pair, labels: LabelSet) -> tuple[Path, ...]:
    """Return the existing folders that maps of this pair and its neighbors may lie in; ours come first."""
    classes = _classes_folder(labels)
    ours = (root / FOLDER / classes / below for root, below in _splits_of(Path(pair.image).parent))
    theirs = (
        root / OPENSEG_FOLDER / Path(*below.parts[1:])
        for root, below in _splits_of(Path(pair.label).parent)
        if below.parts  # the folder of labels is the first part
    )
    return tuple(folder for folder in (*ours, *theirs) if os.path.isdir(folder))


def _splits_of(folder: Path) -> Iterator[tuple[Path, Path]]:
    """Yield (root, path below it) for each folder that the data set's root could be, the nearest first."""
    folder = folder.absolute()
    for root in (folder, *folder.parents):
        yield root, folder.relative_to(root)


def _classes_folder(labels: LabelSet) -> str:
    """Return the number of classes and a digest of all that maps depend on: other classes give other maps."""
    contract = json.dumps([labels.names, labels.raw_ids, labels.ignore_index])
    return f"{len(labels.names)}-classes-{hashlib.sha256(contract.encode()).hexdigest()[:8]}"


def _fitting(extras: Mapping[str, np.ndarray], label: np.ndarray, path: Path) -> Mapping[str, np.ndarray]:
    for values in extras.values():
        if values.shape != label.shape:
            raise ImageDecodeError(
                f"The boundary maps {path} are {size_text(values)} (height × width), the label {size_text(label)}; "
                "they must be equal. Delete them and prepare them again."
            )
    return extras


def _report_no_maps(images: str, dataset: SegmentationDataset, source: BoundaryMapSource) -> None:
    places = (place / below for root, below in _splits_of(Path(images)) for place in (root / FOLDER).glob("*-classes*"))
    others = [str(place) for place in places if os.path.isdir(place)]
    made = f"; those in {', '.join(others)} were made for other classes, names or raw ids" if others else ""
    text = (
        f"The images of {dataset.name} {dataset.split} in {images} have no boundary maps for its "
        f"{len(dataset.labels.names)} classes{made}."
    )
    prepare = f"segpipe data prepare boundaries ROOT --data NAME --split {dataset.split}"
    if source == "prepared":
        raise InputError(f"{text} Run {prepare}, or give {advice.setting('train.loss.maps', 'any')}.")
    if others:
        logger.warning("%s They are computed as samples are read; %s makes files of them", text, prepare)


def plan_boundaries(
    root: Path,
    *,
    data: str = "",
    split: str = "train",
    metric: Metric = "euclidean",
    options: Mapping[str, Any] | None = None,
) -> FilePlan:
    """Plan distances and directions to the boundaries of regions, which training with the boundary loss reads.

    Args:
        data: the data set's name, see `load_dataset`.
        split: the split to prepare; the loss needs no maps for evaluation.
        metric: euclidean or taxicab. Files that are there already keep theirs.
        options: the data set's options, see `load_dataset`.
    """
    if not data:
        how = advice.argument("data", "camvid")
        raise InputError(f"Boundaries are made from the labels of a data set, which is not named. Give {how}.")
    dataset = load_dataset(data, root, split, **(options or {}))
    require_label_maps(dataset, "from which boundaries are made. Name a data set that has them")
    labels = dataset.labels
    tasks = tuple(
        FileTask((boundary_file(root, pair.image, labels),), partial(_make, pair, labels, metric))
        for pair in dataset.pairs
    )
    return FilePlan(f"Boundary maps of {data} {split}, {len(labels.names)} classes, {metric} distances.", tasks)


def _make(pair: Pair, labels: LabelSet, metric: Metric) -> Sequence[np.ndarray]:
    label = encode_label(pair.read(pair.label), labels, origin=pair.label)
    maps = compute_boundary_maps(label, len(labels.names), metric=metric)
    return (np.stack(maps, axis=-1),)  # (H, W, 2), for a PNG of gray and alpha


PREPARERS.register("boundaries")(
    Preparer(
        plan_boundaries,
        "boundary maps are made of labels that are there",
        makes="distances and directions to boundaries, for --data NAME, which UN-EPT's training reads (or computes)",
    )
)
