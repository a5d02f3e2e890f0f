"""Open COCO's JSON: instances and stuff with masks of objects, and panoptic PNGs, whose colors are segment ids."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import msgspec
import numpy as np

from segpipe.errors import ImageDecodeError, InputError
from segpipe.log import get_logger

from ..annotations import read_annotations
from ..findings import Finding, log_or_collect
from ..label_encoding import ColorTable
from ..label_files import read_color_label
from .coco_documents import Category, Id, Image, count_by_kind, fill_sizes, key_of, read_classes, refuse_twice
from .coco_files import find_document, locate_images, locate_labels, place_below
from .coco_objects import IGNORED, Annotation, Objects, draw_objects, sort_out
from .dataset import Pair, SegmentationDataset
from .finding_files import AnyPath, existing_folder
from .layouts import resolve_split
from .loading import DATASETS

logger = get_logger(__name__)
_PATTERNS = (
    "annotations/instances_{}2017.json",
    "annotations/{}.json",
    "{}/_annotations.coco.json",
    "annotations/stuff_{}2017.json",
    "annotations/instances_{}.json",
    "{}.json",
)
_PANOPTIC_PATTERNS = ("annotations/panoptic_{}2017.json", "annotations/panoptic_{}.json", "panoptic_{}.json")


class ObjectDocument(msgspec.Struct):
    """An instances or stuff JSON file, as far as it is needed."""

    images: list[Image]
    annotations: list[Annotation]
    categories: list[Category]


@dataclass(frozen=True, eq=False)
class AnnotationReader:
    """A reader of labels "file.json#image id" as numbers of categories (H, W) int32.

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
    document = read_annotations(path, ObjectDocument, "COCO's JSON")
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


class PanopticDocument(msgspec.Struct):
    """A panoptic JSON file, as far as it is needed."""

    images: list[Image]
    annotations: list[PanopticAnnotation]
    categories: list[Category]


class PanopticAnnotation(msgspec.Struct):
    """What is in one image."""

    image_id: Id
    file_name: str
    segments_info: list[PanopticSegment]

    @property
    def key(self) -> str:
        """The image's id in the form of `key_of`."""
        return key_of(self.image_id)


class PanopticSegment(msgspec.Struct):
    """A part of an image."""

    id: int
    category_id: Id


@dataclass(frozen=True, eq=False)
class PanopticReader:
    """A reader of panoptic PNGs as category ids (H, W) int32, -1 where there is no segment."""

    segments: Mapping[str, bytes]
    """Path → the bytes of (segments, 2) int64 of segment id and category id; compact where there are 100 000 images."""

    def __call__(self, path: str) -> np.ndarray:
        segments = np.frombuffer(self.segments[path], np.int64).reshape(-1, 2)
        # The color of segment i is (i mod 256, i // 256 mod 256, i // 65536); 0 is not a segment.
        colors = ((0, 0, 0), *((int(i & 255), int(i >> 8 & 255), int(i >> 16 & 255)) for i in segments[:, 0]))
        return read_color_label(path, colors=ColorTable(colors, (-1, *segments[:, 1].tolist())))


@DATASETS.register("coco-panoptic")
def build_coco_panoptic(
    root: AnyPath,
    split: str = "train",
    *,
    annotations: AnyPath | None = None,
    masks: AnyPath | None = None,
    images: AnyPath | None = None,
) -> SegmentationDataset:
    """Open images with panoptic labels; instances of one category become one class.

    Names of images and paths mean what they mean to `build_coco_annotations`.

    Args:
        root: the folder with the images and annotations/.
        split: train or val.
        annotations: the JSON below the root. If None, annotations/panoptic_<split>2017.json, or the only other JSON
            whose name has panoptic and the split in it; validation is a spelling of val, and so on.
        masks: folder of the PNGs below the root. If None, the JSON's path without .json.
        images: folder of the images below the root. If None, the usual ones.
    """
    folder = existing_folder(root)
    split = resolve_split("coco-panoptic", split, ("train", "val"))
    path = find_document(folder, split, _PANOPTIC_PATTERNS, "the panoptic JSON", given=annotations)
    document = read_annotations(path, PanopticDocument, "COCO's panoptic JSON")
    used = {key_of(segment.category_id) for each in document.annotations for segment in each.segments_info}
    classes = read_classes(document.categories, used, path)
    paths = locate_images(document.images, folder, split, document=path, folder=images)
    fill_sizes([image for image in document.images if image.key in paths], paths, path)
    known = [annotation for annotation in document.annotations if annotation.key in paths]
    refuse_twice(f"{path} has two labels for the image with the id", [annotation.key for annotation in known])
    refuse_twice(f"{path} has two images with the label", [annotation.file_name for annotation in known])
    mask_folder = existing_folder(path.with_suffix("") if masks is None else place_below(folder, masks, split))
    names = [annotation.file_name for annotation in known]
    masks_of = dict(zip(names, locate_labels(names, mask_folder, path), strict=True))
    reader = PanopticReader({masks_of[each.file_name]: _pack(each, classes.numbers) for each in known})
    pairs = [Pair(paths[annotation.key], masks_of[annotation.file_name], reader) for annotation in known]
    notes = log_or_collect([*classes.notes, *_findings(document, classes.numbers, str(path))], path)
    by_image = tuple(sorted(pairs, key=lambda pair: pair.image))
    return SegmentationDataset("coco-panoptic", split, classes.labels, by_image, notes=notes)


def _findings(document: PanopticDocument, numbers: Mapping[str, int], path: str) -> Sequence[Finding]:
    """Return findings of labels, segments and images that are dropped or left out."""
    labeled = {annotation.key for annotation in document.annotations}
    listed = {image.key for image in document.images}
    foreign = [annotation.file_name for annotation in document.annotations if annotation.key not in listed]
    unlabeled = [image.file_name for image in document.images if image.key not in labeled]
    segments = (segment for annotation in document.annotations for segment in annotation.segments_info)
    unknown = [key for segment in segments if (key := key_of(segment.category_id)) not in numbers]
    add = "Add them to the JSON, or take these out"
    texts = (
        ("dropped", foreign, "labels of images that are not listed, which are dropped", add),
        ("dropped", unknown, "segments of categories that are not listed, which are ignored", add),
        ("left-out", unlabeled, "images without a label, which are left out", add),
    )
    return count_by_kind(path, texts)


def _pack(annotation: PanopticAnnotation, numbers: Mapping[str, int]) -> bytes:
    """Return segment ids and the numbers of their categories, -1 for a category that is not listed."""
    rows = [(each.id, numbers.get(key_of(each.category_id), -1)) for each in annotation.segments_info]
    ids = {identity for identity, _ in rows}
    if len(ids) < len(rows) or not all(0 < identity < 2**24 for identity in ids):
        raise InputError(
            f"{annotation.file_name} has a segment id twice, or one that is not in 1–{2**24 - 1}; each segment has its "
            "own. Correct the JSON."
        )
    return np.array(rows, np.int64).reshape(-1, 2).tobytes()
