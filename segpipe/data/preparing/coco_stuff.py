"""COCO-Stuff 164k: *_labelTrainIds.png with class indices 0–170 beside the published maps of raw ids 0–181."""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np

from segpipe.errors import InputError

from ..datasets.coco_stuff import LABEL_FOLDERS
from ..datasets.places import find_files
from ..label_files import read_label
from ..labels import dataset_labels, encode_label
from .plans import Plan, Task, shown_content

_CONVERTED = "_labelTrainIds"
_NOTE = (
    "Class indices as *_labelTrainIds.png, named as mmsegmentation's converter names them. segpipe reads the published "
    "maps too and gives the same classes; other programs want these files."
)


def plan_coco_stuff(root: Path) -> Plan:
    """A *_labelTrainIds.png beside each map in annotations/ (or stuffthingmaps_trainval2017/) of train and val.

    The eleven raw ids that are no class become 255, as unlabelled pixels have it; mmsegmentation's converter leaves
    them as they are.
    """
    folders = [root / top / split for top in LABEL_FOLDERS for split in ("train2017", "val2017")]
    maps = [path for folder in folders if os.path.isdir(folder) for path in find_files(folder, (".png",)).values()]
    raw = [path for path in maps if not path.stem.endswith(_CONVERTED)]
    if not raw:
        raise InputError(
            f"{root} has no maps of COCO-Stuff: it holds {shown_content(root)}. Right would be "
            "annotations/train2017/000000000009.png and annotations/val2017/…. Unpack stuffthingmaps_trainval2017.zip "
            "into annotations/; nobody has published a digest of it, so --download leaves it to you: "
            "http://calvin.inf.ed.ac.uk/wp-content/uploads/data/cocostuffdataset/stuffthingmaps_trainval2017.zip."
        )
    return Plan(_NOTE, tuple(Task((path.with_stem(path.stem + _CONVERTED),), partial(_convert, path)) for path in raw))


def _convert(path: Path) -> Sequence[np.ndarray]:
    return (encode_label(read_label(path), dataset_labels("coco-stuff164k"), origin=str(path)),)
