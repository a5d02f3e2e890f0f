"""Change single values of a configuration: `train.optimizer.lr=6e-5`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec
from msgspec import inspect

from segpipe import advice
from segpipe.errors import ConfigurationError
from segpipe.names import nearest_name

from .codec import check_document
from .explain import Key, chosen_struct, find_path, format_path, keys_of, parse_path, structs_of, type_at, value_at
from .schema import Configuration
from .strict_json import check_values, error_at
from .values import json_values, parse_hex_color, parse_value, split_words

ORIGIN = "override"
_KINDS = {type(None): "null", dict: "an object", list: "a list"}


def override(configuration: Configuration, changes: Iterable[str] | Mapping[str, Any]) -> Configuration:
    """Return a configuration with some values changed, checked as a whole after the last change.

    Published scores that were measured another way than the changed configuration works are left out.

    Args:
        configuration: stays as it is.
        changes: `path=value` texts, whose value is JSON or else taken as a text, or a mapping of paths to values.
            A section that was null appears with its defaults. A new `type` (or `mode`) keeps the keys that the
            new type knows and drops the others.

    Raises:
        ConfigurationError: the path does not exist, or the value is not allowed there.
    """
    document = json_values(configuration)
    for path, value in _pairs(changes):
        _apply_change(document, _parse(path), value)
    return _without_other_scores(configuration, check_document(document, origin=ORIGIN))


def _pairs(changes: Iterable[str] | Mapping[str, Any]) -> list[tuple[str, Any]]:
    if isinstance(changes, Mapping):
        return [(path, _json_value(path, value)) for path, value in changes.items()]
    listed = list(changes) if isinstance(changes, Iterable) and not isinstance(changes, str) else [changes]
    wrong = next((change for change in listed if not isinstance(change, str)), None)
    if wrong is not None:
        raise ConfigurationError(
            f"{ORIGIN}: {wrong!r} is not a change; a list of texts PATH=VALUE or a mapping is needed. Give e.g. "
            f"{advice.setting('train.max_steps', 100)}."
        )
    return [_split(str(change)) for change in listed]


def _json_value(path: str, value: Any) -> Any:
    check_values(value, path, origin=ORIGIN)  # msgspec would make null of some, or its own error
    try:
        return json_values(value)
    except TypeError:
        raise _error(
            path,
            f"a {type(value).__name__} cannot stand in a JSON document; numbers, texts, lists, dicts, true, false and "
            "null can. Convert it.",
        ) from None


def _split(change: str) -> tuple[str, Any]:
    path, equals, text = change.partition("=")
    if not equals:
        raise ConfigurationError(
            f"{ORIGIN}: {change!r} has no '='; PATH=VALUE is needed, e.g. train.optimizer.lr=6e-5. Add the value."
        )
    return path.strip(), parse_value(text)


def _parse(path: str) -> tuple[Key, ...]:
    try:
        return parse_path(path)
    except ValueError as error:
        raise ConfigurationError(f"{ORIGIN}: {error}. Correct the part before '='.") from None


def _apply_change(document: dict[str, Any], path: tuple[Key, ...], value: Any) -> None:
    for depth in range(len(path)):
        _apply_section(document, path[:depth])
        _check_step(document, path[:depth], path[depth])
    value = _as_list(value, type_at(document, path))
    if _is_tag(document, path):
        _apply_type(document, path, value)
    value_at(document, path[:-1])[path[-1]] = value


def _as_list(value: Any, expected: inspect.Type | None) -> Any:
    """Return the list that a text with commas stands for, `512,512` or `road,sky`, where a list belongs and no text."""
    members = expected.types if isinstance(expected, inspect.UnionType) else (expected,)
    lists = [member for member in members if isinstance(member, inspect.VarTupleType | inspect.TupleType)]
    is_text = any(isinstance(member, inspect.StrType | inspect.LiteralType) for member in members)
    if not isinstance(value, str) or not lists or is_text:
        return value
    items = lists[0].item_types[:1] if isinstance(lists[0], inspect.TupleType) else (lists[0].item_type,)
    words = split_words(value)
    if isinstance(items[0], inspect.StrType):
        return words
    return [parse_hex_color(word) if word.startswith("#") else parse_value(word) for word in words]


def _apply_section(document: dict[str, Any], path: tuple[Key, ...]) -> None:
    """Put an empty section where the document has null and only one kind of section can be."""
    structs = structs_of(type_at(document, path))
    if path and value_at(document, path) is None and len(structs) == 1:
        value_at(document, path[:-1])[path[-1]] = {}


def _check_step(document: dict[str, Any], path: tuple[Key, ...], key: Key) -> None:
    """Refuse a key that does not exist at a path."""
    container, here = value_at(document, path), format_path(path)
    if isinstance(type_at(document, path), inspect.DictType) and isinstance(key, str):
        return  # the keys of this object are the user's own
    if isinstance(container, dict) and isinstance(key, str):
        struct = chosen_struct(structs_of(type_at(document, path)), container)
        known = keys_of(struct) if struct else list(container)
        if key not in known:
            raise _error(format_path((*path, key)), _unknown_key(key, path, known))
        return
    if isinstance(container, list) and isinstance(key, str) and key.isdecimal():
        raise _error(here, f"items of a list are written {here}[{key}]. Correct the path.")
    if not isinstance(container, list) or not isinstance(key, int):
        raise _error(
            here,
            f"it is {_KINDS.get(type(container), 'a single value')} in this configuration and has no "
            f"{format_path((key,))!r}. Give the whole value: {advice.setting(here)}.",
        )
    if key >= len(container):
        raise _error(
            format_path((*path, key)),
            f"the list has {len(container)} items, counted from [0]. Use one of these, or give the whole list: "
            f"{advice.setting(here)}.",
        )


def _error(path: str, problem: str) -> ConfigurationError:
    return error_at(path, problem, origin=ORIGIN)


def _unknown_key(key: str, path: tuple[Key, ...], known: list[str]) -> str:
    nearest = nearest_name(key, known)
    better = format_path((*path, nearest)) if nearest else find_path(key)
    if better:
        return f"there is no key {key!r} here. Did you mean {better!r}?"
    return f"there is no key {key!r} here; the keys here are {', '.join(known)}. Use one of these."


def _is_tag(document: dict[str, Any], path: tuple[Key, ...]) -> bool:
    structs = structs_of(type_at(document, path[:-1]))
    return bool(structs) and structs[0].tag_field == path[-1]


def _apply_type(document: dict[str, Any], path: tuple[Key, ...], tag: Any) -> None:
    """Drop the keys that the new type does not know."""
    section = value_at(document, path[:-1])
    struct = chosen_struct(structs_of(type_at(document, path[:-1])), {path[-1]: tag})
    if struct is None:
        return  # the check of the whole document lists the known types
    for key in set(section) - set(keys_of(struct)):
        del section[key]


def _without_other_scores(before: Configuration, after: Configuration) -> Configuration:
    """Take the published figures off a configuration that no longer runs what they were measured with."""
    scores = after.weights.scores if after.weights else None
    if after.weights is None or scores is None or _procedure(before) == _procedure(after):
        return after
    if before.weights is None or before.weights.scores != scores:
        return after  # they were changed as well
    return msgspec.structs.replace(after, weights=msgspec.structs.replace(after.weights, scores=None))


def _procedure(configuration: Configuration) -> tuple[object, ...]:
    return configuration.preprocessor, configuration.inference, configuration.model
