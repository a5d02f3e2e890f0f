"""Open and prepare PASCAL VOC 2012 and PASCAL-Context, which share their images and lists of names."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import msgspec
import numpy as np

from segpipe.errors import InputError

from ..annotations import DrawingBudget, check_size, read_annotations
from ..label_encoding import encode_label
from ..label_sets import dataset_labels, published_values
from ..preparing.plans import Archive, FilePlan, FileTask, Preparer, shown_content
from ..rle import decode_mask
from .dataset import SegmentationDataset
from .finding_files import AnyPath
from .layouts import Layout, build_from_layouts, resolve_split
from .loading import DATASETS, PREPARERS

_SPLITS = ("train", "val", "trainval")
RAW_IDS = (
    0, 2, 9, 18, 19, 22, 23, 25, 31, 33, 34, 44, 45, 46, 59, 65, 68, 72, 80, 85, 98, 104, 105, 113, 115, 144, 158, 159,
    162, 187, 189, 207, 220, 232, 258, 259, 260, 284, 295, 296, 308, 324, 326, 347, 349, 354, 355, 360, 366, 368, 397,
    415, 416, 420, 424, 427, 440, 445, 454, 458,
)  # fmt: skip
"""The 60 of PASCAL-Context's 459 numbers that are classes, in ascending order: 0 background, 2 aeroplane, …, 458 wood.

A label's value is the place here, as in mmsegmentation's and PyTorch-Encoding's converters and in published models.
"""
_TOPS = ("", "VOC2010", "VOCdevkit/VOC2010")
_DOCUMENT = "trainval_merged.json"


class ContextImage(msgspec.Struct):
    """An image and the split that it belongs to."""

    image_id: int
    file_name: str
    height: int
    width: int
    phase: str


class ContextRuns(msgspec.Struct):
    """A mask in COCO's encoding."""

    size: tuple[int, int]
    counts: str | list[int]


class ContextMask(msgspec.Struct):
    """The pixels of one thing, or of one kind of stuff."""

    image_id: int
    category_id: int
    segmentation: ContextRuns


class ContextDocument(msgspec.Struct):
    """What is needed of trainval_merged.json; it holds a lot more."""

    images: list[ContextImage]
    annos_segmentation: list[ContextMask]


@DATASETS.register("pascal-voc")
def build_pascal_voc(root: AnyPath, split: str = "train", *, split_file: AnyPath | None = None) -> SegmentationDataset:
    """Open VOC2012, or a folder above it: 21 classes with the background; the outlines, 255, are ignored.

    Images are those that ImageSets/Segmentation/<split>.txt names. The 10582 images of the enlarged training set
    (SBD) are `split_file="ImageSets/Segmentation/trainaug.txt"` with labels in SegmentationClassAug/, where that folder
    has all of them.
    """
    split = resolve_split("pascal-voc", split, (*_SPLITS, "trainaug"))
    labels = "SegmentationClassAug" if split == "trainaug" else "SegmentationClass"
    return _build("pascal-voc", root, split, labels=labels, lists="Segmentation", year=2012, split_file=split_file)


@DATASETS.register("pascal-context")
def build_pascal_context(
    root: AnyPath, split: str = "train", *, split_file: AnyPath | None = None
) -> SegmentationDataset:
    """Open VOC2010 with SegmentationClassContext/, or {train,val}/{image,label}: 60 classes with the background.

    Label files hold 0–59, as the usual converters write them.
    """
    return _build_context("pascal-context", root, split, split_file)


@DATASETS.register("pascal-context-59")
def build_pascal_context_59(
    root: AnyPath, split: str = "train", *, split_file: AnyPath | None = None
) -> SegmentationDataset:
    """Open the files of pascal-context; the background is ignored, so a value of v is class v - 1."""
    return _build_context("pascal-context-59", root, split, split_file)


def plan_pascal_context(root: Path) -> FilePlan:
    """Plan SegmentationClassContext/*.png with 0–59, and lists of train, val and trainval that are not there yet."""
    voc = _find_voc(root)
    lists = voc / "ImageSets" / "SegmentationContext"
    labels = voc / "SegmentationClassContext"
    document = _read_document(_find_document(root, voc))
    masks: dict[int, list[ContextMask]] = defaultdict(list)
    for mask in document.annos_segmentation:
        masks[mask.image_id].append(mask)
    images = [image for image in document.images if image.phase in ("train", "val")]
    tasks = [FileTask((labels / f"{_stem(each)}.png",), partial(_draw, each, masks[each.image_id])) for each in images]
    tasks += [
        FileTask((lists / f"{split}.txt",), partial(_list, [_stem(each) for each in images if each.phase in phases]))
        for split, phases in (("train", ("train",)), ("val", ("val",)), ("trainval", ("train", "val")))
    ]
    return FilePlan(
        f"{len(images)} labels of 60 classes, with the background as 0, and the lists of images.", tuple(tasks)
    )


def _draw(image: ContextImage, masks: Sequence[ContextMask]) -> Sequence[np.ndarray]:
    """Draw the (H, W) uint8 class indices 0–59 of one image; numbers that are not a class are background."""
    raw = np.zeros((image.height, image.width), np.uint16)
    budget = DrawingBudget()
    for mask in masks:
        budget.spend("drawn_pixels", raw.size)
        raw[_decode(mask, image) != 0] = mask.category_id if mask.category_id in RAW_IDS else 0
    labels = msgspec.structs.replace(dataset_labels("pascal-context"), raw_ids=RAW_IDS)
    return (encode_label(raw, labels, origin=image.file_name),)


def _build_context(name: str, root: AnyPath, split: str, split_file: AnyPath | None) -> SegmentationDataset:
    split = resolve_split(name, split, _SPLITS)
    labels, lists = "SegmentationClassContext", "SegmentationContext"
    return _build(name, root, split, labels=labels, lists=lists, year=2010, split_file=split_file)


def _build(
    name: str,
    root: AnyPath,
    split: str,
    *,
    labels: str,
    lists: str,
    year: int,
    split_file: AnyPath | None,
) -> SegmentationDataset:
    """Open a VOCdevkit folder with labels in a folder of this name, and ImageSets/`lists`."""
    layouts = [
        Layout(
            images=f"{top}JPEGImages",
            labels=f"{top}{labels}",
            label_set=dataset_labels(name),
            image_endings=(".jpg",),
            label_endings=(".png",),
            lists=(f"{top}ImageSets/{lists}/{split}.txt",),
            needs_list=True,
        )
        for top in ("", f"VOC{year}/", f"VOCdevkit/VOC{year}/")
    ]
    if year == 2010:
        layouts.append(Layout(f"{split}/image", f"{split}/label", dataset_labels(name)))
    values = published_values(name, void=(0,) if name == "pascal-context-59" else ())
    return build_from_layouts(name, root, split, layouts, split_file=split_file, values=values)


def _find_document(root: Path, voc: Path) -> Path:
    found = next((folder / _DOCUMENT for folder in (voc, voc.parent, root) if os.path.isfile(folder / _DOCUMENT)), None)
    if found is None:
        raise InputError(
            f"There is no {_DOCUMENT} in {voc} or {root}; the masks are made from it. Put it there, or let --download "
            "fetch it."
        )
    return found


def _find_voc(root: Path) -> Path:
    """Return the first folder at or below the root that holds VOC2010's images."""
    found = next((root / top for top in _TOPS if os.path.exists(root / top / "JPEGImages")), None)
    if found is None:
        places = ", ".join(f"{top}/JPEGImages" if top else "JPEGImages" for top in _TOPS)
        raise InputError(
            f"{root} has no JPEGImages: it holds {shown_content(root)}. Right would be {places}. Unpack "
            "VOCtrainval_03-May-2010.tar there, or let segpipe data prepare pascal-context ROOT --download do it."
        )
    return found


def _read_document(path: Path) -> ContextDocument:
    document = read_annotations(path, ContextDocument, "PASCAL-Context's JSON, which has images and annos_segmentation")
    for image in document.images:
        check_size(image.height, image.width, origin=f"{path}: {image.file_name}")
    return document


def _stem(image: ContextImage) -> str:
    """Return 2008_000002 of 2008_000002.jpg."""
    stem, _, ending = image.file_name.rpartition(".")
    if not stem.replace("_", "").isalnum() or ending != "jpg":
        raise InputError(f"{_DOCUMENT} names the image {image.file_name!r}; 2008_000002.jpg is right. Fetch it again.")
    return stem


def _list(stems: Sequence[str]) -> Sequence[bytes]:
    return ("".join(f"{stem}\n" for stem in stems).encode(),)


def _decode(mask: ContextMask, image: ContextImage) -> np.ndarray:
    size = (image.height, image.width)
    if mask.segmentation.size != size:
        raise InputError(
            f"{_DOCUMENT} has a mask of {mask.segmentation.size} for {image.file_name}, which is {size} (height, "
            "width); they must be equal. Fetch it again."
        )
    return decode_mask(mask.segmentation.counts, size)


_VOC2012, _VOC2010 = (
    Archive(
        f"http://host.robots.ox.ac.uk/pascal/VOC/voc{year}/VOCtrainval_{day}-{year}.tar",
        f"sha256:{digest}",
        top=f"VOCdevkit/VOC{year}",
        folder=f"VOCdevkit/VOC{year}",
        signs=(f"VOCdevkit/VOC{year}/JPEGImages", f"VOC{year}/JPEGImages", "JPEGImages"),
    )
    for year, day, digest in (  # torchvision, prototype/datasets/_builtin/voc.py
        (2012, "11-May", "e14f763270cf193d0b5f74b169f44157a4b0c6efa708f4dd0ff78ee691763bcb"),
        (2010, "03-May", "1af4189cbe44323ab212bff7afbc7d0f55a267cc191eb3aac911037887e5c7d4"),
    )
)
_CONTEXT = Archive(
    "https://codalabuser.blob.core.windows.net/public/trainval_merged.json",
    digest="sha1:169325d9f7e9047537fedca7b04de4dddf10b881",  # Segmenter, segm/scripts/prepare_pcontext.py
    top="",
    folder="trainval_merged.json",
    signs=tuple(f"{top}trainval_merged.json" for top in ("", "VOC2010/", "VOCdevkit/", "VOCdevkit/VOC2010/")),
)
PREPARERS.register("pascal-voc")(Preparer(origin="VOC2012", archives=(_VOC2012,)))
for _name in ("pascal-context", "pascal-context-59"):
    PREPARERS.register(_name)(
        Preparer(
            plan_pascal_context,
            "VOC2010 and trainval_merged.json",
            (_VOC2010, _CONTEXT),
            makes="masks and lists from trainval_merged.json",
        )
    )
