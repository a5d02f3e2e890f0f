"""CamVid: 701 frames from a car in Cambridge, 11 classes; 11 in the files is void. Drawn streets lie as they do."""

from __future__ import annotations

from ..labels import dataset_labels
from .dataset import SegmentationDataset
from .layouts import Layout, build_from_layouts, resolve_split
from .loading import DATASETS
from .places import AnyPath

_SPLITS = ("train", "val", "test")


@DATASETS.register("camvid")
def build_camvid(root: AnyPath, split: str = "train", *, split_file: AnyPath | None = None) -> SegmentationDataset:
    """The folder with images/ and labels/, which have train/, val/ and test/, or with train/ and trainannot/, …"""
    split = resolve_split("camvid", split, _SPLITS)
    labels = dataset_labels("camvid")
    layouts = [
        Layout(f"images/{split}", f"labels/{split}", labels),
        Layout(split, f"{split}annot", labels),
        Layout(f"CamVid/{split}", f"CamVid/{split}annot", labels),
    ]
    return build_from_layouts("camvid", root, split, layouts, split_file=split_file)


@DATASETS.register("street-scenes")
def build_street_scenes(
    root: AnyPath, split: str = "train", *, split_file: AnyPath | None = None
) -> SegmentationDataset:
    """Drawn streets in CamVid's classes, as `segpipe data prepare street-scenes` makes them."""
    split = resolve_split("street-scenes", split, _SPLITS)
    layouts = [Layout(f"images/{split}", f"labels/{split}", dataset_labels("camvid"))]
    return build_from_layouts("street-scenes", root, split, layouts, split_file=split_file)
