"""The registry of trainers, and building one: configuration, data, model and optimizer become a trainer."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, cast

from segpipe import advice
from segpipe.configuration import Configuration, find_path, read_configuration
from segpipe.errors import InputError, UnknownNameError
from segpipe.hub import ModelFolder
from segpipe.names import Tasks, unknown_name_message
from segpipe.registry import Registry, load_plugins

from .local_trainer import build_local_trainer, open_recipe
from .run_configuration import configured_trainer
from .trainer import Trainer

DEFAULT_TRAINER = "trainer"

TRAINERS: Registry[Callable[..., Any]] = Registry("trainer")
TRAINERS.register("segmentation")(partial(build_local_trainer, task=Tasks.image_segmentation))
TRAINERS.register("classification")(partial(build_local_trainer, task=Tasks.image_classification))
# ModelScope's and EasyCV's names; what is trained for, the configuration says.
TRAINERS.register(DEFAULT_TRAINER)(build_local_trainer)
TRAINERS.register("easycv")(build_local_trainer)


def build_trainer(name: str | None = None, default_args: Mapping[str, Any] | None = None, **arguments: Any) -> Trainer:
    """Build a trainer with arguments.

    `train()` of a trainer that is built by the same call again goes on where the run in `work_dir` stopped. To train
    longer than it was begun for, either

    - extend it: the same call with a new `max_epochs` or `max_steps` and `extend=True`. Weights, optimizer, best score
      and order of the data go on, and each further step has the learning rate that a run of the new length has at that
      step. A schedule that had come down thus rises where the run goes on; or
    - fine-tune it: `model="OLD"`, where OLD is its `work_dir`, and another `work_dir`. A new run begins at step 0 with
      the best weights and the whole schedule, mostly with a lower learning rate.

    Args:
        name: see `TRAINERS`; plugins may add to it. If None, the one that `train.trainer` of the configuration names,
            and where that is null, the task's. "segmentation" and "classification" refuse models for another task.
        default_args: arguments as a mapping, as ModelScope takes them.
        arguments: the same as keywords; ours are `build_local_trainer`'s. An argument may be given in one
            way only.

    Raises:
        UnknownNameError: no trainer of this name is registered, and no installed plugin adds it.
    """
    twice = sorted(set(default_args or {}) & set(arguments))
    if twice:
        raise InputError(f"{twice[0]!r} is given in default_args and as a keyword. Give it once.")
    chosen = {**(default_args or {}), **arguments}
    if name is None:
        name, chosen = _from_configuration(chosen)
    build = TRAINERS.get(name)
    _check_arguments(build, chosen)
    return cast("Trainer", build(**chosen))


def _check_arguments(build: Callable[..., Any], given: Iterable[str]) -> None:
    """Refuse an argument that a trainer does not take, with the one that may have been meant."""
    parameters = inspect.signature(build).parameters
    if any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in parameters.values()):
        return
    unknown = next((name for name in given if name not in parameters), None)
    if unknown is None:
        return
    path = find_path(unknown)
    if path is not None:
        raise InputError(f"build_trainer has no argument {unknown!r}. Did you mean {advice.setting(path)}?")
    raise InputError(unknown_name_message("argument of build_trainer", unknown, parameters))


def _from_configuration(arguments: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """Return the name that the configuration chooses, and the arguments with what was opened or changed to find it."""
    chosen, model = dict(arguments), arguments.get("model")
    folder: ModelFolder | None = None
    if model is not None:
        with_weights = chosen.get("pretrained", True) and chosen.get("encoder_weights") is None
        chosen["model"] = folder = open_recipe(model, with_weights=with_weights)
    cfg_file, modify = chosen.get("cfg_file"), chosen.get("cfg_modify_fn")
    if cfg_file:
        configuration = read_configuration(Path(cfg_file))
    elif folder is not None:
        configuration = folder.configuration
    else:
        return DEFAULT_TRAINER, chosen  # which says what is missing
    if modify is not None:
        configuration = modified = modify(configuration)
        chosen["cfg_modify_fn"] = lambda _: modified  # it may be called once alone
        if not isinstance(configuration, Configuration):
            return DEFAULT_TRAINER, chosen  # which says what it must return
    options = chosen.get("cfg_options", ())
    if not isinstance(options, Mapping):
        chosen["cfg_options"] = options = [options] if isinstance(options, str) else list(options)
    name = configured_trainer(configuration, options)
    if name is not None and name not in TRAINERS:
        load_plugins()
    if name is not None and name not in TRAINERS:
        known = unknown_name_message("trainer", name, TRAINERS)
        raise UnknownNameError(
            f"train.trainer of the configuration: {known} Install the plugin that has it, or give "
            f"{advice.setting('train.trainer', None)}."
        )
    return name or DEFAULT_TRAINER, chosen
