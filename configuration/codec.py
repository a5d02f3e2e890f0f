"""Read and write a `configuration.json`: strictly in, pleasantly out, old versions brought up to date."""

from __future__ import annotations

import json
import os
import uuid
from pathlib import Path
from typing import Any

import msgspec

from segpipe.errors import ConfigurationError

from .explain import explain
from .schema import Configuration
from .sizes import oversized
from .strict_json import check_values, parse_json, read_json
from .upgrades import upgrade
from .values import json_values

LINE_LENGTH = 100


def read_configuration(path: Path) -> Configuration:
    """The configuration in a file; ConfigurationError says the file, the JSON path and what would be right."""
    return build_configuration(read_json(path), origin=str(path))


def decode_configuration(text: bytes | str, *, origin: str) -> Configuration:
    """The configuration in a text; `origin` is where the text came from and begins every message."""
    return build_configuration(parse_json(text, origin=origin), origin=origin)


def build_configuration(document: Any, *, origin: str) -> Configuration:
    """Return the configuration that a parsed JSON document of any version describes, checked."""
    return check_document(upgrade(document, origin=origin), origin=origin)


def check_document(document: dict[str, Any], *, origin: str) -> Configuration:
    """Return the configuration that a JSON document of today's version describes.

    Raises:
        ConfigurationError: it does not fit the schema, or asks for more than `segpipe.limits` allows.
    """
    check_values(document, origin=origin)
    try:
        configuration = msgspec.convert(document, Configuration)
    except msgspec.ValidationError as error:
        raise ConfigurationError(f"{origin}: {explain(error, document)}") from None
    problem = oversized(configuration)
    if problem is not None:
        raise ConfigurationError(f"{origin}: {problem}")
    return configuration


def encode_configuration(configuration: Configuration) -> bytes:
    """UTF-8 JSON with a newline at the end; decoding and encoding it again gives the same bytes."""
    return f"{_format(to_document(configuration), indent=0, used=0)}\n".encode()


def write_configuration(configuration: Configuration, path: Path) -> None:
    """Write a configuration; the file appears whole or not at all.

    ConfigurationError when it was built in Python with values that reading it would refuse.
    """
    check_document(to_document(configuration), origin=str(path))
    # Not mkstemp, which overrules the umask: a model folder is for whom its owner wants it to be.
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.tmp")
    try:
        with open(temporary, "xb") as stream:
            stream.write(encode_configuration(configuration))
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def to_document(configuration: Configuration) -> dict[str, Any]:
    """The configuration as JSON values; top-level sections that are null are left out."""
    document = json_values(configuration)
    return {key: value for key, value in document.items() if value is not None}


def _format(value: Any, *, indent: int, used: int) -> str:
    """JSON text of a value that begins `used` characters into its line."""
    flat = json.dumps(value, ensure_ascii=False)
    if not isinstance(value, dict | list) or not value or _is_numbers(value):
        return flat
    if used > 0 and used + len(flat) < LINE_LENGTH and not _has_objects_inside(value):
        return flat
    inner = " " * (indent + 2)
    if isinstance(value, dict):
        lines = [_format_member(key, member, indent=indent + 2) for key, member in value.items()]
    elif all(isinstance(item, str) for item in value):
        lines = _fill([json.dumps(item, ensure_ascii=False) for item in value], width=LINE_LENGTH - len(inner))
    else:
        lines = [_format(item, indent=indent + 2, used=len(inner)) for item in value]
    opening, closing = "{}" if isinstance(value, dict) else "[]"
    body = f",\n{inner}".join(lines)
    return f"{opening}\n{inner}{body}\n{' ' * indent}{closing}"


def _format_member(key: str, value: Any, *, indent: int) -> str:
    start = f"{json.dumps(key, ensure_ascii=False)}: "
    return start + _format(value, indent=indent, used=indent + len(start))


def _is_numbers(value: Any) -> bool:
    """Whether it is a list of numbers, or a palette: a list of such lists."""
    return isinstance(value, list) and all(isinstance(item, int | float) or _is_numbers(item) for item in value)


def _has_objects_inside(value: Any) -> bool:
    members = value.values() if isinstance(value, dict) else value
    return any(isinstance(member, dict) and len(member) > 2 for member in members)


def _fill(items: list[str], *, width: int) -> list[str]:
    lines = [items[0]]
    for item in items[1:]:
        if len(lines[-1]) + len(item) + 3 <= width:
            lines[-1] += f", {item}"
        else:
            lines.append(item)
    return lines
