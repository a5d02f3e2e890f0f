"""COCO's instances and stuff: a JSON with a polygon or a run-length mask for each object."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np

from segpipe.errors import ImageDecodeError, InputError
from segpipe.log import get_logger

from ..rle import counts_to_mask, decode_mask
from .coco_documents import (
    Category,
    Image,
    background_id,
    first_existing,
    image_folder,
    label_set_of,
    picture_paths,
    read_document,
)
from .dataset import Pair, SegmentationDataset
from .loading import DATASETS
from .polygons import rasterise_polygon
from .scanning import AnyPath, existing_folder, resolve_split

logger = get_logger(__name__)


class RunLengths(msgspec.Struct):
    """A mask as run lengths: a list, or pycocotools' compressed string."""

    counts: list[int] | str
    size: tuple[int, int]


class Annotation(msgspec.Struct):
    """One object."""

    image_id: int | str
    category_id: int
    segmentation: list[list[float]] | RunLengths | None = None


class Document(msgspec.Struct):
    """An instances or stuff JSON file, as far as it is needed."""

    images: list[Image]
    annotations: list[Annotation]
    categories: list[Category]


class Objects(msgspec.Struct):
    """The objects of one picture, as they wait to be drawn."""

    size: tuple[int, int]
    annotations: list[Annotation]


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
            raise ImageDecodeError(f"{label}: {error}") from error


def draw_objects(objects: Objects, background: int) -> np.ndarray:
    """Category ids (H, W) int32. Where objects overlap, the one with fewer pixels wins; of equals, the later one."""
    masks = [_mask(annotation, objects.size) for annotation in objects.annotations]
    areas = np.array([np.count_nonzero(mask) for mask in masks])
    drawn = np.full(objects.size, background, np.int32)
    for index in np.argsort(-areas, kind="stable"):
        drawn[masks[index] != 0] = objects.annotations[index].category_id
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

    Args:
        root: the folder with the pictures and the JSON.
        split: train, val or test.
        annotations: the JSON below the root; None: annotations/instances_<split>2017.json, annotations/<split>.json,
            <split>/_annotations.coco.json, or annotations/stuff_<split>2017.json, the first that is there.
        images: folder of the pictures below the root; None: images/<split>2017, <split>2017, images/<split>, <split>.
        background: name of a class for pixels in no object. None: these pixels are ignored, and pictures without any
            object are left out.
    """
    folder = existing_folder(root)
    split = resolve_split("coco-annotations", split, ("train", "val", "test"))
    path = first_existing(folder, _candidates(split) if annotations is None else [annotations], "COCO's JSON")
    document = read_document(path, Document)
    labels = label_set_of(document.categories, path, background=background)
    pictures = picture_paths(document.images, image_folder(folder, split, images), path)
    value = -1 if background is None else background_id([category.id for category in document.categories])
    objects = _objects_by_image(document, path)
    reader = AnnotationReader({key: msgspec.json.encode(found) for key, found in objects.items()}, value)
    pairs = [
        Pair(pictures[image.id], f"{path}#{image.id}", reader)
        for image in document.images
        if background is not None or objects[str(image.id)].annotations
    ]
    logger.info("%s: %d of %d pictures are used", path, len(pairs), len(document.images))
    return SegmentationDataset("coco-annotations", split, labels, tuple(sorted(pairs, key=lambda pair: pair.image)))


def _candidates(split: str) -> Sequence[str]:
    return (
        f"annotations/instances_{split}2017.json",
        f"annotations/{split}.json",
        f"{split}/_annotations.coco.json",
        f"annotations/stuff_{split}2017.json",
    )


def _objects_by_image(document: Document, path: Path) -> dict[str, Objects]:
    """The objects of each picture; InputError for one of a picture or a category that does not exist."""
    objects = {str(image.id): Objects((image.height, image.width), []) for image in document.images}
    categories = {category.id for category in document.categories}
    for annotation in document.annotations:
        if str(annotation.image_id) not in objects or annotation.category_id not in categories:
            raise InputError(
                f"{path} has an object of picture {annotation.image_id!r} and category {annotation.category_id}, one "
                "of which it does not describe. Both must be in its images and categories. Correct the JSON."
            )
        if annotation.segmentation:
            objects[str(annotation.image_id)].annotations.append(annotation)
    return objects


def _mask(annotation: Annotation, size: tuple[int, int]) -> np.ndarray:
    """(H, W) uint8; several polygons are joined."""
    shape = annotation.segmentation
    if isinstance(shape, RunLengths):
        if shape.size != size:
            raise InputError(
                f"a run-length mask has size {shape.size}, the picture {size} (height, width); they must be equal. "
                "Correct the JSON."
            )
        return decode_mask(shape.counts, size) if isinstance(shape.counts, str) else counts_to_mask(shape.counts, size)
    mask = np.zeros(size, np.uint8)
    for polygon in shape or ():
        mask |= rasterise_polygon(polygon, size)
    return mask
