"""COCO's instances and stuff: a JSON with a polygon or a run-length mask for each object."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import numpy as np

from segpipe.errors import ImageDecodeError, InputError
from segpipe.log import get_logger
from segpipe.names import listing

from ..annotation_files import DrawingBudget, read_annotations
from ..findings import Finding
from ..rle import counts_to_mask, decode_mask, decompress_counts
from .coco_documents import (
    Category,
    Image,
    background_id,
    distinct,
    first_existing,
    image_folder,
    label_set_of,
    picture_paths,
    warn,
)
from .dataset import Pair, SegmentationDataset
from .loading import DATASETS
from .polygons import Window, has_area, polygon_window
from .scanning import AnyPath, existing_folder, resolve_split

logger = get_logger(__name__)

IGNORED = -1
"""Stands for pixels whose class is unknown, among the ids of categories."""


class RunLengths(msgspec.Struct):
    """A mask as run lengths: a list, or pycocotools' compressed string."""

    counts: list[int] | str
    size: tuple[int, int]


class Annotation(msgspec.Struct):
    """One object."""

    image_id: int | str
    category_id: int
    segmentation: list[list[float]] | RunLengths | None = None
    bbox: msgspec.Raw = msgspec.Raw(b"null")
    """x, y, width, height; decoded only for objects without a mask."""


class Document(msgspec.Struct):
    """An instances or stuff JSON file, as far as it is needed."""

    images: list[Image]
    annotations: list[Annotation]
    categories: list[Category]


class Box(msgspec.Struct):
    """The pixels [top, bottom) × [left, right)."""

    top: int
    bottom: int
    left: int
    right: int


class Shape(msgspec.Struct):
    """The pixels of one object."""

    category_id: int
    """`IGNORED` where it says nothing."""
    mask: list[list[float]] | RunLengths | None = None
    box: Box | None = None
    """Instead of a mask."""


class Objects(msgspec.Struct):
    """The objects of one picture, as they wait to be drawn."""

    size: tuple[int, int]
    shapes: list[Shape]


@dataclass(frozen=True, eq=False)
class AnnotationReader:
    """From "file.json#image id" to category ids (H, W) int32.

    Attributes:
        objects: image id → its `Objects` as JSON; compact where there are 100 000 pictures.
        background: the value of pixels in no object; -1: none, they are ignored.
    """

    objects: Mapping[str, bytes]
    background: int

    def __call__(self, label: str) -> np.ndarray:
        objects = msgspec.json.decode(self.objects[label.rpartition("#")[2]], type=Objects)
        try:
            return draw_objects(objects, self.background)
        except InputError as error:
            raise ImageDecodeError(f"{label}: {error}") from None


def draw_objects(objects: Objects, background: int) -> np.ndarray:
    """Category ids (H, W) int32. Where objects overlap, the one with fewer pixels wins; of equals, the later one.

    An object without a mask takes part with its box, whose pixels are `IGNORED`: they may be of its class or not.
    """
    budget = DrawingBudget()
    drawn = np.full(objects.size, background, np.int32)
    fewest = np.full(objects.size, np.iinfo(np.int32).max, np.int32)  # pixels of the object that has the place
    for shape in objects.shapes:
        rows, columns, mask = _window(shape, objects.size, budget)
        area = np.count_nonzero(mask)
        wins = mask.view(bool) & (fewest[rows, columns] >= area)
        drawn[rows, columns][wins] = shape.category_id
        fewest[rows, columns][wins] = area
    return drawn


@DATASETS.register("coco-annotations")
def build_coco_annotations(
    root: AnyPath,
    split: str = "train",
    *,
    annotations: str | None = None,
    images: str | None = None,
    background: str | None = None,
) -> SegmentationDataset:
    """Pictures with objects; the objects of one category become one class.

    Of an object that has only a box, the box is ignored, since it does not say which of its pixels are the object.
    Where there is not even a box, the object may be anywhere, and all pixels of its picture that no other object has
    are ignored.

    Args:
        root: the folder with the pictures and the JSON.
        split: train, val or test.
        annotations: the JSON below the root; None: annotations/instances_<split>2017.json, annotations/<split>.json,
            <split>/_annotations.coco.json, or annotations/stuff_<split>2017.json, the first that is there.
        images: folder of the pictures below the root; None: images/<split>2017, <split>2017, images/<split>, <split>.
        background: name of a class for pixels in no object. None: these pixels are ignored, and pictures without the
            mask of any object are left out.
    """
    folder = existing_folder(root)
    split = resolve_split("coco-annotations", split, ("train", "val", "test"))
    path = first_existing(folder, _candidates(split) if annotations is None else [annotations], "COCO's JSON")
    document = read_annotations(path, Document, "COCO's JSON")
    labels = label_set_of(document.categories, path, background=background)
    pictures = picture_paths(document.images, image_folder(folder, split, images), path)
    value = IGNORED if background is None else background_id([category.id for category in document.categories])
    objects, odd = _sort_out(document, path)
    unmarked = [
        image.file_name
        for image in document.images
        if background is None and not any(shape.mask is not None for shape in objects[str(image.id)].shapes)
    ]
    reader = AnnotationReader({key: msgspec.json.encode(found) for key, found in objects.items()}, value)
    left_out = set(unmarked)
    pairs = [
        Pair(pictures[str(image.id)], f"{path}#{image.id}", reader)
        for image in document.images
        if image.file_name not in left_out
    ]
    logger.info("%s: %d of %d pictures are used", path, len(pairs), len(document.images))
    return SegmentationDataset(
        "coco-annotations",
        split,
        labels,
        tuple(sorted(pairs, key=lambda pair: pair.image)),
        notes=warn(path, odd.findings(unmarked)),
    )


def _candidates(split: str) -> Sequence[str]:
    return (
        f"annotations/instances_{split}2017.json",
        f"annotations/{split}.json",
        f"{split}/_annotations.coco.json",
        f"annotations/stuff_{split}2017.json",
    )


@dataclass
class _Odd:
    """What is not as it should be, as it is counted while annotations are sorted out.

    Each list has the picture or the id of each object.
    """

    document: str
    boxes: list[str] = field(default_factory=list)
    nowhere: list[str] = field(default_factory=list)
    no_area: list[str] = field(default_factory=list)
    no_picture: list[str] = field(default_factory=list)
    no_category: list[str] = field(default_factory=list)

    def findings(self, unmarked: Sequence[str]) -> list[Finding]:
        """One finding for each kind; `unmarked` are the pictures that are left out."""
        texts = (
            ("no-mask", self.boxes, "objects with a box and no mask, the pixels of whose boxes are ignored", _DRAW),
            ("no-mask", self.nowhere, "objects with neither, so that all pixels of no object are ignored", _DRAW),
            ("dropped", self.no_area, "polygons, masks and boxes without area, which are passed over", _CORRECT),
            ("dropped", self.no_picture, "objects of pictures that are not listed, which are dropped", _ADD),
            ("dropped", self.no_category, "objects of categories that are not listed, which are ignored", _ADD),
            ("left-out", unmarked, "pictures without the mask of any object, which are left out", _BACKGROUND),
        )
        return [
            Finding(kind, self.document, f"{text}: {len(names):,} ({listing(distinct(names))})", fix)  # type: ignore[arg-type]
            for kind, names, text, fix in texts
            if names
        ]


_DRAW = "Draw their masks, or take the objects out if their pixels are background"
_CORRECT = "Draw them again, or take them out"
_ADD = "Add them to the images and categories of the JSON, or take the objects out"
_BACKGROUND = "Give the background a name, background=, to keep them"


def _sort_out(document: Document, path: Path) -> tuple[dict[str, Objects], _Odd]:
    """The objects of each picture, and what is odd.

    Raises:
        InputError: there are objects, and none of them has a mask.
    """
    objects = {str(image.id): Objects((image.height, image.width), []) for image in document.images}
    names = {str(image.id): image.file_name for image in document.images}
    categories = {category.id for category in document.categories}
    odd = _Odd(str(path))
    for annotation in document.annotations:
        key = str(annotation.image_id)
        if key not in objects:
            odd.no_picture.append(key)
            continue
        if annotation.category_id not in categories:
            odd.no_category.append(str(annotation.category_id))
            annotation.category_id = IGNORED
        shape = _shape(annotation, objects[key].size, names[key], odd)
        if shape is not None:
            objects[key].shapes.append(shape)
    if document.annotations and not any(shape.mask for each in objects.values() for shape in each.shapes):
        raise InputError(
            f"None of the {len(document.annotations):,} objects in {path} has a mask that can be used: "
            f"{len(odd.boxes):,} have only a box, {len(odd.nowhere):,} neither, {len(odd.no_picture):,} belong to "
            f"pictures that are not listed, and {len(odd.no_area):,} polygons or boxes have no area. Classes of pixels "
            "cannot be learnt from it. Name a JSON with masks as annotations=."
        )
    return objects, odd


def _shape(annotation: Annotation, size: tuple[int, int], picture: str, odd: _Odd) -> Shape | None:
    """Where the object is, as well as its annotation says; None where it has no pixels."""
    mask = annotation.segmentation
    if isinstance(mask, list) and mask:
        polygons = [polygon for polygon in mask if has_area(polygon)]
        odd.no_area += [picture] * (len(mask) - len(polygons))
        mask = polygons
    if isinstance(mask, RunLengths) and _is_empty(mask, size):
        odd.no_area.append(picture)
        mask = None
    if mask:
        return Shape(annotation.category_id, mask=mask)
    box = _box(annotation.bbox, size)
    if box is None and annotation.segmentation:
        return None  # polygons without area, and no box: it has no pixels
    if box is not None and (box.top >= box.bottom or box.left >= box.right):
        odd.no_area.append(picture)
        return None
    (odd.nowhere if box is None else odd.boxes).append(picture)
    return Shape(IGNORED, box=box or Box(0, size[0], 0, size[1]))


def _is_empty(mask: RunLengths, size: tuple[int, int]) -> bool:
    """Whether run lengths name no pixel. An empty mask has two runs at most, and each in a string seven characters."""
    counts = mask.counts
    if len(counts) > (14 if isinstance(counts, str) else 2):
        return False
    try:
        runs = decompress_counts(counts).tolist() if isinstance(counts, str) else counts
    except InputError:  # said when it is drawn
        return False
    return mask.size == size and not any(runs[1:]) and sum(runs) == size[0] * size[1]


def _box(raw: msgspec.Raw, size: tuple[int, int]) -> Box | None:
    """The pixels that a box touches, perhaps none; None where it is not four numbers with sides of 0 or more."""
    try:
        x, y, width, height = msgspec.json.decode(raw, type=tuple[float, float, float, float])
    except msgspec.MsgspecError:
        return None
    if not (width >= 0 and height >= 0):
        return None
    top, bottom = (min(max(place, 0), size[0]) for place in (math.floor(y), math.ceil(y + height)))
    left, right = (min(max(place, 0), size[1]) for place in (math.floor(x), math.ceil(x + width)))
    return Box(top, bottom if height else top, left, right if width else left)


def _window(shape: Shape, size: tuple[int, int], budget: DrawingBudget) -> Window:
    """The pixels of one object."""
    if shape.box is not None:
        box = shape.box
        budget.spend("drawn_pixels", (box.bottom - box.top) * (box.right - box.left))
        area = np.ones((box.bottom - box.top, box.right - box.left), np.uint8)
        return Window(slice(box.top, box.bottom), slice(box.left, box.right), area)
    if isinstance(shape.mask, RunLengths):
        return _run_length_window(shape.mask, size, budget)
    windows = [polygon_window(polygon, size, budget) for polygon in shape.mask or ()]
    return windows[0] if len(windows) == 1 else _joined(windows, budget)


def _run_length_window(mask: RunLengths, size: tuple[int, int], budget: DrawingBudget) -> Window:
    if mask.size != size:
        raise InputError(
            f"a run-length mask has size {mask.size}, the picture {size} (height, width); they must be equal. "
            "Correct the JSON."
        )
    budget.spend("drawn_pixels", size[0] * size[1])
    counts = mask.counts
    drawn = decode_mask(counts, size) if isinstance(counts, str) else counts_to_mask(counts, size)
    rows, columns = (_extent(drawn.max(axis=axis)) for axis in (1, 0))
    return Window(rows, columns, drawn[rows, columns])


def _extent(is_used: np.ndarray) -> slice:
    """From the first to the last place that is used."""
    places = np.flatnonzero(is_used)
    return slice(int(places[0]), int(places[-1]) + 1) if places.size else slice(0, 0)


def _joined(windows: Sequence[Window], budget: DrawingBudget) -> Window:
    """The pixels that are in any of them."""
    top, left = (min(part.start for part in parts) for parts in _sides(windows))
    bottom, right = (max(part.stop for part in parts) for parts in _sides(windows))
    budget.spend("drawn_pixels", (bottom - top) * (right - left))
    mask = np.zeros((bottom - top, right - left), np.uint8)
    for rows, columns, part in windows:
        mask[rows.start - top : rows.stop - top, columns.start - left : columns.stop - left] |= part
    return Window(slice(top, bottom), slice(left, right), mask)


def _sides(windows: Sequence[Window]) -> tuple[list[slice], list[slice]]:
    return [window.rows for window in windows], [window.columns for window in windows]
