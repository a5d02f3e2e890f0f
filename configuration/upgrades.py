"""Upgrades of documents of older versions: one table, which every document passes when it is read."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from segpipe.errors import ConfigurationError
from segpipe.log import get_logger

from .explain import value_at
from .schema import FORMAT_VERSION
from .strict_json import error_at

logger = get_logger(__name__)

Document = dict[str, Any]


class Upgrade(NamedTuple):
    """A key of older documents that was removed, has another name, or has other values."""

    path: str
    change: Callable[[Any, Document], Mapping[str, Any]]
    """Takes the key's value and the whole document; returns what replaces it, by path: nothing if it was removed."""


def _min_lr(value: Any, document: Document) -> dict[str, Any]:
    """Drop the key of a constant learning rate, which ends at no other one: nothing ever read it there."""
    return {} if document["train"]["schedule"].get("type") == "constant" else {"train.schedule.min_lr": value}


def _trainer(name: Any, document: Document) -> dict[str, Any]:
    """Correct the default that 0.1.0 wrote into recipes of every task, and read nowhere."""
    is_default = name == "segmentation" and document.get("task") == "image-classification"
    return {"train.trainer": "classification" if is_default else name}


UPGRADES: Mapping[int, Sequence[Upgrade]] = {
    1: (Upgrade("train.schedule.min_lr", _min_lr), Upgrade("train.trainer", _trainer)),
}
"""By format version: the changes in documents of this version, in order.

A change that older versions of segpipe cannot read begins a new format version; others belong to the newest.
"""


def upgrade(
    document: Any,
    *,
    origin: str,
    table: Mapping[int, Sequence[Upgrade]] = UPGRADES,
    target: int = FORMAT_VERSION,
) -> Document:
    """Return the document as the format version `target` has it. The given one stays unchanged.

    Raises:
        ConfigurationError: it is not a JSON object, or is of a newer version.
    """
    if not isinstance(document, dict):
        raise ConfigurationError(
            f"{origin}: the document is {_kind(document)}; a configuration is a JSON object. "
            "Check that this is the right file."
        )
    version = document.get("format_version", target)
    if not isinstance(version, int) or isinstance(version, bool) or version < 1:
        return document  # the schema says what is wrong with it
    if version > target:
        raise error_at(
            "format_version",
            f"{version} is newer than {target}, the newest that this segpipe reads. Upgrade segpipe: "
            "pip install --upgrade segpipe.",
            origin=origin,
        )
    for each in (row for step in range(version, target + 1) for row in table.get(step, ())):
        document = _apply(each, document)
    if version == target:
        return document
    logger.info("Upgraded %s from format version %s to %s", origin, version, target)
    return {**document, "format_version": target}


def _apply(row: Upgrade, document: Document) -> Document:
    *parents, key = row.path.split(".")
    section = value_at(document, tuple(parents))
    if not isinstance(section, dict) or key not in section:
        return document
    upgraded = _without(document, row.path.split("."))
    for path, value in row.change(section[key], document).items():
        upgraded = _with(upgraded, path.split("."), value)
    return upgraded


def _without(section: Document, path: Sequence[str]) -> Document:
    key, *rest = path
    if rest:
        return {**section, key: _without(section[key], rest)}
    return {name: value for name, value in section.items() if name != key}


def _with(section: Document, path: Sequence[str], value: Any) -> Document:
    key, *rest = path
    if not rest:
        return {**section, key: value}
    inner = section.get(key) or {}
    # The schema says what is wrong with a value that is not a section.
    return {**section, key: _with(inner, rest, value) if isinstance(inner, dict) else inner}


def _kind(value: Any) -> str:
    names = {list: "a list", str: "a text", bool: "a truth value", int: "a number", float: "a number"}
    return names.get(type(value), "null")
