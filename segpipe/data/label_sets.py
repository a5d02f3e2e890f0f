"""Read and build label sets: those that segpipe knows, JSON files, and the tables that other tools write beside masks.

Tables are Roboflow's and Kaggle's CSV files, and CVAT's labelmap.txt.
"""

from __future__ import annotations

import csv
import functools
import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from segpipe.configuration import (
    LabelSet,
    decode_label_set,
    parse_hex_color,
    read_class_names,
    read_colors,
    read_json,
    read_named_values,
    read_values,
)
from segpipe.errors import InputError, UnknownNameError
from segpipe.files import read_text
from segpipe.limits import limit
from segpipe.names import unknown_name_message

from .label_encoding import MAX_RAW, Color

UNNAMED = LabelSet(names=tuple(f"value {value}" for value in range(255)))
"""Stands for classes without names: each value is one."""
CLASS_TABLES = ("_classes.csv", "class_dict.csv", "labelmap.txt")
"""Names of the tables of classes that other tools write."""
_FOLDER = Path(__file__).parent / "datasets" / "label_sets"
_NAMES = ("class", "name", "label", "class name", "class_name")
_VALUES = ("pixel value", "value", "id", "index", "class id", "class_id")
_CHANNELS = (("r", "red"), ("g", "green"), ("b", "blue"))
_COLORS = ("color", "colour", "rgb", "hex")


def dataset_labels(name: str) -> LabelSet:
    """Return names, colors and raw ids of a data set that segpipe knows; UnknownNameError has the list."""
    if name not in dataset_label_names():
        raise UnknownNameError(unknown_name_message("label set", name, dataset_label_names()))
    return read_label_set(_FOLDER / f"{name}.json")


@dataclass(frozen=True)
class FileValues:
    """The raw values that the published label files of a data set hold.

    Attributes:
        classes: those of all its classes.
        void: those of pixels that belong to no class.
        has_ignored: whether `ignore_index` is among them.
    """

    classes: frozenset[int]
    void: frozenset[int] = frozenset()
    has_ignored: bool = True

    def __or__(self, other: FileValues) -> FileValues:
        """Return the values of both."""
        return FileValues(self.classes | other.classes, self.void | other.void, self.has_ignored or other.has_ignored)


def published_values(name: str, void: Iterable[int] = (), *, has_ignored: bool = True) -> FileValues:
    """Return the values in the label files of a data set that segpipe knows."""
    labels = dataset_labels(name)
    return FileValues(frozenset(labels.raw_ids or range(len(labels.names))), frozenset(void), has_ignored)


@functools.lru_cache(maxsize=1)
def dataset_label_names() -> tuple[str, ...]:
    """Return the names that `dataset_labels` knows, sorted."""
    return tuple(sorted(path.stem for path in _FOLDER.glob("*.json")))


def open_label_set(value: Any) -> LabelSet:
    """Return the label set that an argument names: one itself, its sections, a JSON or CSV file, or a data set's."""
    if isinstance(value, LabelSet):
        return value
    if isinstance(value, str | os.PathLike) and os.fspath(value).lower().endswith(".csv"):
        return read_class_table(Path(os.path.expanduser(value)))
    if isinstance(value, os.PathLike) or (isinstance(value, str) and value.lower().endswith(".json")):
        return read_label_set(Path(os.path.expanduser(value)))
    if isinstance(value, str):
        return dataset_labels(value)
    return parse_label_set(value, origin="label_set") if isinstance(value, dict) else build_label_set(value)


def read_label_set(path: Path) -> LabelSet:
    """Read the label set in a JSON file: {"names": […], "palette": […], "ignore_index": 255, "raw_ids": […]}."""
    return parse_label_set(read_json(path), origin=str(path))


def read_class_table(path: Path) -> LabelSet:
    """Return the classes in a table.

    Args:
        path: a CSV file whose first line names its columns: one of names ("Class" or "name"), and one of the values in
            the masks ("Pixel Value") or their colors ("r", "g", "b" or "color"), or all of these; or CVAT's
            labelmap.txt, with lines as `road:128,64,128::`.

    Raises:
        InputError: it is not such a table, or two classes have one name, value or color.
    """
    lines = read_text(path, max_bytes=limit("configuration_bytes"), error=InputError).splitlines()
    parse = _labelmap if path.suffix.lower() == ".txt" else _columns
    try:
        return parse(lines)
    except (ValueError, csv.Error) as error:
        raise InputError(
            f'{path} is not a table of classes: {str(error).rstrip(".")}. It needs a line as "Pixel Value, Class" or '
            '"name,r,g,b" and then one for each class. Correct it, or write labels.json instead.'
        ) from None


def find_class_table(folders: Iterable[Path]) -> Path | None:
    """Return the first table of classes in these folders, or None."""
    return next((path for folder in folders for name in CLASS_TABLES if os.path.isfile(path := folder / name)), None)


def parse_label_set(document: Any, *, origin: str) -> LabelSet:
    """Parse a JSON value as a label set: its sections, or the names alone in a form that `names` may have."""
    is_numbered = isinstance(document, dict) and all(str(key).isdecimal() for key in document)
    if isinstance(document, list) or is_numbered:
        return build_label_set(document)
    return decode_label_set(document, origin=origin)


def build_label_set(names: Any, *, palette: Any = None, raw_ids: Any = None) -> LabelSet:
    """Build a label set for these classes, with an `ignore_index` of 255, or of 65535 for more than 255 classes.

    Args:
        names: in any form that `read_named_values` takes. A mapping of values to names gives the raw ids as well.
        palette: one color per class, see `read_colors`.
        raw_ids: the value of each class in label files. If None, they are the keys of a mapping, else class indices.

    Raises:
        InputError: they do not fit together.
    """
    by_value = read_named_values(names)
    is_indexed = list(by_value) == list(range(len(by_value)))
    ids = read_values(raw_ids) if raw_ids is not None else None if is_indexed else tuple(by_value)
    if raw_ids is not None and not is_indexed:
        raise InputError("names and raw_ids both say which values the classes have. Leave raw_ids out.")
    colors = None if palette is None else read_colors(palette)
    ignored = 255 if len(by_value) <= 255 else MAX_RAW
    try:
        return LabelSet(names=tuple(by_value.values()), palette=colors, ignore_index=ignored, raw_ids=ids)
    except ValueError as error:
        raise InputError(f"These classes are not a label set: {error}. Correct them.") from None


def subset_labels(labels: LabelSet, classes: Any) -> LabelSet:
    """Return only these classes, numbered in this order; the values of all others are ignored."""
    names = read_class_names(classes, "classes")
    if len(set(names)) != len(names):
        raise InputError(f"The classes are {', '.join(names)}; each can be there once. Name each one once.")
    unknown = next((name for name in names if name not in labels.names), None)
    if unknown is not None:
        raise UnknownNameError(unknown_name_message("class", unknown, labels.names))
    chosen = [labels.names.index(name) for name in names]
    return LabelSet(
        names=names,
        palette=None if labels.palette is None else tuple(labels.palette[index] for index in chosen),
        ignore_index=labels.ignore_index,
        raw_ids=tuple(chosen if labels.raw_ids is None else (labels.raw_ids[index] for index in chosen)),
    )


def with_raw_ids(labels: LabelSet, raw_ids: Any) -> LabelSet:
    """Return the same classes for files that hold these values, one per class."""
    values = read_values(raw_ids)
    try:
        return msgspec.structs.replace(labels, raw_ids=values)
    except ValueError as error:
        raise InputError(f"The values do not fit the classes: {error}. Give one for each.") from None


def without_raw_ids(labels: LabelSet) -> LabelSet:
    """Return the same classes for files that hold class indices already ("train ids")."""
    return msgspec.structs.replace(labels, raw_ids=None)


def _columns(lines: Sequence[str]) -> LabelSet:
    """Return the classes of a CSV file."""
    filled = [line for line in lines if line.strip()]
    head = filled[0] if filled else ""
    delimiter = next((mark for mark in ",;\t" if mark in head), ",")
    header, *rows = csv.reader(filled or [""], delimiter=delimiter, skipinitialspace=True)
    header = [name.strip() for name in header]
    rows = [_fitted(row, len(header)) for row in rows]
    columns = {name.lower(): place for place, name in reversed(list(enumerate(header)))}
    name, value = _place(columns, _NAMES), _place(columns, _VALUES)
    colors = [place for names in (*_CHANNELS, _COLORS) if (place := _place(columns, names)) is not None]
    if name is None or (value is None and len(colors) not in (1, 3)):
        raise ValueError(f"its first line is {head[:80]!r}")
    return _label_set(
        [_cell(row, name) for row in rows],
        values=None if value is None else [_number(_cell(row, value)) for row in rows],
        palette=[_color([_cell(row, place) for place in colors]) for row in rows] if len(colors) in (1, 3) else None,
    )


def _fitted(row: Sequence[str], length: int) -> list[str]:
    """Return the cells of a line; cells beyond the columns belong to the last one, since names may have commas."""
    cells = [cell.strip() for cell in row]
    rest = ", ".join(cell for cell in cells[length - 1 :] if cell)
    return [*cells[: length - 1], rest] if len(cells) > length else cells


def _place(columns: dict[str, int], names: Sequence[str]) -> int | None:
    return next((columns[name] for name in names if name in columns), None)


def _cell(row: Sequence[str], place: int) -> str:
    if place >= len(row):
        raise ValueError(f"its line {','.join(row)[:80]!r} is too short")
    return row[place]


def _number(cell: str) -> int:
    number = float(cell)
    if not number.is_integer():
        raise ValueError(f"{cell!r} is not a whole number")
    return int(number)


def _labelmap(lines: Sequence[str]) -> LabelSet:
    """Return the classes of CVAT's labelmap.txt, whose masks have these colors."""
    rows = [line.split(":") for line in lines if line.strip() and not line.lstrip().startswith("#")]
    return _label_set([row[0].strip() for row in rows], palette=[_color(_cell(row, 1).split(",")) for row in rows])


def _color(cells: Sequence[str]) -> Color:
    """Return the color in three cells, or in one as #a60f2f or "166 15 47"."""
    parts = re.split(r"[\s,;]+", cells[0].strip("()[] ")) if len(cells) == 1 else cells
    channels = parse_hex_color(cells[0]) or [_number(part) for part in parts if len(parts) == 3]
    if not channels:
        raise ValueError(f"{', '.join(cells)!r} is not a color, which is #rrggbb or three numbers from 0 to 255")
    red, green, blue = channels
    return red, green, blue


def _label_set(
    names: Sequence[str], *, values: Sequence[int] | None = None, palette: Sequence[Color] | None = None
) -> LabelSet:
    if not names or not all(names):
        raise ValueError("it has no class, or one without a name")
    if values is not None and not all(0 <= value <= MAX_RAW for value in values):
        raise ValueError(f"its values are {list(values)[:10]}; they must lie in 0–{MAX_RAW}")
    is_plain = values is None or list(values) == list(range(len(names)))
    return build_label_set(names, palette=palette, raw_ids=None if is_plain else values)
