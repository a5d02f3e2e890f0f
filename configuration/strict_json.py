"""JSON: ours without surprises (one value per key, finite numbers, bounded size and depth), others' by what is needed.

`read_json` and `parse_json` are for configurations and what people write; `decode_document` is for the answers of
servers, annotations and records, of which other keys are passed over.
"""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import Annotated, Any, TypeVar

import msgspec
from msgspec import Meta

from segpipe.errors import ConfigurationError
from segpipe.files import read_file, utf8_of
from segpipe.limits import limit

Document = TypeVar("Document")

Count = Annotated[int, Meta(ge=0, le=2**53)]
Text = Annotated[str, Meta(max_length=4096)]
Sha256 = Annotated[str, Meta(pattern=r"^[0-9a-f]{64}\Z")]


def decode_document(data: bytes, kind: type[Document], *, strict: bool = True) -> Document:
    """Decode JSON into a type. Keys that `kind` does not name are passed over.

    Args:
        data: the text, perhaps behind a byte-order mark.
        kind: what it should be.
        strict: whether 1.0 and "1" are refused where a whole number is needed.

    Raises:
        ValueError: says where it is not what `kind` needs.
    """
    try:
        return msgspec.json.decode(utf8_of(data), type=kind, strict=strict)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
        raise ValueError(str(error)) from None


def read_json(path: Path) -> Any:
    """Return the value in a JSON file; ConfigurationError names the file and the place in it."""
    data = read_file(path, max_bytes=limit("configuration_bytes"), error=ConfigurationError)
    return parse_json(data, origin=str(path))


def parse_json(text: bytes | str, *, origin: str) -> Any:
    """Return the value of a JSON text.

    A byte-order mark is passed over. Stricter than `json.loads`: no NaN or infinity (1e999 is one), no key twice,
    nothing deeper than `configuration_depth`, nothing over `configuration_bytes` (see `segpipe.limits`). Errors begin
    with `origin`.
    """
    source = _decode(text, origin=origin)
    check_depth(source, origin=origin)
    try:
        value = json.loads(
            source,
            object_pairs_hook=_join_pairs,
            parse_constant=_Rejected,
            parse_float=_parse_float,
            parse_int=_parse_int,
        )
    except json.JSONDecodeError as error:
        raise ConfigurationError(
            f"{origin}: line {error.lineno}, column {error.colno}: this is not JSON: {error.msg}. "
            "JSON has double quotes, no comments and no comma after the last item. Correct that line."
        ) from None
    check_values(value, origin=origin)
    return value


def check_values(value: Any, path: str = "", *, origin: str) -> None:
    """Refuse what JSON cannot say, also in a document that was built in Python: ConfigurationError has its path."""
    if isinstance(value, dict):
        for key, member in value.items():
            _check_text(key, path, origin=origin)
            check_values(member, f"{path}.{key}" if path else key, origin=origin)
    elif isinstance(value, list | tuple):
        for index, member in enumerate(value):
            check_values(member, f"{path}[{index}]", origin=origin)
    elif isinstance(value, str):
        _check_text(value, path, origin=origin)
    elif isinstance(value, _Rejected) or (isinstance(value, float) and not math.isfinite(value)):
        literal = value.literal if isinstance(value, _Rejected) else value
        raise error_at(
            path,
            f"{literal} is not a finite number; one is needed here. Write a number that a computer can hold, or null "
            "where the field allows it.",
            origin=origin,
        )
    elif isinstance(value, _Repeated):
        problem = "this key is given twice in the same object; a key has one value. Remove one of the two."
        raise error_at(path, problem, origin=origin)


def error_at(path: str, problem: str, *, origin: str) -> ConfigurationError:
    """Return the error about the value at a JSON path, which it has as its `key`; without one, about the document."""
    return ConfigurationError(f"{origin}: {path or 'the document'}: {problem}", key=path or None)


class _Rejected:
    """Stands for a value that JSON text may hold and a document must not, until its path is known."""

    def __init__(self, literal: str) -> None:
        self.literal = literal if len(literal) <= 40 else f"{literal[:40]}…"


class _Repeated:
    """Stands for the value of a key that an object has twice."""


def _decode(text: bytes | str, *, origin: str) -> str:
    data = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text
    if len(data) > limit("configuration_bytes"):
        raise ConfigurationError(
            f"{origin}: {len(data)} bytes; a configuration has at most {limit('configuration_bytes')}. "
            "Weights and data do not belong into it: check that this is the right file."
        )
    try:
        return utf8_of(data).decode("utf-8")
    except UnicodeDecodeError as error:
        raise ConfigurationError(
            f"{origin}: byte {error.start} (0x{error.object[error.start]:02x}) is not UTF-8; the whole text has to be. "
            "Save it again as UTF-8."
        ) from None


# A string (even one that never ends) or a bracket. Nothing here can backtrack.
_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"?|[\[\]{}]', re.DOTALL)


def check_depth(source: str, *, origin: str) -> None:
    """Refuse brackets that are nested deeper than `configuration_depth`."""
    depth, deepest = 0, limit("configuration_depth")
    for match in _TOKEN.finditer(source):
        token = match.group()
        if token in "[{":
            depth += 1
        elif token in "]}":
            depth -= 1
        if depth > deepest:
            line = source.count("\n", 0, match.start()) + 1
            raise ConfigurationError(
                f"{origin}: line {line}: brackets are nested deeper than {deepest}; a configuration needs about six. "
                "Check that this is the right file."
            )


def _join_pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    joined: dict[str, Any] = {}
    for key, value in pairs:
        joined[key] = _Repeated() if key in joined else value
    return joined


def _parse_float(literal: str) -> float | _Rejected:
    value = float(literal)
    return value if math.isfinite(value) else _Rejected(literal)


def _parse_int(literal: str) -> int | _Rejected:
    # Python refuses to convert very long integers, and no field could hold one.
    return int(literal) if len(literal) <= 300 else _Rejected(literal)


def _check_text(text: str, path: str, *, origin: str) -> None:
    if any("\ud800" <= character <= "\udfff" for character in text):
        problem = f"{text!a} holds half of a surrogate pair; whole characters are needed. Write the character itself."
        raise error_at(path, problem, origin=origin)
