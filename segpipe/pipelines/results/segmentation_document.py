"""A segmentation as a JSON document, its masks as COCO run lengths, and back."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from segpipe.data import decode_mask, encode_label_map
from segpipe.errors import InputError

if TYPE_CHECKING:
    from .segmentation import Segmentation

_Segment = tuple[int, str, float, str]
"""Class index, label, score and run lengths."""


def to_document(result: Segmentation) -> dict[str, Any]:
    """Return the source and the size, and a segment per class present; an unknown score is null."""
    height, width = result.size
    classes = result.classes
    counted = encode_label_map(result.label_map, classes)
    rows = zip(classes, result.labels, result.scores, result.areas, counted, strict=True)
    segments = [
        {
            "class_index": index,
            "label": label,
            "score": None if math.isnan(score) else score,
            "share": area / (height * width),
            "area": area,
            "rle": {"size": [height, width], "counts": counts},
        }
        for index, label, score, area, counts in rows
    ]
    return {"source": result.source, "height": height, "width": width, "segments": segments}


def read_document(
    document: Mapping[str, Any], names: tuple[str, ...] | None
) -> tuple[np.ndarray, dict[int, float], tuple[str, ...], str]:
    """Return the label map, the scores by class index, the names and the source of what `to_document` made.

    If `names` is None, classes that are not present, up to the highest one that is, are called "class 7".
    """
    try:
        size = int(document["height"]), int(document["width"])
        source, segments = str(document["source"]), [_read_segment(entry) for entry in document["segments"]]
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(
            f"This is not a segmentation document: {error!r}. Give what to_dict or to_json wrote."
        ) from None
    if names is None:
        known = {index: label for index, label, _, _ in segments}
        names = tuple(known.get(index, f"class {index}") for index in range(max(known, default=-1) + 1))
    scores = {index: score for index, _, score, _ in segments}
    return _label_map_of(segments, size, len(names)), scores, names, source


def _read_segment(entry: Mapping[str, Any]) -> _Segment:
    score = math.nan if entry["score"] is None else float(entry["score"])
    return int(entry["class_index"]), str(entry["label"]), score, str(entry["rle"]["counts"])


def _label_map_of(segments: Sequence[_Segment], size: tuple[int, int], num_names: int) -> np.ndarray:
    """Return (H, W) uint8, or uint16 when the names need it; pixels in no segment get the first index beyond them."""
    label_map = np.full(size, num_names, dtype=np.uint8 if num_names <= 255 else np.uint16)
    for index, label, _, counts in segments:
        if not 0 <= index < num_names:
            raise InputError(
                f"The segment {label!r} has class index {index} and there are {num_names} names. "
                "Give all names of the model that made it."
            )
        label_map[decode_mask(counts, size).view(bool)] = index
    return label_map
