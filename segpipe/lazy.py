"""Lazy packages (PEP 562): a room's names are imported when they are first used."""

from __future__ import annotations

import ast
import importlib
import pkgutil
import sys
from collections.abc import Callable
from typing import Any


def lazy_names(package: str) -> tuple[Callable[[str], Any], Callable[[], list[str]], list[str]]:
    """Return `__getattr__`, `__dir__` and `__all__` for a package that imports its names under `TYPE_CHECKING`.

    Its source is parsed for them, so that a name is listed once, for Python as for type checkers and editors.

    Args:
        package: the package's `__name__`; the modules of its block are its own (`from .module import name as name`).

    Raises:
        OSError: the package was installed without the source of its `__init__.py`.
    """
    source = ast.parse(pkgutil.get_data(package, "__init__.py") or b"")
    homes = {
        alias.name: statement.module
        for block in source.body
        if isinstance(block, ast.If) and ast.unparse(block.test) == "TYPE_CHECKING"
        for statement in block.body
        if isinstance(statement, ast.ImportFrom)
        for alias in statement.names
    }

    def get(name: str) -> Any:
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return getattr(importlib.import_module(f"{package}.{homes[name]}"), name)

    return get, lambda: sorted({*vars(sys.modules[package]), *homes}), sorted(homes)
