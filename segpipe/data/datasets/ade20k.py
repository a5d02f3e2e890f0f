"""ADE20K in its scene-parsing form: 150 classes; a value of 0 is unlabelled, v is class v - 1."""

from __future__ import annotations

from ..labels import dataset_labels
from .dataset import SegmentationDataset
from .layouts import Layout, build_from_layouts, resolve_split
from .loading import DATASETS
from .places import AnyPath

_FOLDERS = {"train": "training", "val": "validation"}


@DATASETS.register("ade20k")
def build_ade20k(root: AnyPath, split: str = "train", *, split_file: AnyPath | None = None) -> SegmentationDataset:
    """ADEChallengeData2016, or the folder that it lies in: images/ and annotations/ with training/ and validation/."""
    split = resolve_split("ade20k", split, tuple(_FOLDERS))
    layouts = [
        Layout(f"{top}images/{_FOLDERS[split]}", f"{top}annotations/{_FOLDERS[split]}", dataset_labels("ade20k"))
        for top in ("", "ADEChallengeData2016/")
    ]
    return build_from_layouts("ade20k", root, split, layouts, split_file=split_file)
