"""YAML as data: mappings, lists and scalars, read by PyYAML without aliases, objects or keys given twice."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, ClassVar

import yaml

from segpipe.errors import ConfigurationError
from segpipe.files import read_text
from segpipe.limits import limit

_PLAIN_TAGS = frozenset(f"tag:yaml.org,2002:{name}" for name in ("null", "bool", "int", "float", "str"))
_LIST_TAGS = frozenset({"tag:yaml.org,2002:seq", "tag:yaml.org,2002:python/tuple"})
_MAPPING_TAG = "tag:yaml.org,2002:map"
# Longer unquoted scalars are not numbers, and the patterns that tell numbers from texts take long over them.
_MAX_PLAIN_LENGTH = 1000


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """PyYAML's safe loader; a number in exponent form needs no decimal point, and dates stay texts."""

    yaml_implicit_resolvers: ClassVar[dict[str, Any]] = {
        first: [(tag, pattern) for tag, pattern in resolvers if not tag.endswith((":timestamp", ":merge", ":value"))]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"[-+]?[0-9]+(?:\.[0-9]*)?[eE][-+]?[0-9]+$"), list("-+0123456789")
)


def read_yaml(path: Path) -> Any:
    """Return the value in a YAML file; ConfigurationError names the file and the line."""
    return parse_yaml(read_yaml_text(path), origin=str(path))


def read_yaml_text(path: Path) -> str:
    """Return the text of a YAML file of at most `yaml_bytes`, see `segpipe.limits`."""
    return read_text(path, max_bytes=limit("yaml_bytes"), error=ConfigurationError)


def parse_yaml(text: str, *, origin: str) -> Any:
    """Return the value of a YAML text, of dicts with text keys, lists, texts, numbers, true, false and null.

    Tuples that Python wrote (`!!python/tuple`) are lists. Every other tag, an alias, a key that comes twice, several
    documents and nesting deeper than `configuration_depth` are refused.
    """
    try:
        _check_events(text, origin)
        loader = _Loader(text)
        try:
            node = loader.get_single_node()
            return None if node is None else _build(loader, node, origin)
        finally:
            loader.dispose()
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        why = getattr(error, "problem", None) or getattr(error, "reason", None) or "it cannot be read"
        raise _error(origin, mark, f"this is not YAML: {why}") from None
    except ValueError as error:
        if isinstance(error, ConfigurationError):
            raise
        raise ConfigurationError(f"{origin}: this is not YAML: {error}. Correct it.") from None


def _check_events(text: str, origin: str) -> None:
    """Refuse aliases and deep nesting before any value is made; the parser stops at the first."""
    depth, deepest = 0, limit("configuration_depth")
    for event in yaml.parse(text, Loader=_Loader):
        if isinstance(event, yaml.AliasEvent):
            raise _error(origin, event.start_mark, "an alias (*) stands for another value; write the value itself")
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            if depth > deepest:
                raise _error(origin, event.start_mark, f"this is nested deeper than {deepest} levels")
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        elif isinstance(event, yaml.ScalarEvent) and event.implicit[0] and len(event.value) > _MAX_PLAIN_LENGTH:
            raise _error(origin, event.start_mark, f"a value of {len(event.value)} characters needs quotes")


def _build(loader: Any, node: yaml.Node, origin: str) -> Any:
    if isinstance(node, yaml.ScalarNode) and node.tag in _PLAIN_TAGS:
        return loader.construct_object(node)
    if isinstance(node, yaml.SequenceNode) and node.tag in _LIST_TAGS:
        return [_build(loader, item, origin) for item in node.value]
    if not isinstance(node, yaml.MappingNode) or node.tag != _MAPPING_TAG:
        raise _error(origin, node.start_mark, f"the tag {node.tag[:60]!r} asks for an object, and a document is data")
    result: dict[str, Any] = {}
    for key, value in node.value:
        if not isinstance(key, yaml.ScalarNode):
            raise _error(origin, key.start_mark, "a key must be a text")
        if key.value in result:
            raise _error(origin, key.start_mark, f"the key {key.value[:60]!r} comes twice")
        result[key.value] = _build(loader, value, origin)
    return result


def _error(origin: str, mark: Any, problem: str) -> ConfigurationError:
    place = f" line {mark.line + 1}:" if mark is not None else ""
    return ConfigurationError(f"{origin}:{place} {problem}. Correct it.")
