"""Classes as other tools write them beside masks: Roboflow's and Kaggle's CSV files, CVAT's labelmap.txt."""

from __future__ import annotations

import csv
import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from segpipe.configuration import LabelSet, parse_hex_color
from segpipe.errors import InputError
from segpipe.files import read_text
from segpipe.limits import limit

from .labels import Color, build_label_set

_NAMES = ("class", "name", "label", "class name", "class_name")
_VALUES = ("pixel value", "value", "id", "index", "class id", "class_id")
_CHANNELS = (("r", "red"), ("g", "green"), ("b", "blue"))
_COLORS = ("color", "colour", "rgb", "hex")


def read_class_table(path: Path) -> LabelSet:
    """Return the classes in a table.

    Args:
        path: a CSV file whose first line names its columns: one of names ("Class" or "name"), and one of the values in
            the masks ("Pixel Value") or their colours ("r", "g", "b" or "color"), or all of these; or CVAT's
            labelmap.txt, with lines as `road:128,64,128::`.

    Raises:
        InputError: it is not such a table, or two classes have one name, value or colour.
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


CLASS_TABLES = ("_classes.csv", "class_dict.csv", "labelmap.txt")
"""Names of such files."""


def find_class_table(folders: Iterable[Path]) -> Path | None:
    """Return the first such file in these folders."""
    return next((path for folder in folders for name in CLASS_TABLES if os.path.isfile(path := folder / name)), None)


def _columns(lines: Sequence[str]) -> LabelSet:
    """The classes of a CSV file."""
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
    """The cells of a line; what is more than the columns belongs to the last, since names may have commas in them."""
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
    """The classes of CVAT's labelmap.txt, whose masks have these colours."""
    rows = [line.split(":") for line in lines if line.strip() and not line.lstrip().startswith("#")]
    return _label_set([row[0].strip() for row in rows], palette=[_color(_cell(row, 1).split(",")) for row in rows])


def _color(cells: Sequence[str]) -> Color:
    """The colour in three cells, or in one as #a60f2f or "166 15 47"."""
    parts = re.split(r"[\s,;]+", cells[0].strip("()[] ")) if len(cells) == 1 else cells
    channels = parse_hex_color(cells[0]) or [_number(part) for part in parts if len(parts) == 3]
    if not channels:
        raise ValueError(f"{', '.join(cells)!r} is not a colour, which is #rrggbb or three numbers from 0 to 255")
    red, green, blue = channels
    return red, green, blue


def _label_set(
    names: Sequence[str], *, values: Sequence[int] | None = None, palette: Sequence[Color] | None = None
) -> LabelSet:
    if not names or not all(names):
        raise ValueError("it has no class, or one without a name")
    if values is not None and not all(0 <= value <= 65535 for value in values):
        raise ValueError(f"its values are {list(values)[:10]}; they must lie in 0–65535")
    is_plain = values is None or list(values) == list(range(len(names)))
    return build_label_set(names, palette=palette, raw_ids=None if is_plain else values)
