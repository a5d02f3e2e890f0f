"""Palettes of label files beside the colours of a label set: where the two contradict each other."""

from __future__ import annotations

import functools
from typing import NamedTuple

import numpy as np
from PIL import Image

from segpipe import advice
from segpipe.configuration import LabelSet
from segpipe.errors import ImageDecodeError

Color = tuple[int, int, int]


def check_palette(picture: Image.Image, values: np.ndarray, classes: LabelSet, *, origin: str) -> None:
    """Refuse a palette image that draws the value of one class in the colour of another.

    Colours of no class contradict nothing, nor do a grey ramp and VOC's default palette, which programs write without
    a thought of the classes. Each palette is compared once.

    Args:
        picture: in Pillow's mode P.
        values: (H, W) uint8, its indices.
        classes: whose `palette` and `raw_ids` count.
        origin: the file's name, for the message.

    Raises:
        ImageDecodeError: one of the values is used.
    """
    contradictions = _contradictions(bytes(picture.im.getpalette("RGB", "RGB")), classes)
    if not contradictions:
        return
    is_used = np.bincount(values.ravel(), minlength=256) > 0
    found = next((each for each in contradictions if is_used[each.value]), None)
    if found is not None:
        raise ImageDecodeError(
            f"{origin} draws the value {found.value} in {found.color}, the colour of {found.drawn!r}, and by its value "
            f"it is {found.named!r}; a palette must agree with the label set's. Correct the palette of the label set "
            f"or of the file. In a data set folder, {advice.option('read', 'colors')} reads it by its colours and "
            f"{advice.option('read', 'indices')} by its values."
        )


class _Contradiction(NamedTuple):
    value: int
    color: Color
    named: str
    drawn: str


@functools.lru_cache(maxsize=1024)
def _contradictions(palette: bytes, classes: LabelSet) -> tuple[_Contradiction, ...]:
    """The values of classes that the palette (R, G, B, R, …) draws in another class's colour."""
    entries = [(red, green, blue) for red, green, blue in zip(palette[::3], palette[1::3], palette[2::3], strict=True)]
    if classes.palette is None or _is_default(entries):
        return ()
    own = [tuple(color) for color in classes.palette]
    values = classes.raw_ids or tuple(range(len(classes.names)))
    return tuple(
        _Contradiction(value, entries[value], name, classes.names[own.index(entries[value])])
        for value, name, color in zip(values, classes.names, own, strict=True)
        if value < len(entries) and entries[value] != color and entries[value] in own
    )


def _is_default(entries: list[Color]) -> bool:
    """Whether this is a ramp of grey, of 2, 4 or 8 bits, or VOC's palette, perhaps filled up with black."""
    count = max((place + 1 for place, color in enumerate(entries) if any(color)), default=0)
    usual = [[(level * place,) * 3 for place in range(count)] for level in (1, 17, 85)]
    return count >= 3 and entries[:count] in (*usual, [_voc_color(place) for place in range(count)])


def _voc_color(index: int) -> Color:
    """The colour of an index in PASCAL VOC's devkit: its bits, in turn, from the highest bit of red, green and blue."""
    red, green, blue = (sum((index >> 3 * bit + channel & 1) << 7 - bit for bit in range(8)) for channel in range(3))
    return red, green, blue
