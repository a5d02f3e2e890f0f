"""Values as people write them on a command line, for options and the configuration: JSON, Python's lists or words."""

from __future__ import annotations

import ast
import os
import re
import warnings
from typing import Any

import msgspec

from segpipe.errors import ConfigurationError
from segpipe.limits import limit

from .strict_json import check_depth, check_values, parse_json

_ORIGIN = "value"
_HEX_COLOR = re.compile(r"#?([0-9a-fA-F]{2})([0-9a-fA-F]{2})([0-9a-fA-F]{2})")
_SHORT_HEX_COLOR = re.compile(r"#([0-9a-fA-F])([0-9a-fA-F])([0-9a-fA-F])")
_CONSTANTS = ("True", "False", "None")


def parse_value(text: str) -> Any:
    """Return what a text stands for: JSON, a list or a constant of Python with tuples as lists, or the text itself."""
    try:
        return parse_json(text, origin=_ORIGIN)
    except ConfigurationError:
        return _parse_literal(text.strip()) if _is_literal(text.strip()) else text


def json_values(value: Any) -> Any:
    """A struct, a path, an array or what else JSON can say, as dicts, lists and texts; TypeError for the rest."""
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
