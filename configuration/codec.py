"""Read and write a `configuration.json`: checked when it is read, laid out for people when it is written."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from segpipe.atomic import write_atomically
from segpipe.errors import ConfigurationError
from segpipe.limits import limit

from .explain import error_under, explain
from .fields import Size
from .model_section import decode_model
from .schema import Configuration, CropResize, ExactResize, ShortSideResize
from .strict_json import check_values, error_at, parse_json, read_json
from .transforms import RandomResize, RandomResizedCrop, ResizeBetween, ResizeChoice, Transform
from .upgrades import upgrade
from .values import json_values

Request = tuple[str, float]
"""A path in the document and the pixels that it asks for."""
LINE_LENGTH = 100
_USUAL_IMAGE = (1024, 1024)
_ADVICE = "Make it smaller; docs/limits.md says how to raise the limit."


def read_configuration(path: Path) -> Configuration:
    """Return the configuration in a file.

    Raises:
        ConfigurationError: says the file, the JSON path and what would be right; its `path` is the file.
    """
    try:
        return build_configuration(read_json(path), origin=str(path))
    except ConfigurationError as error:
        error.path = Path(path)
        raise


def decode_configuration(text: bytes | str, *, origin: str) -> Configuration:
    """Return the configuration in a text; `origin` is where the text came from and begins every message."""
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
        configuration = msgspec.convert(document, Configuration, dec_hook=_decode_section)
    except msgspec.ValidationError as error:
        raise error_at(*explain(error, document), origin=origin) from None
    problem = oversized(configuration)
    if problem is not None:
        raise error_at(*problem, origin=origin)
    return configuration


def _decode_section(kind: type, section: Any) -> Any:
    """Decode `model`, all that the schema leaves open, for msgspec."""
    try:
        return decode_model(section)
    except msgspec.ValidationError as error:
        raise error_under(error, "model") from None


def encode_configuration(configuration: Configuration) -> bytes:
    """Return UTF-8 JSON with a newline at the end; decoding and encoding it again gives the same bytes."""
    return f"{_format(to_document(configuration), indent=0, used=0)}\n".encode()


def write_configuration(configuration: Configuration, path: Path) -> None:
    """Write a configuration; the file appears whole or not at all.

    Raises:
        ConfigurationError: it was built in Python with values that reading it would refuse.
    """
    check_document(to_document(configuration), origin=str(path))
    write_atomically(path, encode_configuration(configuration))


def to_document(configuration: Configuration) -> dict[str, Any]:
    """Return the configuration as JSON values; top-level sections that are null are left out."""
    document = json_values(configuration)
    return {key: value for key, value in document.items() if value is not None}


def oversized(configuration: Configuration) -> tuple[str, str] | None:
    """Return the path of the first size over the limits and what is wrong with it, or None if all are within."""
    train = configuration.train
    transforms = [] if train is None else list(enumerate(train.transforms))
    requests = list(_inference_requests(configuration))
    for index, transform in transforms:
        requests += [(f"train.transforms[{index}]{path}", pixels) for path, pixels in _transform_requests(transform)]
    most = limit("resized_pixels")
    for path, pixels in requests:
        if pixels > most:
            return path, f"this asks for images of {pixels:,.0f} pixels; at most {most:,} are allowed. {_ADVICE}"
    crop = next((pixels for _, each in reversed(transforms) for _, pixels in _transform_requests(each)), 1)
    most = limit("batch_pixels")
    if train is not None and train.batch_size * crop > most:
        images = f"{train.batch_size:,} images of {crop:,.0f} pixels"
        return "train.batch_size", f"{images} are more than the {most:,} pixels allowed in a step. {_ADVICE}"
    return None


def _inference_requests(configuration: Configuration) -> Iterator[Request]:
    resize, inference = configuration.preprocessor.resize, configuration.inference
    largest = max(inference.scales) ** 2
    if isinstance(resize, ExactResize):
        yield "preprocessor.resize.size", _area(resize.size) * largest
    elif isinstance(resize, ShortSideResize):
        yield "preprocessor.resize.size", resize.size**2 * largest
    elif isinstance(resize, CropResize):
        yield "preprocessor.resize.size", resize.size**2
    if inference.window is not None:
        yield "inference.window", _area(inference.window)


def _transform_requests(transform: Transform) -> Iterator[Request]:
    """Yield the size of the largest images that a transform makes; one that only crops or pads states it."""
    if isinstance(transform, RandomResize | RandomResizedCrop):
        ratio = min(max(transform.ratio), 1e9) ** 2
        yield ".ratio", _area(transform.size or _USUAL_IMAGE) * ratio
    elif isinstance(transform, ResizeBetween):
        yield ".greatest", _area(transform.greatest)
    elif isinstance(transform, ResizeChoice):
        yield ".sizes", max(map(_area, transform.sizes))
    elif getattr(transform, "size", None) is not None:
        yield ".size", _area(transform.size)  # type: ignore[attr-defined]


def _area(size: Size) -> int:
    return size[0] * size[1]


def _format(value: Any, *, indent: int, used: int) -> str:
    """Return JSON text of a value that begins `used` characters into its line."""
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
    """Return whether it is a list of numbers, or a palette: a list of such lists."""
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
