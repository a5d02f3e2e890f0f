"""COCO's panoptic form: PNGs whose colours are segment ids, and a JSON that says each segment's category."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np

from segpipe.errors import InputError

from ..labels import ColorTable, read_color_label
from .coco_documents import (
    Category,
    Image,
    first_existing,
    image_folder,
    label_set_of,
    picture_paths,
    read_document,
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
    """File name → (segments, 2) int64 of segment id and category id, as bytes; compact where there are 100 000."""

    def __call__(self, path: str) -> np.ndarray:
        segments = np.frombuffer(self.segments[Path(path).name], np.int64).reshape(-1, 2)
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
    document = read_document(path, Document)
    labels = label_set_of(document.categories, path)
    pictures = picture_paths(document.images, image_folder(folder, split, images), path)
    mask_folder = path.with_suffix("") if masks is None else folder / masks
    _check_pictures(document, path)
    reader = PanopticReader({Path(annotation.file_name).name: _pack(annotation) for annotation in document.annotations})
    pairs = [
        Pair(pictures[annotation.image_id], str(mask_folder / annotation.file_name), reader)
        for annotation in document.annotations
    ]
    return SegmentationDataset("coco-panoptic", split, labels, tuple(sorted(pairs, key=lambda pair: pair.image)))


def _check_pictures(document: Document, path: Path) -> None:
    """Each annotation needs its picture, and a file of its own."""
    pictures = {image.id for image in document.images}
    unknown = next((entry for entry in document.annotations if entry.image_id not in pictures), None)
    if unknown is not None:
        raise InputError(
            f"{path}: {unknown.file_name} is for picture {unknown.image_id!r}, which the JSON does not list."
        )
    if len({Path(annotation.file_name).name for annotation in document.annotations}) < len(document.annotations):
        raise InputError(f"{path} names a PNG for two pictures; each picture has its own. Correct the JSON.")


def _pack(annotation: Annotation) -> bytes:
    rows = [(segment.id, segment.category_id) for segment in annotation.segments_info]
    if len({identity for identity, _ in rows}) < len(rows) or any(identity == 0 for identity, _ in rows):
        raise InputError(
            f"{annotation.file_name} has a segment id twice, or 0; each segment has its own from 1. Correct the JSON."
        )
    return np.array(rows, np.int64).reshape(-1, 2).tobytes()
