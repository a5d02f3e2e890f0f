"""The registry of trainers, and building one: configuration, data, model and optimiser become a trainer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from segpipe.errors import InputError
from segpipe.registry import Registry

from .segmentation import build_segmentation_trainer

TRAINERS: Registry[Callable[..., Any]] = Registry("trainer")
TRAINERS.register("segmentation")(build_segmentation_trainer)
# ModelScope's names for the same thing.
TRAINERS.register("trainer")(build_segmentation_trainer)
TRAINERS.register("easycv")(build_segmentation_trainer)


def build_trainer(name: str = "segmentation", default_args: Mapping[str, Any] | None = None, **arguments: Any) -> Any:
    """The trainer that is registered under a name, built with arguments.

    Args:
        name: see `TRAINERS`; plugins may add to it.
        default_args: arguments as a mapping, as ModelScope takes them.
        arguments: the same as keywords; those of "segmentation" are `build_segmentation_trainer`'s. An argument
            may be given in one way only.
    """
    twice = sorted(set(default_args or {}) & set(arguments))
    if twice:
        raise InputError(f"{twice[0]!r} is given in default_args and as a keyword. Give it once.")
    return TRAINERS.get(name)(**{**(default_args or {}), **arguments})
