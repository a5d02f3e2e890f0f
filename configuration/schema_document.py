"""The JSON Schema of `configuration.json`, with the text under each field as its description."""

from __future__ import annotations

import ast
import functools
import inspect
from types import ModuleType
from typing import Any

import msgspec

from . import models, schema, training, transforms
from .schema import Configuration
from .values import json_values


def json_schema() -> dict[str, Any]:
    """A JSON Schema (2020-12) that editors understand."""
    document = msgspec.json.schema(Configuration)
    document["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    document["title"] = "segpipe configuration.json"
    for name, definition in document["$defs"].items():
        for key, field in definition.get("properties", {}).items():
            text = field_descriptions().get(name, {}).get(key)
            if text:
                definition["properties"][key] = {**field, "description": text}
    return json_values(document)


@functools.lru_cache(maxsize=1)
def field_descriptions() -> dict[str, dict[str, str]]:
    """The string literal under each field of each section: class name → field → text, inherited fields included."""
    own: dict[str, dict[str, str]] = {}
    for module in (transforms, training, models, schema):
        for node in ast.parse(inspect.getsource(module)).body:
            if isinstance(node, ast.ClassDef):
                own[node.name] = _literals_under_fields(node)
    return {name: _with_inherited(name, own) for name in own}


def _literals_under_fields(node: ast.ClassDef) -> dict[str, str]:
    texts: dict[str, str] = {}
    for field, below in zip(node.body, node.body[1:], strict=False):
        if not isinstance(field, ast.AnnAssign) or not isinstance(field.target, ast.Name):
            continue
        if isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant):
            texts[field.target.id] = inspect.cleandoc(str(below.value.value))
    return texts


def _with_inherited(name: str, own: dict[str, dict[str, str]]) -> dict[str, str]:
    struct = _find(name, (schema, models, training, transforms))
    texts: dict[str, str] = {}
    for ancestor in reversed(struct.__mro__):
        texts |= own.get(ancestor.__name__, {})
    return texts


def _find(name: str, modules: tuple[ModuleType, ...]) -> type:
    return next(vars(module)[name] for module in modules if name in vars(module))
