"""Open and prepare COCO-Stuff 164k, with 171 classes of things and stuff, whose files hold raw ids 0–181 and 255."""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np

from segpipe.errors import InputError

from ..label_encoding import encode_label
from ..label_files import read_label
from ..label_sets import dataset_labels, published_values, without_raw_ids
from ..preparing.plans import Archive, FilePlan, FileTask, Preparer, shown_content
from .dataset import SegmentationDataset
from .finding_files import AnyPath, find_files
from .layouts import Layout, build_from_layouts, resolve_split
from .loading import DATASETS, PREPARERS

_FOLDERS = {"train": "train2017", "val": "val2017"}
LABEL_FOLDERS = ("annotations", "stuffthingmaps_trainval2017", "stuffthingmaps")
_CONVERTED = "_labelTrainIds"
_NOTE = (
    "Class indices as *_labelTrainIds.png, named as mmsegmentation's converter names them. segpipe reads the published "
    "maps too and gives the same classes; other programs want these files."
)
_ARCHIVES = tuple(
    Archive(
        f"http://images.cocodataset.org/zips/{name}.zip",
        f"sha256:{digest}",
        top=name,
        folder=f"images/{name}",
        signs=(f"images/{name}", name),
        size=size,
    )
    for name, size, digest in (  # torchvision, prototype/datasets/_builtin/coco.py
        ("train2017", 19336861798, "69a8bb58ea5f8f99d24875f21416de2e9ded3178e903f1f7603e283b9e06d929"),
        ("val2017", 815585330, "4f7e2ccb2866ec5041993c9cf2a952bbed69647b115d0f74da7ce8f4bef82f05"),
    )
)


@DATASETS.register("coco-stuff164k")
def build_coco_stuff(root: AnyPath, split: str = "train", *, split_file: AnyPath | None = None) -> SegmentationDataset:
    """Open the folder with train2017/ and val2017/, or images/ with these, and annotations/ with the same.

    Converted *_labelTrainIds.png, which hold class indices, are read where each image has one, else the published
    *.png.
    A train.txt or val.txt beside the folders chooses images.
    """
    values = published_values("coco-stuff164k")
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
    return build_from_layouts("coco-stuff164k", root, split, layouts, split_file=split_file, values=values)


def plan_coco_stuff(root: Path) -> FilePlan:
    """Plan a *_labelTrainIds.png beside each map of train and val in annotations/ or stuffthingmaps_trainval2017/.

    The eleven raw ids that are not a class become 255, the value of unlabeled pixels; mmsegmentation's converter leaves
    them as they are.
    """
    folders = [root / top / split for top in LABEL_FOLDERS for split in ("train2017", "val2017")]
    maps = [path for folder in folders if os.path.isdir(folder) for path in find_files(folder, (".png",)).values()]
    raw = [path for path in maps if not path.stem.endswith(_CONVERTED)]
    if not raw:
        raise InputError(
            f"{root} has no maps of COCO-Stuff: it holds {shown_content(root)}. Right would be "
            "annotations/train2017/000000000009.png and annotations/val2017/…. Unpack stuffthingmaps_trainval2017.zip "
            "into annotations/; no digest of it is published, so --download leaves it to you: "
            "http://calvin.inf.ed.ac.uk/wp-content/uploads/data/cocostuffdataset/stuffthingmaps_trainval2017.zip."
        )
    return FilePlan(
        _NOTE, tuple(FileTask((path.with_stem(path.stem + _CONVERTED),), partial(_convert, path)) for path in raw)
    )


def _convert(path: Path) -> Sequence[np.ndarray]:
    return (encode_label(read_label(path), dataset_labels("coco-stuff164k"), origin=str(path)),)


PREPARERS.register("coco-stuff164k")(
    Preparer(
        plan_coco_stuff, "train2017.zip, val2017.zip", _ARCHIVES, makes="*_labelTrainIds.png from the published maps"
    )
)
