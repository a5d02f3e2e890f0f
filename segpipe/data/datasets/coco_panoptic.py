"""COCO's panoptic form: PNGs whose colours are segment ids, and a JSON that says each segment's category."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np

from segpipe.errors import InputError
from segpipe.names import listing

from ..annotation_files import read_annotations
from ..findings import Finding, Kind
from ..label_files import read_color_label
from ..labels import ColorTable
from .coco_documents import (
    Category,
    Image,
    distinct,
    first_existing,
    image_folder,
    label_set_of,
    paths_below,
    picture_paths,
    warn,
)
from .dataset import Pair, SegmentationDataset
from .loading import DATASETS
from .scanning import AnyPath, existing_folder, resolve_split


class Segment(msgspec.Struct):
    """A part of a picture."""

    id: int
    category_id: int


class Annotation(msgspec.Struct):
    """What is in one picture."""

    image_id: int | str
    file_name: str
    segments_info: list[Segment]


class Document(msgspec.Struct):
    """A panoptic JSON file, as far as it is needed."""

    images: list[Image]
    annotations: list[Annotation]
    categories: list[Category]


@dataclass(frozen=True, eq=False)
class PanopticReader:
    """From the path of a panoptic PNG to category ids (H, W) int32, -1 where there is no segment."""

    segments: Mapping[str, bytes]
    """Path → (segments, 2) int64 of segment id and category id, as bytes; compact where there are 100 000."""

    def __call__(self, path: str) -> np.ndarray:
        segments = np.frombuffer(self.segments[path], np.int64).reshape(-1, 2)
        # The colour of segment i is (i mod 256, i // 256 mod 256, i // 65536); 0 is no segment.
        colors = ((0, 0, 0), *((int(i & 255), int(i >> 8 & 255), int(i >> 16 & 255)) for i in segments[:, 0]))
        return read_color_label(path, colors=ColorTable(colors, (-1, *segments[:, 1].tolist())))


@DATASETS.register("coco-panoptic")
def build_coco_panoptic(
    root: AnyPath,
    split: str = "train",
    *,
    annotations: str | None = None,
    masks: str | None = None,
    images: str | None = None,
) -> SegmentationDataset:
    """Pictures with panoptic labels; instances of one category become one class.

    Args:
        root: the folder with the pictures and annotations/.
        split: train or val.
        annotations: the JSON below the root; None: annotations/panoptic_<split>2017.json.
        masks: folder of the PNGs below the root; None: the JSON's path without .json.
        images: folder of the pictures below the root; None: images/<split>2017, <split>2017, images/<split>, <split>.
    """
    folder = existing_folder(root)
    split = resolve_split("coco-panoptic", split, ("train", "val"))
    path = first_existing(folder, [annotations or f"annotations/panoptic_{split}2017.json"], "the panoptic JSON")
    document = read_annotations(path, Document, "COCO's panoptic JSON")
    labels = label_set_of(document.categories, path)
    pictures = picture_paths(document.images, image_folder(folder, split, images), path)
    known = [annotation for annotation in document.annotations if str(annotation.image_id) in pictures]
    _check_one_each(known, path)
    mask_folder = existing_folder(path.with_suffix("") if masks is None else folder / masks)
    names = [annotation.file_name for annotation in known]
    masks_of = dict(zip(names, paths_below(mask_folder, names, (".png",), path), strict=True))
    categories = {category.id for category in document.categories}
    reader = PanopticReader({masks_of[each.file_name]: _pack(each, categories) for each in known})
    pairs = [Pair(pictures[str(annotation.image_id)], masks_of[annotation.file_name], reader) for annotation in known]
    notes = warn(path, _findings(document, pictures, categories, str(path)))
    by_picture = tuple(sorted(pairs, key=lambda pair: pair.image))
    return SegmentationDataset("coco-panoptic", split, labels, by_picture, notes=notes)


def _check_one_each(annotations: Sequence[Annotation], path: Path) -> None:
    """Refuse two labels of one picture, and one label of two."""
    for what, values in (
        ("a label for two pictures", [annotation.file_name for annotation in annotations]),
        ("two labels for the picture", [str(annotation.image_id) for annotation in annotations]),
    ):
        twice = next((value for value, count in Counter(values).items() if count > 1), None)
        if twice is not None:
            raise InputError(f"{path} names {what}: {twice!r}; each picture has its own. Correct the JSON.")


def _findings(
    document: Document, pictures: Mapping[str, str], categories: Collection[int], path: str
) -> Sequence[Finding]:
    """What is dropped, by kind."""
    labelled = {str(annotation.image_id) for annotation in document.annotations}
    foreign = [annotation.file_name for annotation in document.annotations if str(annotation.image_id) not in pictures]
    unlabelled = [image.file_name for image in document.images if str(image.id) not in labelled]
    segments = (segment for annotation in document.annotations for segment in annotation.segments_info)
    unknown = [segment.category_id for segment in segments if segment.category_id not in categories]
    add = "Add them to the JSON, or take these out"
    texts: tuple[tuple[Kind, Sequence[object], str], ...] = (
        ("dropped", foreign, "labels of pictures that are not listed, which are dropped"),
        ("dropped", unknown, "segments of categories that are not listed, which are ignored"),
        ("left-out", unlabelled, "pictures without a label, which are left out"),
    )
    return [
        Finding(kind, path, f"{text}: {len(names):,} ({listing(distinct(names))})", add)
        for kind, names, text in texts
        if names
    ]


def _pack(annotation: Annotation, categories: Collection[int]) -> bytes:
    """Segment ids and their categories; -1 for a category that is not listed."""
    rows = [(each.id, each.category_id if each.category_id in categories else -1) for each in annotation.segments_info]
    ids = {identity for identity, _ in rows}
    if len(ids) < len(rows) or not all(0 < identity < 2**24 for identity in ids):
        raise InputError(
            f"{annotation.file_name} has a segment id twice, or one that is not in 1–{2**24 - 1}; each segment has its "
            "own. Correct the JSON."
        )
    return np.array(rows, np.int64).reshape(-1, 2).tobytes()
