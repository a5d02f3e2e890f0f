"""Read images and categories of COCO's JSON, as the tools that write it do."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
from PIL import ImageColor

from segpipe.configuration import LabelSet
from segpipe.errors import InputError
from segpipe.names import listing

from ..annotations import check_size
from ..findings import Finding, log_or_collect
from ..images import read_image
from ..label_encoding import MAX_RAW, Color
from ..label_sets import build_label_set

Id = int | float | str
"""Tools write 1, 1.0, "1" and "1.0"; `key_of` makes one of them."""
_NULL = msgspec.Raw(b"null")


def key_of(identity: Id | None) -> str:
    """Return an id as text, the same for 1, 1.0, "1" and "1.0"; "null" for None."""
    if identity is None:
        return "null"
    if isinstance(identity, str):
        return re.sub(r"\A(-?\d+)\.0+\Z", r"\1", identity.strip())
    return str(int(identity)) if isinstance(identity, float) and identity.is_integer() else str(identity)


class Image(msgspec.Struct):
    """An image."""

    id: Id
    file_name: str
    height: int | None = None
    width: int | None = None
    """If one of them is None or 0, the image file says what they are."""

    @property
    def key(self) -> str:
        """The id in the form of `key_of`."""
        return key_of(self.id)

    @property
    def size(self) -> tuple[int, int]:
        """(height, width)."""
        return self.height or 0, self.width or 0


class Category(msgspec.Struct):
    """A class of objects."""

    id: Id
    name: int | float | str
    supercategory: msgspec.Raw = _NULL
    color: msgspec.Raw = _NULL
    """In any form; `color_of` reads those that are colors."""

    @property
    def key(self) -> str:
        """The id in the form of `key_of`."""
        return key_of(self.id)


@dataclass(frozen=True)
class Classes:
    """What the categories of a document mean.

    Attributes:
        labels: the classes.
        numbers: the key of each category → the value that its pixels get, one of `labels.raw_ids`.
        background: the value of pixels in no object. If None, they are not a class.
        notes: what was found.
    """

    labels: LabelSet
    numbers: Mapping[str, int]
    background: int | None
    notes: tuple[Finding, ...]


def read_classes(
    categories: Sequence[Category], used: Collection[str], document: Path, *, background: str | None = None
) -> Classes:
    """Return the categories as classes in the order of their ids, after the background where there is one.

    Ids that are whole numbers up to 65535 become `raw_ids`; others are numbered. A category that only groups others, as
    the first one in Roboflow's exports, is not a class.

    Args:
        used: the keys of the categories that objects have.
        background: name of a class for pixels in no object; a category of this name is the same class.

    Raises:
        InputError: there are no categories, or two have one id or one name.
    """
    refuse_twice(f"{document} has two categories with the id", [category.key for category in categories])
    groups = [category for category in categories if _is_group(category, categories, used)]
    ordered = _in_order([category for category in categories if category not in groups])
    keys, names = [category.key for category in ordered], [str(category.name) for category in ordered]
    refuse_twice(f"{document} has two categories with the name", names)
    if not keys:
        raise InputError(f"{document} lists no categories; at least one is needed. Add them to the JSON.")
    numbers, notes = _numbers(keys), _group_notes(groups, document)
    number_of = dict(zip(keys, numbers, strict=True))
    if background is not None and background not in names:
        known = set(numbers)
        rest = next(number for number in range(len(keys) + 1) if number not in known)
        labels = build_label_set([background, *names], raw_ids=[rest, *numbers])
        return Classes(labels, number_of, rest, notes)
    colors = [color for category in ordered if (color := color_of(category)) is not None]
    labels = build_label_set(names, palette=colors if len(colors) == len(names) else None, raw_ids=numbers)
    return Classes(labels, number_of, None if background is None else numbers[names.index(background)], notes)


def color_of(category: Category) -> Color | None:
    """Return a category's color as RGB, from three numbers, "#a60f2f" or a name; None where it is nothing of these."""
    try:
        value = msgspec.json.decode(category.color)
        channels = ImageColor.getrgb(value) if isinstance(value, str) else tuple(value)
        is_color = len(channels) in (3, 4) and all(
            int(channel) == channel and 0 <= channel <= 255 for channel in channels
        )
    except (msgspec.MsgspecError, RecursionError, ValueError, TypeError, OverflowError):
        return None
    return (int(channels[0]), int(channels[1]), int(channels[2])) if is_color else None


def fill_sizes(images: Sequence[Image], paths: Mapping[str, str], document: Path) -> None:
    """Give images without a size that of their file.

    Raises:
        InputError: an impossible size.
        ImageDecodeError: a file that cannot be read.
    """
    missing = [image for image in images if not image.height or not image.width]
    for image in missing:
        image.height, image.width = read_image(paths[image.key]).shape[:2]
    if missing:
        names = listing([image.file_name for image in missing])
        text = f"images without a size there, which have that of their file: {len(missing)} ({names})"
        log_or_collect([Finding("assumed", str(document), text, "Write height and width to open it faster")], document)
    for image in images:
        check_size(*image.size, origin=f"{document}: {image.file_name}")


def refuse_twice(problem: str, values: Sequence[str | None]) -> None:
    """Raise an InputError that names the first value which is there twice, if there is one."""
    twice = next((value for value, count in Counter(values).items() if count > 1), None)
    if twice is not None:
        raise InputError(f"{problem} {twice!r}; each needs its own. Correct the JSON.")


def count_by_kind(document: str, texts: Iterable[tuple[str, Sequence[str], str, str]]) -> list[Finding]:
    """Return a finding for each (kind, names, what they are, what to do) that has a name, each name shown once."""
    return [
        Finding(kind, document, f"{text}: {len(names):,} ({listing(list(dict.fromkeys(names)))})", fix)
        for kind, names, text, fix in texts
        if names
    ]


def _in_order(categories: Sequence[Category]) -> list[Category]:
    """Return categories by their ids: as numbers if all are, else as texts, which is the same in each split's file."""
    if all(_is_number(category.key) for category in categories):
        return sorted(categories, key=lambda category: int(category.key))
    return sorted(categories, key=lambda category: category.key)


def _numbers(keys: Sequence[str]) -> list[int]:
    """Return the ids themselves where they can be values of a label, else the places of these keys."""
    ids = [int(key) if _is_number(key) else -1 for key in keys]
    fits = min(ids) >= 0 and max(ids) <= MAX_RAW and len(set(ids)) == len(ids)
    return ids if fits else list(range(len(keys)))


def _is_number(key: str) -> bool:
    return key.isdecimal() and len(key) < 20


def _is_group(category: Category, categories: Sequence[Category], used: Collection[str]) -> bool:
    """Return whether a category has the id 0, no object and no group of its own, and others name it as their group."""
    if category.key != "0" or category.key in used or _group_of(category) not in ("", "none"):
        return False
    name = str(category.name)
    return any(name in (_group_of(other), str(other.name)) for other in categories if other is not category)


def _group_of(category: Category) -> str:
    try:
        group = msgspec.json.decode(category.supercategory)
    except (msgspec.MsgspecError, RecursionError):
        return ""
    return group if isinstance(group, str) else ""


def _group_notes(groups: Sequence[Category], document: Path) -> tuple[Finding, ...]:
    names = listing([str(group.name) for group in groups])
    what = f"the first category only groups others and has no object, so that it is not a class: {names}"
    return (Finding("assumed", str(document), what, "Give it objects if it should be one"),) if groups else ()
