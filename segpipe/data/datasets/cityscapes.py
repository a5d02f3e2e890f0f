"""Open and prepare Cityscapes, streets of 50 cities with 19 classes."""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import msgspec
import numpy as np
from PIL import Image, ImageDraw

from segpipe.errors import InputError

from ..annotations import FARTHEST, DrawingBudget, check_size, read_annotations
from ..label_encoding import encode_label
from ..label_files import read_label
from ..label_sets import dataset_labels, published_values, without_raw_ids
from ..preparing.plans import FilePlan, FileTask, Preparer, shown_content
from .dataset import SegmentationDataset
from .finding_files import AnyPath, find_files
from .layouts import Layout, build_from_layouts, resolve_split
from .loading import DATASETS, PREPARERS

_SPLITS = ("train", "val", "test", "train_extra")
NAMES = (
    "unlabeled", "ego vehicle", "rectification border", "out of roi", "static", "dynamic", "ground", "road", "sidewalk",
    "parking", "rail track", "building", "wall", "fence", "guard rail", "bridge", "tunnel", "pole", "polegroup",
    "traffic light", "traffic sign", "vegetation", "terrain", "sky", "person", "rider", "car", "truck", "bus",
    "caravan", "trailer", "train", "motorcycle", "bicycle",
)  # fmt: skip
"""What Cityscapes calls its ids, in order from 0. A "license plate" has no id and is not drawn."""
_NOTE = (
    "Class indices (train ids) as *_labelTrainIds.png. segpipe reads *_labelIds.png too and gives the same classes; "
    "other programs want these files, and so do folders with polygons alone."
)


class Outline(msgspec.Struct):
    """An outline in a *_polygons.json."""

    label: str
    polygon: list[tuple[float, float]]
    deleted: int | bool = False


class OutlineDocument(msgspec.Struct, rename={"height": "imgHeight", "width": "imgWidth"}):
    """A *_polygons.json: the later an outline, the nearer to the camera."""

    height: int
    width: int
    objects: list[Outline]


@DATASETS.register("cityscapes")
def build_cityscapes(
    root: AnyPath, split: str = "train", *, annotations: str = "gtFine", split_file: AnyPath | None = None
) -> SegmentationDataset:
    """Open the folder with leftImg8bit/ and gtFine/, whose splits have a sub-folder per city.

    The published *_labelIds.png are read where each image has one, else *_labelTrainIds.png, which hold class
    indices.

    Args:
        split: train, val, test (whose public labels are empty), or train_extra.
        annotations: gtFine, or gtCoarse for the coarse labels.
        split_file: a list of images such as aachen/aachen_000000_000019.
    """
    values = published_values("cityscapes", void=(*range(7), 9, 10, 14, 15, 16, 18, 29, 30))
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
    return build_from_layouts("cityscapes", root, split, layouts, split_file=split_file, values=values)


def plan_cityscapes(root: Path, *, annotations: str = "gtFine") -> FilePlan:
    """Plan a *_labelTrainIds.png for every *_labelIds.png, and for every *_polygons.json without one.

    Args:
        annotations: gtFine, or gtCoarse for the coarse labels.
    """
    folder = root / annotations
    ids, outlines = (
        find_files(folder, (f"_{annotations}_{kind}",)) if os.path.isdir(folder) else {}
        for kind in ("labelIds.png", "polygons.json")
    )
    if not ids and not outlines:
        raise InputError(
            f"{root} has no labels of Cityscapes: it holds {shown_content(root)}. Right would be "
            f"{annotations}/train/aachen/aachen_…_{annotations}_labelIds.png or …_polygons.json. Unpack the archive of "
            f"{annotations} there; it is at https://www.cityscapes-dataset.com/downloads/, behind a login."
        )
    sources = [*ids.values(), *(path for key, path in outlines.items() if key not in ids)]
    return FilePlan(_NOTE, tuple(FileTask((_target(path),), partial(_encode, path)) for path in sources))


def draw_label_ids(document: OutlineDocument, *, origin: str) -> np.ndarray:
    """Draw (H, W) uint8 of label ids as cityscapesscripts' json2labelImg does.

    Outlines are drawn with Pillow in the order of the file, deleted ones and license plates are left out, and
    "cargroup" is drawn as "car". Pixels that nothing covers are 0, unlabeled.

    Raises:
        InputError: a name that Cityscapes does not have, or an outline of fewer than two points.
    """
    image = Image.new("L", (document.width, document.height), 0)
    drawer = ImageDraw.Draw(image)
    budget = DrawingBudget()
    for shape in document.objects:
        if shape.deleted or shape.label in ("license plate", "license plategroup"):
            continue
        if len(shape.polygon) < 2:
            raise InputError(
                f"{origin} has a {shape.label} of {len(shape.polygon)} points; two are needed. Correct it."
            )
        if any(not -FARTHEST <= place <= FARTHEST for point in shape.polygon for place in point):
            raise InputError(f"{origin} has a {shape.label} with a coordinate beyond ±{FARTHEST:.0e}. Correct it.")
        # Pillow looks at each edge for each row.
        budget.spend("polygon_crossings", len(shape.polygon) * document.height)
        drawer.polygon(shape.polygon, fill=_id_of(shape.label, origin))
    return np.array(image)


def read_outlines(path: Path) -> OutlineDocument:
    """Read a *_polygons.json; InputError if it is not one."""
    what = "a polygons.json of Cityscapes, with imgHeight, imgWidth and objects"
    document = read_annotations(path, OutlineDocument, what)
    check_size(document.height, document.width, origin=str(path))
    return document


def _target(path: Path) -> Path:
    return path.with_name(f"{path.name.rpartition('_')[0]}_labelTrainIds.png")


def _encode(path: Path) -> Sequence[np.ndarray]:
    has_outlines = path.suffix.lower() == ".json"
    raw = draw_label_ids(read_outlines(path), origin=str(path)) if has_outlines else read_label(path)
    return (encode_label(raw, dataset_labels("cityscapes"), origin=str(path)),)


def _id_of(label: str, origin: str) -> int:
    name = label if label in NAMES else label.removesuffix("group")
    if name not in NAMES:
        raise InputError(f"{origin} has a {label!r}; the names of Cityscapes are {', '.join(NAMES)}. Correct it.")
    return NAMES.index(name)


PREPARERS.register("cityscapes")(
    Preparer(
        plan_cityscapes,
        "leftImg8bit_trainvaltest.zip and gtFine_trainvaltest.zip are at "
        "https://www.cityscapes-dataset.com/downloads/, which asks for a login of your own",
        makes="*_labelTrainIds.png from *_labelIds.png or *_polygons.json",
    )
)
