"""The registry of trainers, and building one: configuration, data, model and optimiser become a trainer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from segpipe.errors import InputError
from segpipe.names import Tasks
from segpipe.registry import Registry

from .assembly import build_local_trainer

TRAINERS: Registry[Callable[..., Any]] = Registry("trainer")
TRAINERS.register("segmentation")(partial(build_local_trainer, task=Tasks.image_segmentation))
TRAINERS.register("classification")(partial(build_local_trainer, task=Tasks.image_classification))
# ModelScope's names; what is trained for, the configuration says.
TRAINERS.register("trainer")(build_local_trainer)
TRAINERS.register("easycv")(build_local_trainer)


def build_trainer(name: str = "trainer", default_args: Mapping[str, Any] | None = None, **arguments: Any) -> Any:
    """The trainer that is registered under a name, built with arguments.

    Args:
        name: see `TRAINERS`; plugins may add to it. "trainer" does what the configuration's task asks for,
            "segmentation" and "classification" refuse models for another one.
        default_args: arguments as a mapping, as ModelScope takes them.
        arguments: the same as keywords; ours are `build_local_trainer`'s. An argument may be given in one
            way only.
    """
    twice = sorted(set(default_args or {}) & set(arguments))
    if twice:
        raise InputError(f"{twice[0]!r} is given in default_args and as a keyword. Give it once.")
    return TRAINERS.get(name)(**{**(default_args or {}), **arguments})
