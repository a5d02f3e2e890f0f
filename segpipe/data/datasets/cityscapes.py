"""Cityscapes: streets of 50 cities, 19 classes."""

from __future__ import annotations

from ..labels import dataset_labels, without_raw_ids
from .dataset import SegmentationDataset
from .layouts import Layout, build_from_layouts, resolve_split
from .loading import DATASETS
from .places import AnyPath

_SPLITS = ("train", "val", "test", "train_extra")


@DATASETS.register("cityscapes")
def build_cityscapes(
    root: AnyPath, split: str = "train", *, annotations: str = "gtFine", split_file: AnyPath | None = None
) -> SegmentationDataset:
    """The folder with leftImg8bit/ and gtFine/, whose splits have a sub-folder per city.

    The published *_labelIds.png are read where each picture has one, else *_labelTrainIds.png, which hold class
    indices.

    Args:
        root: the folder.
        split: train, val, test (whose public labels are empty), or train_extra.
        annotations: gtFine, or gtCoarse for the coarse labels.
        split_file: a list of pictures such as aachen/aachen_000000_000019.
    """
    split = resolve_split("cityscapes", split, _SPLITS)
    labels = dataset_labels("cityscapes")
    layouts = [
        Layout(
            images=f"leftImg8bit/{split}",
            labels=f"{annotations}/{split}",
            label_set=label_set,
            image_endings=("_leftImg8bit.png",),
            label_endings=(f"_{annotations}_{kind}.png",),
            needs_all=kind == "labelIds",
        )
        for kind, label_set in (("labelIds", labels), ("labelTrainIds", without_raw_ids(labels)))
    ]
    return build_from_layouts("cityscapes", root, split, layouts, split_file=split_file)
