"""Cityscapes: *_labelTrainIds.png beside the published *_labelIds.png, or from *_polygons.json where these lack."""

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
from ..datasets.places import find_files
from ..label_files import read_label
from ..labels import dataset_labels, encode_label
from .plans import Plan, Task, shown_content

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


_KIND = "a polygons.json of Cityscapes, with imgHeight, imgWidth and objects"


class Shape(msgspec.Struct):
    """An outline in a *_polygons.json."""

    label: str
    polygon: list[tuple[float, float]]
    deleted: int | bool = False


class Annotation(msgspec.Struct, rename={"height": "imgHeight", "width": "imgWidth"}):
    """A *_polygons.json: the later an outline, the nearer to the camera."""

    height: int
    width: int
    objects: list[Shape]


def plan_cityscapes(root: Path, *, annotations: str = "gtFine") -> Plan:
    """A *_labelTrainIds.png for every *_labelIds.png, and for every *_polygons.json without one.

    Args:
        root: the folder with gtFine/.
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
    tasks = [Task((_target(path),), partial(_from_ids, path)) for path in ids.values()]
    tasks += [Task((_target(path),), partial(_from_outlines, path)) for key, path in outlines.items() if key not in ids]
    return Plan(_NOTE, tuple(tasks))


def draw_label_ids(annotation: Annotation, *, origin: str) -> np.ndarray:
    """(H, W) uint8 of label ids, drawn as cityscapesscripts' json2labelImg does it.

    Outlines are drawn with Pillow in the order of the file, deleted ones and license plates are left out, and
    "cargroup" is drawn as "car". Pixels that nothing covers are 0, unlabeled.

    Raises:
        InputError: a name that Cityscapes does not have, or an outline of fewer than two points.
    """
    picture = Image.new("L", (annotation.width, annotation.height), 0)
    drawer = ImageDraw.Draw(picture)
    budget = DrawingBudget()
    for shape in annotation.objects:
        if shape.deleted or shape.label in ("license plate", "license plategroup"):
            continue
        if len(shape.polygon) < 2:
            raise InputError(
                f"{origin} has a {shape.label} of {len(shape.polygon)} points; two are needed. Correct it."
            )
        if any(not -FARTHEST <= place <= FARTHEST for point in shape.polygon for place in point):
            raise InputError(f"{origin} has a {shape.label} with a coordinate beyond ±{FARTHEST:.0e}. Correct it.")
        # Pillow looks at each edge for each row.
        budget.spend("polygon_crossings", len(shape.polygon) * annotation.height)
        drawer.polygon(shape.polygon, fill=_id_of(shape.label, origin))
    return np.array(picture)


def read_annotation(path: Path) -> Annotation:
    """A *_polygons.json; InputError where it is none."""
    annotation = read_annotations(path, Annotation, _KIND)
    check_size(annotation.height, annotation.width, origin=str(path))
    return annotation


def _target(path: Path) -> Path:
    return path.with_name(f"{path.name.rpartition('_')[0]}_labelTrainIds.png")


def _from_ids(path: Path) -> Sequence[np.ndarray]:
    return (encode_label(read_label(path), dataset_labels("cityscapes"), origin=str(path)),)


def _from_outlines(path: Path) -> Sequence[np.ndarray]:
    raw = draw_label_ids(read_annotation(path), origin=str(path))
    return (encode_label(raw, dataset_labels("cityscapes"), origin=str(path)),)


def _id_of(label: str, origin: str) -> int:
    name = label if label in NAMES else label.removesuffix("group")
    if name not in NAMES:
        raise InputError(f"{origin} has a {label!r}; the names of Cityscapes are {', '.join(NAMES)}. Correct it.")
    return NAMES.index(name)
