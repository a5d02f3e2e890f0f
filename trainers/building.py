"""The registry of trainers, and building one by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from segpipe.errors import InputError, UnknownNameError
from segpipe.registry import Registry

TRAINERS: Registry[Callable[..., Any]] = Registry("trainer")


def build_trainer(name: str = "segmentation", default_args: Mapping[str, Any] | None = None, **arguments: Any) -> Any:
    """The trainer that is registered under a name, built with arguments.

    Args:
        name: see `TRAINERS`; plugins may add to it.
        default_args: arguments as a mapping, as ModelScope takes them.
        arguments: the same as keywords. An argument may be given in one way only.
    """
    twice = sorted(set(default_args or {}) & set(arguments))
    if twice:
        raise InputError(f"{twice[0]!r} is given in default_args and as a keyword. Give it once.")
    if not TRAINERS:
        raise UnknownNameError(
            f"There is no trainer {name!r}: this version of segpipe brings none. "
            "Install a plugin that registers one, or upgrade segpipe."
        )
    return TRAINERS.get(name)(**{**(default_args or {}), **arguments})
