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


def to_document(result: Segmentation) -> dict[str, Any]:
    """Source, height, width and one segment per class present, by ascending class index; an unknown score is null."""
    height, width = result.size
    classes = result.classes
    rows = zip(
        classes,
        result.labels,
        result.scores,
        result.areas,
        encode_label_map(result.label_map, classes),
        strict=True,
    )
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


class Segment:
    """One class of a document that was read."""

    __slots__ = ("counts", "index", "label", "score")

    def __init__(self, entry: Mapping[str, Any]) -> None:
        self.index = int(entry["class_index"])
        self.label = str(entry["label"])
        self.score = math.nan if entry["score"] is None else float(entry["score"])
        self.counts = str(entry["rle"]["counts"])


def read_document(document: Mapping[str, Any]) -> tuple[str, tuple[int, int], list[Segment]]:
    """The source, the size and the segments of what `to_document` made."""
    try:
        size = int(document["height"]), int(document["width"])
        return str(document["source"]), size, [Segment(entry) for entry in document["segments"]]
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"This is no segmentation document: {error!r}. Give what to_dict or to_json wrote.") from None


def names_of(segments: Sequence[Segment]) -> tuple[str, ...]:
    """Names up to the highest class present; those not named by the segments are "class 7"."""
    known = {segment.index: segment.label for segment in segments}
    return tuple(known.get(index, f"class {index}") for index in range(max(known, default=-1) + 1))


def label_map_of(segments: Sequence[Segment], size: tuple[int, int], num_names: int) -> np.ndarray:
    """(H, W) uint8, or uint16 when the names need it; pixels in no segment get the first index beyond the names."""
    label_map = np.full(size, num_names, dtype=np.uint8 if num_names <= 255 else np.uint16)
    for segment in segments:
        if not 0 <= segment.index < num_names:
            raise InputError(
                f"The segment {segment.label!r} has class index {segment.index} and there are {num_names} names. "
                "Give all names of the model that made it."
            )
        label_map[decode_mask(segment.counts, size).view(bool)] = segment.index
    return label_map
