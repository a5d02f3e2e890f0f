"""Sort out the objects of COCO's JSON, tell what is odd about them, and draw them as labels."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from segpipe import advice
from segpipe.errors import InputError

from ..annotations import DrawingBudget, Window, has_area, polygon_window
from ..findings import Finding
from ..rle import decode_mask, decompress_counts
from .coco_documents import Id, Image, count_by_kind, key_of

IGNORED = -1
"""Stands for pixels whose class is unknown, among the numbers of categories."""
Polygon = list[float]
"""x1, y1, x2, y2, …"""
_DRAW = "Draw their masks, or take the objects out if their pixels are background"
_CORRECT = "Draw them again, or take them out"
_ADD = "Add them to the images and categories of the JSON, or take the objects out"


class RunLengths(msgspec.Struct):
    """A mask as run lengths: a list, or pycocotools' compressed string."""

    counts: list[int] | str = []
    size: tuple[int, int] = (0, 0)


class Annotation(msgspec.Struct):
    """One object."""

    image_id: Id | None = None
    category_id: Id | None = None
    segmentation: list[float | list[float | list[float | None] | None] | None] | RunLengths | None = None
    """Polygons; some tools write one without the list around it, or each point as a list of two numbers."""
    bbox: msgspec.Raw = msgspec.Raw(b"null")
    """x, y, width, height; decoded only for objects without a mask."""


class Box(msgspec.Struct):
    """The pixels [top, bottom) × [left, right)."""

    top: int
    bottom: int
    left: int
    right: int


class ObjectShape(msgspec.Struct):
    """The pixels of one object."""

    number: int
    """Of its category; `IGNORED` where it says nothing."""
    mask: list[Polygon] | RunLengths | None = None
    box: Box | None = None
    """Instead of a mask."""


class Objects(msgspec.Struct):
    """The objects of one image, as they wait to be drawn."""

    size: tuple[int, int]
    shapes: list[ObjectShape]


@dataclass
class Odd:
    """What is not as it should be, as it is counted while annotations are sorted out.

    Each list has the image or the id of each object.
    """

    document: str
    boxes: list[str] = field(default_factory=list)
    nowhere: list[str] = field(default_factory=list)
    no_area: list[str] = field(default_factory=list)
    no_image: list[str] = field(default_factory=list)
    no_category: list[str] = field(default_factory=list)

    def findings(self, unmarked: Sequence[str]) -> list[Finding]:
        """Return one finding for each kind; `unmarked` are the images that are left out."""
        background = f"Give the background a name, {advice.option('background', 'background')}, to keep them"
        texts = (
            ("no-mask", self.boxes, "objects with a box and no mask, the pixels of whose boxes are ignored", _DRAW),
            ("no-mask", self.nowhere, "objects with neither, so that all pixels of no object are ignored", _DRAW),
            (
                "dropped",
                self.no_area,
                "polygons, masks and boxes without area in their image, which are passed over",
                _CORRECT,
            ),
            ("dropped", self.no_image, "objects of images that are not listed, which are dropped", _ADD),
            ("dropped", self.no_category, "objects of categories that are not listed, which are ignored", _ADD),
            ("left-out", unmarked, "images without the mask of any object, which are left out", background),
        )
        return count_by_kind(self.document, texts)


def sort_out(
    images: Sequence[Image], annotations: Sequence[Annotation], numbers: Mapping[str, int], document: Path
) -> tuple[dict[str, Objects], Odd]:
    """Return the objects of each image by its key, and what is odd.

    Args:
        images: the images, with their sizes.
        numbers: the key of each category → the value that its pixels get.

    Raises:
        InputError: there are objects, and none of them has a mask; or their polygons are in fractions, not pixels.
    """
    objects = {image.key: Objects(image.size, []) for image in images}
    names = {image.key: image.file_name for image in images}
    odd = Odd(str(document))
    for annotation in annotations:
        key, category = key_of(annotation.image_id), key_of(annotation.category_id)
        if key not in objects:
            odd.no_image.append(key)
            continue
        if category not in numbers:
            odd.no_category.append(category)
        shape = _shape(annotation, numbers.get(category, IGNORED), objects[key].size, names[key], odd)
        if shape is not None:
            objects[key].shapes.append(shape)
    if annotations and not any(shape.mask for each in objects.values() for shape in each.shapes):
        raise InputError(
            f"None of the {len(annotations):,} objects in {document} has a mask that can be used: "
            f"{len(odd.boxes):,} have only a box, {len(odd.nowhere):,} neither, {len(odd.no_image):,} belong to "
            f"images that are not listed, and {len(odd.no_area):,} polygons or boxes have no area. Classes of pixels "
            f"cannot be learnt from it. Name a JSON with masks as {advice.option('annotations')}."
        )
    _check_pixels(objects.values(), document)
    return objects, odd


def _check_pixels(objects: Iterable[Objects], document: Path) -> None:
    """Refuse coordinates from 0 to 1 throughout: drawn as pixels, every object would vanish in the first one."""
    masks = [shape.mask for each in objects for shape in each.shapes if shape.mask is not None]
    polygons = [polygon for mask in masks if isinstance(mask, list) for polygon in mask]
    are_small = bool(masks) and all(isinstance(mask, list) and all(map(_is_in_first_pixel, mask)) for mask in masks)
    if are_small and any(number not in (0, 1) for polygon in polygons for number in polygon):
        raise InputError(
            f"All polygons in {document} lie between 0 and 1, as fractions of the image's sides; COCO's are in pixels. "
            "Multiply each x by the width of its image and each y by the height."
        )


def _is_in_first_pixel(polygon: Polygon) -> bool:
    return min(polygon) >= 0 and max(polygon) <= 1


def _shape(annotation: Annotation, number: int, size: tuple[int, int], image: str, odd: Odd) -> ObjectShape | None:
    """Return where the object is, or None where it has no pixels."""
    given = annotation.segmentation
    mask: list[Polygon] | RunLengths | None = None
    if isinstance(given, list):
        polygons = _polygons(given)
        mask = [polygon for polygon in polygons if has_area(polygon) and _meets(polygon, size)]
        odd.no_area += [image] * (len(polygons) - len(mask))
    elif given is not None and not _is_empty(given, size):
        mask = given
    elif given is not None and given.counts:
        odd.no_area.append(image)
    if mask:
        return ObjectShape(number, mask=mask)
    box = _box(annotation.bbox, size)
    if box is None and (given if isinstance(given, list) else given and given.counts):
        return None  # a mask without area, and no box: it has no pixels
    if box is not None and (box.top >= box.bottom or box.left >= box.right):
        odd.no_area.append(image)
        return None
    (odd.nowhere if box is None else odd.boxes).append(image)
    return ObjectShape(IGNORED, box=box or Box(0, size[0], 0, size[1]))


def _meets(polygon: Polygon, size: tuple[int, int]) -> bool:
    """Return whether the rectangle around a polygon meets the image."""
    x, y = polygon[0::2], polygon[1::2]
    return min(x) < size[1] and min(y) < size[0] and max(x) > 0 and max(y) > 0


def _polygons(members: list[Any]) -> list[Polygon]:
    """Return polygons as lists of numbers, whichever way they are nested."""
    polygons = [members] if members and not isinstance(members[0], list) else members
    return [_flat(polygon) for polygon in polygons if isinstance(polygon, list)]


def _flat(polygon: list[Any]) -> Polygon:
    if not (polygon and isinstance(polygon[0], list)):
        return polygon
    return [number for point in polygon if isinstance(point, list) for number in point]


def _is_empty(mask: RunLengths, size: tuple[int, int]) -> bool:
    """Return whether run lengths name no pixel. An empty mask has at most two runs, of seven characters in a string."""
    counts = mask.counts
    if not counts:
        return True
    if len(counts) > (14 if isinstance(counts, str) else 2):
        return False
    try:
        runs = decompress_counts(counts).tolist() if isinstance(counts, str) else counts
    except InputError:  # said when it is drawn
        return False
    return mask.size == size and not any(runs[1:]) and sum(runs) == size[0] * size[1]


def _box(raw: msgspec.Raw, size: tuple[int, int]) -> Box | None:
    """Return the pixels that a box touches, perhaps none; None if it is not four numbers with sides of 0 or more."""
    try:
        x, y, width, height = msgspec.json.decode(raw, type=tuple[float, float, float, float], strict=False)
    except msgspec.MsgspecError:
        return None
    if not (width >= 0 and height >= 0):
        return None
    top, bottom = (min(max(place, 0), size[0]) for place in (math.floor(y), math.ceil(y + height)))
    left, right = (min(max(place, 0), size[1]) for place in (math.floor(x), math.ceil(x + width)))
    return Box(top, bottom if height else top, left, right if width else left)


def draw_objects(objects: Objects, background: int) -> np.ndarray:
    """Return the numbers of categories (H, W) int32.

    Where objects overlap, the one with fewer pixels wins; of equals, the later one.

    An object without a mask takes part with its box, whose pixels are `IGNORED`: they may be of its class or not.
    """
    budget = DrawingBudget()
    drawn = np.full(objects.size, background, np.int32)
    fewest = np.full(objects.size, np.iinfo(np.int32).max, np.int32)  # pixels of the object that has the place
    for shape in objects.shapes:
        rows, columns, mask = _window(shape, objects.size, budget)
        area = np.count_nonzero(mask)
        wins = mask.view(bool) & (fewest[rows, columns] >= area)
        drawn[rows, columns][wins] = shape.number
        fewest[rows, columns][wins] = area
    return drawn


def _window(shape: ObjectShape, size: tuple[int, int], budget: DrawingBudget) -> Window:
    """Return the pixels of one object."""
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
            f"a run-length mask has size {mask.size}, the image {size} (height, width); they must be equal. "
            "Correct the JSON."
        )
    budget.spend("drawn_pixels", size[0] * size[1])
    drawn = decode_mask(mask.counts, size)
    rows, columns = (_extent(drawn.max(axis=axis)) for axis in (1, 0))
    return Window(rows, columns, drawn[rows, columns])


def _extent(is_used: np.ndarray) -> slice:
    """Return the places from the first to the last one that is used."""
    places = np.flatnonzero(is_used)
    return slice(int(places[0]), int(places[-1]) + 1) if places.size else slice(0, 0)


def _joined(windows: Sequence[Window], budget: DrawingBudget) -> Window:
    """Return the pixels that are in any of them."""
    rows, columns, _ = zip(*windows, strict=True)
    top, left = (min(part.start for part in parts) for parts in (rows, columns))
    bottom, right = (max(part.stop for part in parts) for parts in (rows, columns))
    budget.spend("drawn_pixels", (bottom - top) * (right - left))
    mask = np.zeros((bottom - top, right - left), np.uint8)
    for down, across, part in windows:
        mask[down.start - top : down.stop - top, across.start - left : across.stop - left] |= part
    return Window(slice(top, bottom), slice(left, right), mask)
