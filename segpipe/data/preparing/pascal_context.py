"""PASCAL-Context: masks of 60 classes and lists of pictures from trainval_merged.json, for VOC2010's pictures.

The JSON is that of the PASCAL in Detail challenge. Its masks are runs in COCO's encoding; a later one covers an earlier
one, and what none covers is background, as its own library's `Detail.getMask` has it.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import msgspec
import numpy as np

from segpipe.configuration import LabelSet
from segpipe.errors import InputError

from ..annotations import DrawingBudget, check_size, read_annotations
from ..labels import dataset_labels, encode_label
from ..rle import counts_to_mask, decode_mask
from .plans import Plan, Task, first_folder

RAW_IDS = (
    0, 2, 9, 18, 19, 22, 23, 25, 31, 33, 34, 44, 45, 46, 59, 65, 68, 72, 80, 85, 98, 104, 105, 113, 115, 144, 158, 159,
    162, 187, 189, 207, 220, 232, 258, 259, 260, 284, 295, 296, 308, 324, 326, 347, 349, 354, 355, 360, 366, 368, 397,
    415, 416, 420, 424, 427, 440, 445, 454, 458,
)  # fmt: skip
"""Which of PASCAL-Context's 459 numbers are the 60 classes, ascending: 0 background, 2 aeroplane, 9 bag, …, 458 wood.

A label's value is the place here, as mmsegmentation's and PyTorch-Encoding's converters have it, and so published
models too. The numbers ascend with the names.
"""

_TOPS = ("", "VOC2010", "VOCdevkit/VOC2010")
_DOCUMENT = "trainval_merged.json"
_ADVICE = "Unpack VOCtrainval_03-May-2010.tar there, or let segpipe data prepare pascal-context ROOT --download do it."


class Picture(msgspec.Struct):
    """A picture and the split that it belongs to."""

    image_id: int
    file_name: str
    height: int
    width: int
    phase: str


class Runs(msgspec.Struct):
    """A mask in COCO's encoding."""

    size: tuple[int, int]
    counts: str | list[int]


class Mask(msgspec.Struct):
    """The pixels of one thing, or of one kind of stuff."""

    image_id: int
    category_id: int
    segmentation: Runs


class Document(msgspec.Struct):
    """What is needed of trainval_merged.json; it holds a lot more."""

    images: list[Picture]
    annos_segmentation: list[Mask]


def plan_pascal_context(root: Path) -> Plan:
    """SegmentationClassContext/*.png with 0–59, and lists of train, val and trainval that are not there yet."""
    voc = first_folder(root, _TOPS, "JPEGImages", _ADVICE)
    lists = voc / "ImageSets" / "SegmentationContext"
    labels = voc / "SegmentationClassContext"
    document = _read_document(_find_document(root, voc))
    masks: dict[int, list[Mask]] = defaultdict(list)
    for mask in document.annos_segmentation:
        masks[mask.image_id].append(mask)
    pictures = [picture for picture in document.images if picture.phase in ("train", "val")]
    tasks = [Task((labels / f"{_stem(each)}.png",), partial(_draw, each, masks[each.image_id])) for each in pictures]
    tasks += [
        Task((lists / f"{split}.txt",), partial(_list, [_stem(each) for each in pictures if each.phase in phases]))
        for split, phases in (("train", ("train",)), ("val", ("val",)), ("trainval", ("train", "val")))
    ]
    return Plan(
        f"{len(pictures)} labels of 60 classes, with the background as 0, and the lists of pictures.", tuple(tasks)
    )


def draw_label(picture: Picture, masks: Sequence[Mask]) -> np.ndarray:
    """(H, W) uint8 class indices 0–59 of one picture; numbers that are no class are background."""
    raw = np.zeros((picture.height, picture.width), np.uint16)
    budget = DrawingBudget()
    for mask in masks:
        budget.spend("drawn_pixels", raw.size)
        raw[_decode(mask, picture) != 0] = mask.category_id if mask.category_id in RAW_IDS else 0
    return encode_label(raw, _label_set(), origin=picture.file_name)


def _find_document(root: Path, voc: Path) -> Path:
    found = next((folder / _DOCUMENT for folder in (voc, voc.parent, root) if os.path.isfile(folder / _DOCUMENT)), None)
    if found is None:
        raise InputError(
            f"There is no {_DOCUMENT} in {voc} or {root}; the masks are made from it. Put it there, or let --download "
            "fetch it."
        )
    return found


def _read_document(path: Path) -> Document:
    document = read_annotations(path, Document, "PASCAL-Context's JSON, which has images and annos_segmentation")
    for picture in document.images:
        check_size(picture.height, picture.width, origin=f"{path}: {picture.file_name}")
    return document


def _stem(picture: Picture) -> str:
    """2008_000002 of 2008_000002.jpg."""
    stem, _, ending = picture.file_name.rpartition(".")
    if not stem.replace("_", "").isalnum() or ending != "jpg":
        raise InputError(
            f"{_DOCUMENT} names the picture {picture.file_name!r}; 2008_000002.jpg is right. Fetch it again."
        )
    return stem


def _draw(picture: Picture, masks: Sequence[Mask]) -> Sequence[np.ndarray]:
    return (draw_label(picture, masks),)


def _list(stems: Sequence[str]) -> Sequence[bytes]:
    return ("".join(f"{stem}\n" for stem in stems).encode(),)


def _decode(mask: Mask, picture: Picture) -> np.ndarray:
    size = (picture.height, picture.width)
    if mask.segmentation.size != size:
        raise InputError(
            f"{_DOCUMENT} has a mask of {mask.segmentation.size} for {picture.file_name}, which is {size} (height, "
            "width); they must be equal. Fetch it again."
        )
    counts = mask.segmentation.counts
    return decode_mask(counts, size) if isinstance(counts, str) else counts_to_mask(counts, size)


def _label_set() -> LabelSet:
    return msgspec.structs.replace(dataset_labels("pascal-context"), raw_ids=RAW_IDS)
