"""COCO-Stuff 164k: 171 classes of things and stuff; label files hold raw ids 0–181 and 255."""

from __future__ import annotations

from ..labels import dataset_labels, without_raw_ids
from .dataset import SegmentationDataset
from .layouts import Layout, build_from_layouts, resolve_split
from .loading import DATASETS
from .places import AnyPath

_FOLDERS = {"train": "train2017", "val": "val2017"}
LABEL_FOLDERS = ("annotations", "stuffthingmaps_trainval2017", "stuffthingmaps")


@DATASETS.register("coco-stuff164k")
def build_coco_stuff(root: AnyPath, split: str = "train", *, split_file: AnyPath | None = None) -> SegmentationDataset:
    """The folder with train2017/ and val2017/, or images/ with these, and annotations/ with the same.

    Converted *_labelTrainIds.png, which hold class indices, are read where each picture has one, else the published
    *.png.
    A train.txt or val.txt beside the folders chooses pictures.
    """
    split = resolve_split("coco-stuff164k", split, tuple(_FOLDERS))
    raw = dataset_labels("coco-stuff164k")
    layouts = [
        Layout(
            images=f"{images}{_FOLDERS[split]}",
            labels=f"{labels}/{_FOLDERS[split]}",
            label_set=label_set,
            label_endings=(ending,),
            lists=(f"{split}.txt",),
            needs_all=label_set is not raw,
        )
        # Every *_labelTrainIds.png is also a *.png, so these come first.
        for ending, label_set in (("_labelTrainIds.png", without_raw_ids(raw)), (".png", raw))
        for images in ("images/", "")
        for labels in LABEL_FOLDERS
    ]
    return build_from_layouts("coco-stuff164k", root, split, layouts, split_file=split_file)
