"""COCO's instances and stuff: a JSON with a polygon or a run-length mask for each object."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import msgspec
import numpy as np

from segpipe.errors import ImageDecodeError, InputError
from segpipe.log import get_logger

from ..annotation_files import read_annotations
from ..faults import log_or_collect
from .coco_documents import Category, Image, fill_sizes, key_of, read_classes
from .coco_drawing import draw_objects
from .coco_files import find_document, locate_images
from .coco_objects import IGNORED, Annotation, Objects, sort_out
from .dataset import Pair, SegmentationDataset
from .loading import DATASETS
from .places import AnyPath, existing_folder
from .scanning import resolve_split

logger = get_logger(__name__)

_PATTERNS = (
    "annotations/instances_{}2017.json",
    "annotations/{}.json",
    "{}/_annotations.coco.json",
    "annotations/stuff_{}2017.json",
    "annotations/instances_{}.json",
    "{}.json",
)


class Document(msgspec.Struct):
    """An instances or stuff JSON file, as far as it is needed."""

    images: list[Image]
    annotations: list[Annotation]
    categories: list[Category]


@dataclass(frozen=True, eq=False)
class AnnotationReader:
    """Reads "file.json#image id" as numbers of categories (H, W) int32.

    Attributes:
        document: the path of the JSON.
        objects: image id → its `Objects` as JSON; compact where there are 100 000 images.
        background: the value of pixels in no object.
    """

    document: str
    objects: Mapping[str, bytes]
    background: int

    def __call__(self, label: str) -> np.ndarray:
        objects = msgspec.json.decode(self.objects[label.removeprefix(f"{self.document}#")], type=Objects)
        try:
            return draw_objects(objects, self.background)
        except InputError as error:
            raise ImageDecodeError(f"{label}: {error}") from None


@DATASETS.register("coco-annotations")
def build_coco_annotations(
    root: AnyPath,
    split: str = "train",
    *,
    annotations: AnyPath | None = None,
    images: AnyPath | None = None,
    background: str | None = None,
) -> SegmentationDataset:
    """Open images with objects; the objects of one category become one class.

    Of an object that has only a box, the box is ignored, since it does not say which of its pixels are the object.
    Where there is not even a box, the object may be anywhere, and all pixels of its image that no other object has
    are ignored. Polygons without area are passed over.

    Names of images may be those of another machine, see `NamedFiles`. Paths begin at the root, the split's folder or
    the current folder.

    Args:
        root: the folder with the images and the JSON, such as an export of COCO, Roboflow, CVAT or Label Studio.
        split: train, val, test, or all.
        annotations: the JSON below the root. If None, annotations/instances_<split>2017.json, annotations/<split>.json,
            <split>/_annotations.coco.json, annotations/stuff_<split>2017.json, or the only other JSON that can be
            meant, see `find_document`; valid and validation are spellings of val, and so on.
        images: folder of the images below the root. If None, images/<split>2017, <split>2017, images/<split>, <split>,
            images, the JSON's folder, or the root.
        background: name of a class for pixels in no object. If None, these pixels are ignored, and images without the
            mask of any object are left out.
    """
    folder = existing_folder(root)
    split = resolve_split("coco-annotations", split, ("train", "val", "test", "all"))
    path = find_document(folder, split, _PATTERNS, "COCO's JSON", given=annotations)
    document = read_annotations(path, Document, "COCO's JSON")
    used = {key_of(identity) for identity in {annotation.category_id for annotation in document.annotations}}
    classes = read_classes(document.categories, used, path, background=background)
    paths = locate_images(document.images, folder, split, document=path, folder=images)
    found = [image for image in document.images if image.key in paths]
    fill_sizes(found, paths, path)
    objects, odd = sort_out(document.images, document.annotations, classes.numbers, path)
    without_masks = [
        image
        for image in found
        if background is None and not any(shape.mask is not None for shape in objects[image.key].shapes)
    ]
    left_out = {image.key for image in without_masks}
    value = IGNORED if classes.background is None else classes.background
    reader = AnnotationReader(str(path), {key: msgspec.json.encode(found) for key, found in objects.items()}, value)
    pairs = [Pair(paths[image.key], f"{path}#{image.key}", reader) for image in found if image.key not in left_out]
    logger.info("%s: %d of %d images are used", path, len(pairs), len(document.images))
    return SegmentationDataset(
        "coco-annotations",
        split,
        classes.labels,
        tuple(sorted(pairs, key=lambda pair: pair.image)),
        notes=log_or_collect([*classes.notes, *odd.findings([image.file_name for image in without_masks])], path),
    )
