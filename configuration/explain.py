"""The schema in words: messages for a document that does not fit, and the JSON Schema for editors."""

from __future__ import annotations

import ast
import functools
import re
import sys
from collections.abc import Iterator
from inspect import cleandoc, getsource
from typing import Any

import msgspec
from msgspec import inspect

from segpipe.names import nearest_name
from segpipe.registry import load_plugins

from .fields import Section
from .model_section import any_model
from .schema import Configuration
from .values import json_values

Key = str | int
# Keys with which other libraries' documents make their reader run or fetch code.
CODE_KEYS = frozenset({"plugins", "allow_remote", "trust_remote_code", "auto_map", "custom_import", "_target_"})


def explain(error: msgspec.ValidationError, document: Any) -> tuple[str, str]:
    """Return the JSON path of what is wrong with the document, and a paragraph on it."""
    reason, path = _split(str(error))
    unknown = re.fullmatch(r"Object contains unknown field `(.*)`", reason, re.DOTALL)
    if unknown:
        return _explain_unknown_key(unknown.group(1), path, document)
    missing = re.fullmatch(r"Object missing required field `(.*)`", reason)
    if missing:
        return _explain_missing_key(missing.group(1), path, document)
    value = value_at(document, path)
    expected = type_at(document, path)
    if reason.startswith(("Invalid ", "Expected ", "Number out of range")) and expected is not None:
        return _explain_value(value, expected, path)
    return format_path(path), f"{reason}. Correct one of the two."


def parse_path(text: str) -> tuple[Key, ...]:
    """Return `train.transforms[1].size` as keys; ValueError when it is not such a path."""
    if not re.fullmatch(r"[^.\[\]]+(\[\d+\])*(\.[^.\[\]]+(\[\d+\])*)*", text):
        raise ValueError(f"{text!r} is not a path like train.optimizer.lr or train.transforms[1].size")
    return tuple(int(index) if index else key for index, key in re.findall(r"\[(\d+)\]|([^.\[\]]+)", text))


def format_path(path: tuple[Key, ...]) -> str:
    """Return the text of a path, empty for the whole document: the inverse of `parse_path`."""
    parts = (f"[{key}]" if isinstance(key, int) else f".{key}" for key in path)
    return "".join(parts).removeprefix(".")


def value_at(document: Any, path: tuple[Key, ...]) -> Any:
    """Return the value at a path, or None where there is none."""
    for key in path:
        try:
            document = document[key]
        except (KeyError, IndexError, TypeError):
            return None
    return document


def type_at(document: Any, path: tuple[Key, ...]) -> inspect.Type | None:
    """Return what the schema wants at a path, given the tags that the document has on the way there."""
    expected: inspect.Type | None = _document_type()
    for depth, key in enumerate(path):
        expected = _member_type(expected, key, value_at(document, path[:depth]))
        if expected is None:
            return None
    return expected


def find_path(key: str) -> str | None:
    """Return the path of the schema that ends with a key, as `train.batch_size` does: the recipe's, or the shortest."""
    paths = [path for path in _paths_below(_document_type(), (), ()) if path[-1] == key]
    best = min(paths, key=lambda path: (path[0] != "train", len(path), path), default=None)
    return None if best is None else format_path(best)


def chosen_struct(structs: list[inspect.StructType], value: Any) -> inspect.StructType | None:
    """Return the section that a value's tag stands for."""
    if not structs or structs[0].tag_field is None:
        return structs[0] if structs else None
    tag = value.get(structs[0].tag_field) if isinstance(value, dict) else None
    return next((struct for struct in structs if struct.tag == tag), None)


def keys_of(struct: inspect.StructType) -> list[str]:
    """Return the keys of a section, its tag first."""
    names = [field.encode_name for field in struct.fields]
    return [struct.tag_field, *names] if struct.tag_field else names


def structs_of(expected: inspect.Type | None) -> list[inspect.StructType]:
    """Return the sections that may stand at a place: one, several told apart by their tag, or none."""
    if isinstance(expected, inspect.UnionType):
        return [member for member in expected.types if isinstance(member, inspect.StructType)]
    return [expected] if isinstance(expected, inspect.StructType) else []


def describe(expected: inspect.Type) -> str:
    """Return what would be right, as one noun phrase: `an integer from 1 to 65534`."""
    if isinstance(expected, inspect.UnionType):
        return _describe_union(expected)
    if isinstance(expected, inspect.LiteralType):
        return _one_of(expected.values)
    if isinstance(expected, inspect.IntType | inspect.FloatType):
        kind = "an integer" if isinstance(expected, inspect.IntType) else "a number"
        return f"{kind}{_describe_bounds(expected)}"
    if isinstance(expected, inspect.StrType):
        return f"a text that matches {expected.pattern}" if expected.pattern else f"a text{_describe_length(expected)}"
    if isinstance(expected, inspect.TupleType):
        return f"a list of {len(expected.item_types)}: [{', '.join(map(describe, expected.item_types))}]"
    if isinstance(expected, inspect.VarTupleType):
        return f"a list{_describe_length(expected, 'items')}, each {describe(expected.item_type)}"
    if isinstance(expected, inspect.StructType):
        return f"an object with the keys {', '.join(keys_of(expected))}"
    if isinstance(expected, inspect.DictType | inspect.AnyType):
        return "an object" if isinstance(expected, inspect.DictType) else "any value"
    return "true or false" if isinstance(expected, inspect.BoolType) else "null"


def error_under(error: msgspec.ValidationError, key: str) -> msgspec.ValidationError:
    """Return the error about a document that has at `key` what the given error is about."""
    reason, path = _split(str(error))
    return msgspec.ValidationError(f"{reason} - at `$.{format_path((key, *path))}`")


def json_schema() -> dict[str, Any]:
    """Return a JSON Schema (2020-12) that editors understand; `model` is the section of any installed family."""
    load_plugins()
    (document, model), definitions = msgspec.json.schema_components(
        (Configuration, any_model()), schema_hook=lambda _: {"type": "object"}, ref_template="#/$defs/{name}"
    )
    definitions["Configuration"]["properties"]["model"] = model
    texts = field_descriptions()
    for name, definition in definitions.items():
        for key, field in definition.get("properties", {}).items():
            text = texts.get(name, {}).get(key)
            if text:
                definition["properties"][key] = {**field, "description": text}
    dialect = "https://json-schema.org/draft/2020-12/schema"
    whole = {**document, "$defs": definitions, "$schema": dialect, "title": "segpipe configuration.json"}
    return json_values(whole)


def field_descriptions() -> dict[str, dict[str, str]]:
    """Return the text under each field of each section: class name → field → text, inherited fields included."""
    lines = {section: _section_classes(section) for section in _sections(_document_type())}
    modules = dict.fromkeys(sys.modules[each.__module__] for classes in lines.values() for each in classes)
    own: dict[str, dict[str, str]] = {}
    for node in (node for module in modules for node in ast.parse(getsource(module)).body):
        if isinstance(node, ast.ClassDef):
            own[node.name] = _literals_under_fields(node)
    return {
        section.__name__: {field: text for each in classes for field, text in own[each.__name__].items()}
        for section, classes in lines.items()
    }


def _split(message: str) -> tuple[str, tuple[Key, ...]]:
    match = re.fullmatch(r"(.*) - at `\$(.*)`", message, re.DOTALL)
    if match is None:
        return message, ()
    try:
        return match.group(1), parse_path(match.group(2).removeprefix("."))
    except ValueError:  # not a path: a key of the document looks like the end of a message
        return message, ()


@functools.lru_cache(maxsize=1)
def _document_type() -> inspect.Type:
    return inspect.type_info(Configuration)


def _paths_below(expected: inspect.Type, path: tuple[str, ...], passed: tuple[type, ...]) -> Iterator[tuple[str, ...]]:
    for struct in structs_of(expected):
        for key, member in _members(struct).items() if struct.cls not in passed else ():
            below = (*path, key)
            yield below
            yield from _paths_below(member, below, (*passed, struct.cls))


def _member_type(expected: inspect.Type | None, key: Key, value: Any) -> inspect.Type | None:
    if isinstance(key, int):
        return _item_type(expected, key)
    structs = structs_of(expected)
    tag_field = structs[0].tag_field if structs else None
    if tag_field == key:
        return inspect.LiteralType(tuple(struct.tag for struct in structs))
    struct = chosen_struct(structs, value)
    return _members(struct).get(key) if struct else None


def _members(struct: inspect.StructType) -> dict[str, inspect.Type]:
    """Return key → type of a section's members; what the schema leaves open is the section of any family."""
    types = {field.encode_name: field.type for field in struct.fields}
    left_open = [key for key, member in types.items() if isinstance(member, inspect.CustomType)]
    return types | {key: inspect.type_info(any_model()) for key in left_open}


def _item_type(expected: inspect.Type | None, index: int) -> inspect.Type | None:
    for member in expected.types if isinstance(expected, inspect.UnionType) else (expected,):
        if isinstance(member, inspect.VarTupleType):
            return member.item_type
        if isinstance(member, inspect.TupleType) and index < len(member.item_types):
            return member.item_types[index]
    return None


def _explain_unknown_key(key: str, path: tuple[Key, ...], document: Any) -> tuple[str, str]:
    place = format_path((*path, key))
    struct = chosen_struct(structs_of(type_at(document, path)), value_at(document, path))
    known = keys_of(struct) if struct else []
    if key in CODE_KEYS:
        return place, (
            "a configuration cannot ask for code to be run or trusted; it is data. "
            f"The keys here are {', '.join(known)}. Remove {key!r}."
        )
    advice = _suggest(key, known) or "Remove it, or move it to where it belongs."
    return place, f"there is no key {key!r} here; the keys here are {', '.join(known)}. {advice}"


def _explain_missing_key(key: str, path: tuple[Key, ...], document: Any) -> tuple[str, str]:
    expected = type_at(document, (*path, key))
    wanted = describe(expected) if expected else "a value"
    return format_path((*path, key)), f"this key is missing; {wanted} is needed. Add it."


def _explain_value(value: Any, expected: inspect.Type, path: tuple[Key, ...]) -> tuple[str, str]:
    advice = "Correct the value."
    if isinstance(expected, inspect.LiteralType):
        advice = _suggest(value, [str(known) for known in expected.values]) or advice
    return format_path(path), f"{_show(value)} is not allowed; allowed is {describe(expected)}. {advice}"


def _suggest(word: Any, known: list[str]) -> str | None:
    nearest = nearest_name(word, known) if isinstance(word, str) else None
    return f"Did you mean {nearest!r}?" if nearest else None


def _show(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, dict):
        return "an object"
    text = msgspec.json.encode(value).decode() if not isinstance(value, int) or abs(value) < 2**63 else str(value)
    text = text if len(text) <= 80 else f"{text[:80]}…"
    return f"the list {text}" if isinstance(value, list) else text


def _describe_union(expected: inspect.UnionType) -> str:
    structs = structs_of(expected)
    others = [member for member in expected.types if not isinstance(member, inspect.StructType)]
    parts = []
    if len(structs) == 1:
        parts.append(describe(structs[0]))
    elif structs:
        parts.append(f"an object whose {structs[0].tag_field!r} is {_one_of(struct.tag for struct in structs)}")
    others.sort(key=lambda member: isinstance(member, inspect.NoneType))
    return " or ".join([*parts, *map(describe, others)])


def _one_of(values: Any) -> str:
    shown = [f'"{value}"' if isinstance(value, str) else str(value) for value in values]
    return shown[0] if len(shown) == 1 else f"one of {', '.join(shown)}"


def _describe_bounds(expected: inspect.IntType | inspect.FloatType) -> str:
    if expected.gt is not None:
        below = "" if expected.lt is None else f" and below {expected.lt:g}"
        return f" above {expected.gt:g}{below}" + (f" and at most {expected.le:g}" if expected.le is not None else "")
    if expected.ge is not None and expected.le is not None:
        return f" from {_number(expected.ge)} to {_number(expected.le)}"
    return f" of at least {_number(expected.ge)}" if expected.ge is not None else ""


def _number(value: float) -> str:
    return str(int(value)) if value == int(value) else str(value)


def _describe_length(expected: inspect.StrType | inspect.VarTupleType, unit: str = "characters") -> str:
    if expected.min_length is not None and expected.max_length is not None:
        return f" of {expected.min_length} to {expected.max_length} {unit}"
    return f" of at least {expected.min_length} {unit}" if expected.min_length is not None else ""


def _section_classes(section: type) -> list[type]:
    """Return a section and those that it inherits from, these first."""
    return [each for each in reversed(section.__mro__) if issubclass(each, Section)]


def _sections(expected: inspect.Type) -> set[type]:
    """Return every section that a document may contain."""
    found: set[type] = set()
    waiting = [expected]
    while waiting:
        kind = waiting.pop()
        waiting += [*getattr(kind, "types", ()), *getattr(kind, "item_types", ())]
        if isinstance(kind, inspect.VarTupleType):
            waiting.append(kind.item_type)
        if isinstance(kind, inspect.StructType) and kind.cls not in found:
            found.add(kind.cls)
            waiting += _members(kind).values()
    return found


def _literals_under_fields(node: ast.ClassDef) -> dict[str, str]:
    texts: dict[str, str] = {}
    for field, below in zip(node.body, node.body[1:], strict=False):
        if not isinstance(field, ast.AnnAssign) or not isinstance(field.target, ast.Name):
            continue
        if isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant):
            texts[field.target.id] = cleandoc(str(below.value.value))
    return texts
