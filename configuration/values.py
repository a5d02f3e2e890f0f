"""Values as people write them, in Python or a command: JSON, lists, words, class names, values in masks, colors."""

from __future__ import annotations

import ast
import operator
import os
import re
import warnings
from collections.abc import Iterable, Mapping, Set
from pathlib import Path
from typing import Any

import msgspec

from segpipe import advice
from segpipe.errors import ConfigurationError, InputError
from segpipe.files import read_file, utf8_of
from segpipe.limits import limit

from .schema import Color, LabelSet
from .strict_json import check_depth, check_values, parse_json

_ORIGIN = "value"
_HEX_COLOR = re.compile(r"#?([0-9a-fA-F]{2})([0-9a-fA-F]{2})([0-9a-fA-F]{2})")
_SHORT_HEX_COLOR = re.compile(r"#([0-9a-fA-F])([0-9a-fA-F])([0-9a-fA-F])")
_CONSTANTS = ("True", "False", "None")
_FILES = (".txt", ".json")
"""Suffixes of files of class names."""
_MAX_VALUE = 65535


def parse_value(text: str) -> Any:
    """Return what a text stands for: JSON, a list or a constant of Python with tuples as lists, or the text itself."""
    try:
        return parse_json(text, origin=_ORIGIN)
    except ConfigurationError:
        return _parse_literal(text.strip()) if _is_literal(text.strip()) else text


def json_values(value: Any) -> Any:
    """Return a struct, a path, an array, … as dicts, lists and texts; TypeError for what JSON cannot say."""
    return msgspec.json.decode(msgspec.json.encode(value, enc_hook=_plain_value))


def split_words(text: str) -> list[str]:
    """Return the members of a list that is written with commas, with or without brackets: `road,sky` or `[road, sky]`.

    None of them is empty.
    """
    inner = text.strip()
    if inner[:1] + inner[-1:] in ("[]", "()"):
        inner = inner[1:-1]
    words = (_unquoted(word.strip()) for word in inner.split(","))
    return [word for word in words if word]


def parse_hex_color(text: str) -> list[int] | None:
    """Return the channels of `#rrggbb`, `rrggbb` or `#rgb`. None if the text is anything else."""
    if match := _SHORT_HEX_COLOR.fullmatch(text):
        return [17 * int(channel, 16) for channel in match.groups()]
    match = _HEX_COLOR.fullmatch(text)
    return [int(channel, 16) for channel in match.groups()] if match else None


def read_labels(value: Any) -> LabelSet | tuple[str, ...]:
    """Return a label set as it is, or that of a JSON file with names and colors; class names of everything else."""
    if isinstance(value, LabelSet):
        return value
    if not isinstance(value, str | os.PathLike) or not _is_file(os.fspath(value)):
        return read_class_names(value, "labels")
    content = _read_file(Path(os.path.expanduser(value)), "labels")
    try:
        has_names = isinstance(content, Mapping) and "names" in content
        return decode_label_set(content, origin="labels") if has_names else read_class_names(content, "labels")
    except (ConfigurationError, InputError) as error:
        raise InputError(f"{value} has no labels: {error}") from None


def decode_label_set(document: Mapping[str, Any], *, origin: str) -> LabelSet:
    """Return the label set of a JSON object; colors may be hex.

    Raises:
        ConfigurationError: it is not one; the message begins with `origin`.
    """
    colors = document.get("palette")
    try:
        return msgspec.convert(
            {**document} if colors is None else {**document, "palette": read_colors(colors)}, LabelSet
        )
    except msgspec.ValidationError as error:
        raise ConfigurationError(
            f"{origin}: {error}. A label set has `names` and may have `palette`, `ignore_index` and `raw_ids`. "
            "Correct it."
        ) from None


def read_class_names(value: Any, what: str = "names") -> tuple[str, ...]:
    """Return class names in the order of their indices.

    Args:
        value: a list, tuple or array of texts; a text with commas between the names; a file with one name a line, or
            with a JSON list; or a mapping of 0, 1, … to names.
        what: what messages call it.

    Raises:
        InputError: it is none of these.
    """
    by_value = read_named_values(value, what)
    if list(by_value) != list(range(len(by_value))):
        shown = ", ".join(map(str, list(by_value)[:5]))
        raise InputError(f"{what} numbers the classes {shown}, and not 0, 1, … without a gap. {_example(what)}")
    return tuple(by_value.values())


def read_named_values(value: Any, what: str = "names") -> dict[int, str]:
    """Return the name of each value in label files, in ascending order; see `read_class_names`.

    The keys of a mapping are the values, such as {1: "road", 2: "sky"}; of a list they are 0, 1, …
    """
    if isinstance(value, os.PathLike) or (isinstance(value, str) and _is_file(value)):
        value = _read_file(Path(os.path.expanduser(value)), what)
    elif isinstance(value, str):
        parsed = parse_value(value)
        if isinstance(parsed, str) and parsed.lstrip().startswith("{"):
            example = advice.option(what, {1: "road", 2: "sky"})
            raise InputError(f"{what} is {value!r}, which is not JSON. Put the names in quotes: {example}.")
        value = parsed if isinstance(parsed, list | dict) else split_words(value)
    if isinstance(value, Mapping):
        value = value.get("names", value)
    if isinstance(value, Mapping):
        named = {_value(key, value, what, _example(what)): _name(name, what) for key, name in value.items()}
    else:
        named = dict(enumerate(_name(name, what) for name in _members(value, what, _example(what))))
    if not named:
        raise InputError(f"{what} is empty; there is one class at least. {_example(what)}")
    return dict(sorted(named.items()))


def read_values(value: Any) -> tuple[int, ...]:
    """Return values of label files, whole numbers from 0 to 65535: a list, an array, or a text with commas."""
    fix = f"Write e.g. {advice.option('raw_ids', [1, 2])}, one for each class."
    members = split_words(value) if isinstance(value, str) else _members(value, "raw_ids", fix)
    return tuple(_value(member, value, "raw_ids", fix) for member in members)


def read_colors(value: Any, what: str = "palette") -> tuple[Color, ...]:
    """Return colors, RGB.

    Args:
        value: a list, tuple or array of colors, each of which is three whole numbers from 0 to 255 or `#rrggbb`; or a
            text with such colors and commas between them.
        what: what messages call it.

    Raises:
        InputError: it is none of these.
    """
    fix = f"Write e.g. {advice.option(what, [(0, 0, 0), (255, 0, 0)])}."
    if isinstance(value, str):
        parsed = parse_value(value)
        value = split_words(value) if isinstance(parsed, str) else parsed
    members = _members(value, what, fix)
    if len(members) == 3 and all(_whole_number(member) is not None for member in members):  # a single color
        members = [members]
    return tuple(_color(color, what, fix) for color in members)


def _plain_value(value: Any) -> Any:
    return value.tolist() if hasattr(value, "tolist") else os.fspath(value)


def _unquoted(word: str) -> str:
    return word[1:-1] if len(word) > 1 and word[0] == word[-1] and word[0] in "'\"" else word


def _is_literal(text: str) -> bool:
    is_short = len(text) <= limit("configuration_bytes")
    return is_short and (text[:1] + text[-1:] in ("[]", "()", "{}") or text in _CONSTANTS)


def _parse_literal(text: str) -> Any:
    try:
        check_depth(text, origin=_ORIGIN)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of Windows paths, whose backslashes begin no escape sequence
            value = _as_json(ast.literal_eval(text))
        check_values(value, origin=_ORIGIN)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):  # ConfigurationError is a ValueError
        return text
    return value


def _as_json(value: Any) -> Any:
    """Return a literal as JSON has it. TypeError for what JSON cannot say."""
    if isinstance(value, list | tuple):
        return [_as_json(member) for member in value]
    if isinstance(value, dict):
        return {str(key): _as_json(member) for key, member in value.items()}
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise TypeError(f"{type(value).__name__} is not JSON")


def _is_file(text: str) -> bool:
    return "," not in text and (text.lower().endswith(_FILES) or os.path.isfile(os.path.expanduser(text)))


def _read_file(path: Path, what: str) -> Any:
    """Return the lines of a text file, or what a JSON file holds."""
    if not os.path.isfile(path):
        raise InputError(f"{what}: there is no file {path}. Check its path, or write the names themselves.")
    data = read_file(path, max_bytes=limit("configuration_bytes"), error=InputError)
    if path.suffix.lower() == ".json":
        return parse_json(data, origin=f"{path} has no labels")
    try:
        text = utf8_of(data).decode()
    except UnicodeDecodeError:
        raise InputError(f"{path} is not text. It needs one class name a line, or a JSON list of names.") from None
    return [line.strip() for line in text.splitlines() if line.strip()]


def _members(value: Any, what: str, fix: str) -> list[Any]:
    """Return the members of a list or an array. InputError for what has none, or has no order."""
    listed = value.tolist() if hasattr(value, "tolist") else value  # NumPy's, torch's and pandas' as plain values
    if isinstance(listed, str | bytes | Mapping | Set) or not isinstance(listed, Iterable):
        raise InputError(f"{what} is {_shown(value)}; a list is needed. {fix}")
    return list(listed)


def _name(value: Any, what: str) -> str:
    if not isinstance(value, str) or not value.strip():
        raise InputError(f"{what} has {_shown(value)}, which is not a name; each is a text. {_example(what)}")
    return str(value)


def _value(key: Any, whole: Any, what: str, fix: str) -> int:
    number = _whole_number(int(key) if isinstance(key, str) and re.fullmatch("[0-9]{1,9}", key) else key)
    if number is None or not 0 <= number <= _MAX_VALUE:
        raise InputError(
            f"{what} is {_shown(whole)}, where {_shown(key)} is not a value of a mask, a whole number from 0 to "
            f"{_MAX_VALUE}. {fix}"
        )
    return number


def _color(value: Any, what: str, fix: str) -> Color:
    channels = parse_hex_color(value) if isinstance(value, str) else value
    channels = channels.tolist() if channels is not None and hasattr(channels, "tolist") else channels
    numbers = [_whole_number(channel) for channel in channels] if isinstance(channels, list | tuple) else []
    if len(numbers) != 3 or not all(number is not None and 0 <= number <= 255 for number in numbers):
        raise InputError(
            f"{what} has {_shown(value)}, which is not a color; one is three whole numbers from 0 to 255 or #rrggbb. "
            f"{fix}"
        )
    red, green, blue = (number or 0 for number in numbers)
    return red, green, blue


def _whole_number(value: Any) -> int | None:
    if isinstance(value, bool) or not hasattr(type(value), "__index__"):
        return None
    try:
        return operator.index(value)
    except TypeError:  # an array of several
        return None


def _example(what: str) -> str:
    return f"Write e.g. {advice.option(what, ['road', 'sky'])}."


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:80]}…"
