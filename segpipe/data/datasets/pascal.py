"""PASCAL VOC 2012 and PASCAL-Context, which share their pictures and lists of names."""

from __future__ import annotations

from ..labels import dataset_labels
from .dataset import SegmentationDataset
from .layouts import Layout, build_from_layouts, resolve_split
from .loading import DATASETS
from .places import AnyPath

_SPLITS = ("train", "val", "trainval")


@DATASETS.register("pascal-voc")
def build_pascal_voc(root: AnyPath, split: str = "train", *, split_file: AnyPath | None = None) -> SegmentationDataset:
    """VOC2012, or a folder above it: 21 classes with the background; the outlines, 255, are ignored.

    Pictures are those that ImageSets/Segmentation/<split>.txt names. The 10582 pictures of the enlarged training set
    (SBD) are `split_file="ImageSets/Segmentation/trainaug.txt"` with labels in SegmentationClassAug/, where that folder
    has all of them.
    """
    split = resolve_split("pascal-voc", split, (*_SPLITS, "trainaug"))
    kinds = ("SegmentationClassAug",) if split == "trainaug" else ("SegmentationClass",)
    return _build("pascal-voc", root, split, kinds=kinds, lists="Segmentation", year=2012, split_file=split_file)


@DATASETS.register("pascal-context")
def build_pascal_context(
    root: AnyPath, split: str = "train", *, split_file: AnyPath | None = None
) -> SegmentationDataset:
    """VOC2010 with SegmentationClassContext/, or {train,val}/{image,label}: 60 classes with the background.

    Label files hold 0–59, as the usual converters write them.
    """
    return _build_context("pascal-context", root, split, split_file)


@DATASETS.register("pascal-context-59")
def build_pascal_context_59(
    root: AnyPath, split: str = "train", *, split_file: AnyPath | None = None
) -> SegmentationDataset:
    """The same files as pascal-context; the background is ignored, so a value of v is class v - 1."""
    return _build_context("pascal-context-59", root, split, split_file)


def _build_context(name: str, root: AnyPath, split: str, split_file: AnyPath | None) -> SegmentationDataset:
    split = resolve_split(name, split, _SPLITS)
    kinds, lists = ("SegmentationClassContext",), "SegmentationContext"
    return _build(name, root, split, kinds=kinds, lists=lists, year=2010, split_file=split_file)


def _build(
    name: str,
    root: AnyPath,
    split: str,
    *,
    kinds: tuple[str, ...],
    lists: str,
    year: int,
    split_file: AnyPath | None,
) -> SegmentationDataset:
    """A VOCdevkit folder `kinds` of labels, with ImageSets/`lists`."""
    layouts = [
        Layout(
            images=f"{top}JPEGImages",
            labels=f"{top}{kind}",
            label_set=dataset_labels(name),
            image_endings=(".jpg",),
            label_endings=(".png",),
            lists=(f"{top}ImageSets/{lists}/{split}.txt",),
            needs_list=True,
        )
        for top in ("", f"VOC{year}/", f"VOCdevkit/VOC{year}/")
        for kind in kinds
    ]
    if year == 2010:
        layouts.append(Layout(f"{split}/image", f"{split}/label", dataset_labels(name)))
    return build_from_layouts(name, root, split, layouts, split_file=split_file)
