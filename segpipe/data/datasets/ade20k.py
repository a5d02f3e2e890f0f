"""Open ADE20K in its scene-parsing form of 150 classes, where 0 is unlabeled and v is class v - 1."""

from __future__ import annotations

from ..label_sets import dataset_labels, published_values
from ..preparing.plans import Archive, Preparer
from .dataset import SegmentationDataset
from .finding_files import AnyPath
from .layouts import Layout, build_from_layouts, resolve_split
from .loading import DATASETS, PREPARERS

_FOLDERS = {"train": "training", "val": "validation"}


@DATASETS.register("ade20k")
def build_ade20k(root: AnyPath, split: str = "train", *, split_file: AnyPath | None = None) -> SegmentationDataset:
    """Open ADEChallengeData2016 or its parent: images/ and annotations/ with training/ and validation/."""
    values = published_values("ade20k", void=(0,), has_ignored=False)
    split = resolve_split("ade20k", split, tuple(_FOLDERS))
    layouts = [
        Layout(f"{top}images/{_FOLDERS[split]}", f"{top}annotations/{_FOLDERS[split]}", dataset_labels("ade20k"))
        for top in ("", "ADEChallengeData2016/")
    ]
    return build_from_layouts("ade20k", root, split, layouts, split_file=split_file, values=values)


# The digest is GluonCV's, scripts/datasets/ade20k.py, and Segmenter's.
PREPARERS.register("ade20k")(
    Preparer(
        origin="ADEChallengeData2016.zip",
        archives=(
            Archive(
                "http://data.csail.mit.edu/places/ADEchallenge/ADEChallengeData2016.zip",
                digest="sha1:219e1696abb36c8ba3a3afe7fb2f4b4606a897c7",
                top="ADEChallengeData2016",
                folder="ADEChallengeData2016",
                signs=("ADEChallengeData2016/images", "images"),
            ),
        ),
    )
)
