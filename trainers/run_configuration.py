"""The configuration of a run: a model's or a file's, with what the arguments and the data change in it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from operator import attrgetter
from pathlib import Path
from typing import Any

import msgspec

from segpipe import advice
from segpipe.configuration import (
    Configuration,
    LabelSet,
    ParallelConfig,
    SoftCrossEntropyLoss,
    change_model,
    load_preset,
    override,
    preset_names,
    read_configuration,
)
from segpipe.data import DATASETS, ClassificationDataset, SegmentationDataset, check_share
from segpipe.errors import ConfigurationError, InputError
from segpipe.hub import ModelFolder
from segpipe.log import get_logger
from segpipe.models import pad_to_best

from .run.facts import recipe_of

logger = get_logger(__name__)


def configure_run(
    folder: ModelFolder | None,
    cfg_file: str | Path | None,
    modify: Callable[[Configuration], Configuration] | None,
    changes: Sequence[Mapping[str, Any] | Iterable[str]],
) -> Configuration:
    """Return the model's configuration or the file's, as `modify` gives it back, with `changes` in their order.

    Raises:
        ConfigurationError: there is no recipe, or it wants what this version cannot do.
    """
    if folder is None and cfg_file is None:
        raise InputError("A trainer needs a configuration. Give model, or cfg_file.")
    configuration = read_configuration(Path(cfg_file)) if cfg_file else folder.configuration  # type: ignore[union-attr]
    configuration = _padded_to_levels(configuration)
    if modify is not None:
        configuration = modify(configuration)
        if not isinstance(configuration, Configuration):
            raise InputError(f"cfg_modify_fn gave {type(configuration).__name__}; it must return the configuration.")
    if configuration.train is None and folder is not None:
        configuration = with_published_recipe(configuration, folder.name)
    for change in changes:
        configuration = override(configuration, change) if change else configuration
    if configuration.train is None:
        raise ConfigurationError(
            f"{cfg_file or folder.name} has no section `train`, so there is no recipe. "  # type: ignore[union-attr]
            "Begin with a preset (segpipe models list), or write one: segpipe config show segformer-b0-ade20k."
        )
    _check_parallel(configuration.parallel)
    return configuration


def _check_parallel(config: ParallelConfig | None) -> None:
    if config is None:
        return
    if config.data != "ddp" or max(config.shard, config.tensor, config.stages, config.microbatches) > 1:
        raise ConfigurationError(
            f"parallel: {config} cannot be run by this version, which spreads data with DDP alone. "
            "Set parallel to null."
        )


def _padded_to_levels(configuration: Configuration) -> Configuration:
    """Let the run's model pad images to whole cells of its coarsest level, whatever the weights' own code does."""
    model = pad_to_best(configuration.model)
    if model == configuration.model:
        return configuration
    logger.info(
        "The run pads images to multiples of %d, which the model that it begins with does not. Compare its scores with "
        "those of that model at model.size_multiple=%d; with model.size_multiple=%d among the options it does not pad",
        model.size_multiple,
        model.size_multiple,
        configuration.model.size_multiple,
    )
    return msgspec.structs.replace(configuration, model=model)


def data_changes(train: Any, evaluation: Any) -> dict[str, Any]:
    """Return the changes that name the given data, in place of the data that the recipe was made for."""
    if not isinstance(train, SegmentationDataset | ClassificationDataset):
        return {}
    splits = {"train": {"split": train.split, "times": train.times}}
    if isinstance(evaluation, SegmentationDataset | ClassificationDataset):
        splits["eval"] = {"split": evaluation.split}
    plain = "class-folders" if isinstance(train, ClassificationDataset) else "folder"
    kind = train.name if train.name in DATASETS else plain  # a plain folder goes by its own name
    return {"dataset": {"type": kind, **splits}}


def share_changes(val_share: float | None, evaluation: Any) -> dict[str, Any]:
    """Return the change that holds out a share of the training data, where an argument gives it."""
    if val_share is None:
        return {}
    if evaluation is not None:
        raise InputError(f"val_share={val_share} and eval_dataset both say what to evaluate on. Give one.")
    check_share(val_share)
    return {"dataset.val_share": val_share}


def length_changes(seed: int | None, max_epochs: int | None, max_steps: int | None) -> dict[str, Any]:
    """Return the changes of seed and length, where arguments give them."""
    if max_epochs is not None and max_steps is not None:
        raise InputError(f"max_epochs={max_epochs} and max_steps={max_steps} both say how long. Give one.")
    changes: dict[str, Any] = {} if seed is None else {"train.seed": seed}
    if max_epochs is not None or max_steps is not None:
        changes |= {"train.max_epochs": max_epochs, "train.max_steps": max_steps}
    return changes


def follow_labels(
    configuration: Configuration, labels: LabelSet, options: Mapping[str, Any] | Sequence[str] = ()
) -> Configuration:
    """Return the configuration with the data's labels; where they are not the model's, with as many outputs as classes.

    Args:
        configuration: of the run.
        labels: of the data.
        options: the user's own changes of the configuration: class weights among them are for the data's classes.
    """
    names = configuration.labels.names if configuration.labels else ()
    model = configuration.model
    if names != labels.names:
        _warn_of_spelling(names, labels.names)
        model = change_model(model, num_classes=len(labels.names))
        configuration = _fit_class_weights(configuration, len(labels.names), options)
    return msgspec.structs.replace(configuration, model=model, labels=labels, weights=None)


def name_trainer(configuration: Configuration, name: str) -> Configuration:
    """Let the configuration name its trainer, where it has left that to the task."""
    if configuration.train is None or configuration.train.trainer is not None:
        return configuration
    return msgspec.structs.replace(configuration, train=msgspec.structs.replace(configuration.train, trainer=name))


def configured_trainer(configuration: Configuration, options: Mapping[str, Any] | Sequence[str]) -> str | None:
    """Return the trainer that a configuration and the user's changes name, or None where they leave it to the task."""
    pairs = options.items() if isinstance(options, Mapping) else (option.partition("=")[::2] for option in options)
    name = configuration.train.trainer if configuration.train else None
    for key, value in pairs:
        if key.strip() == "train.trainer":
            name = None if value in (None, "null") else str(value).strip(" \"'")
    return name


def fit_length(
    configuration: Configuration, steps: int, options: Mapping[str, Any] | Sequence[str] = ()
) -> Configuration:
    """Fit warm-up and intervals into a run that is far shorter than the recipe was made for.

    A warm-up longer than half the run becomes a tenth of it; where nothing would be logged before the middle, a
    twentieth is the interval; where no checkpoint or evaluation came before the end, a quarter. What the user's own
    changes say stays.
    """
    given = options if isinstance(options, Mapping) else [option.partition("=")[0].strip() for option in options]
    changes = {key: value for key, value in _fitting_values(configuration, steps).items() if key not in given}
    if not changes:
        return configuration
    return override(configuration, changes)


_FITTED = ("train.log_every", "train.checkpoint.every", "train.schedule.warmup.steps", "evaluation.every")


def _fitted_values(recipe: Configuration, run: Configuration) -> dict[str, int]:
    """Return the values that `fit_length` has changed, by key."""
    pairs = ((key, _value(recipe, key), _value(run, key)) for key in _FITTED)
    return {key: now for key, before, now in pairs if now is not None and before != now}


def _value(configuration: Configuration, key: str) -> Any:
    """Return the value of a key, or None where its section is not there."""
    try:
        return attrgetter(key)(configuration)
    except AttributeError:
        return None


def _fitting_values(configuration: Configuration, steps: int) -> dict[str, int]:
    """Return the fitting values of what is too long for the run, by key."""
    config, evaluation = recipe_of(configuration), configuration.evaluation
    warmup = config.schedule.warmup
    quarter = math.ceil(steps / 4)
    limits = [("train.log_every", config.log_every, steps / 2, steps // 20)]
    limits.append(("train.checkpoint.every", config.checkpoint.every, steps, quarter))
    if warmup is not None:
        limits.append(("train.schedule.warmup.steps", warmup.steps, steps / 2, steps // 10))
    if evaluation is not None and evaluation.every_epochs is None:
        limits.append(("evaluation.every", evaluation.every, steps, quarter))
    return {key: max(1, fitting) for key, value, limit, fitting in limits if value > max(limit, 1)}


def adaptations(recipe: Configuration, run: Configuration, steps: int) -> tuple[str, ...]:
    """Return in phrases how a run differs from its recipe by what follows from its data and length.

    Args:
        recipe: with the caller's own changes.
        run: as the run has it.
        steps: of the run.
    """
    phrases = []
    before, now = (each.labels.names if each.labels else () for each in (recipe, run))
    if before != now:
        of_model = f"; the model's are {_few(before)}" if before else ""
        phrases.append(f"the classifier starts afresh for the classes {_few(now)}{of_model}")
    if _have_class_weights(recipe) and not _have_class_weights(run):
        phrases.append(
            "all classes weigh the same, since the weights are for other classes: "
            f"{advice.setting('train.loss.class_weights')} weighs them"
        )
    fitted = _fitted_values(recipe, run)
    if fitted:
        values = ", ".join(f"{key}={value}" for key, value in fitted.items())
        phrases.append(f"for {steps:,} steps, {values}")
    return tuple(phrases)


def with_published_recipe(configuration: Configuration, name: str) -> Configuration:
    """Return the recipe of the preset whose weights come from the same place; a foreign folder's own is not read."""
    bare = name.partition(":")[2] or name
    moved = (
        f"damo/{bare.removeprefix('iic/')}" if bare.startswith("iic/") else bare
    )  # ModelScope has damo's models twice
    for preset in map(load_preset, preset_names()):
        source = ((preset.weights.source if preset.weights else None) or "").partition(":")[2]
        if source and source in (name, moved):
            sections = {"dataset": preset.dataset, "train": preset.train, "evaluation": preset.evaluation}
            return msgspec.structs.replace(configuration, **sections)
    return configuration


def _fit_class_weights(
    configuration: Configuration, num_classes: int, options: Mapping[str, Any] | Sequence[str]
) -> Configuration:
    """Leave out class weights of a recipe that was made for other classes, even for the same number of them."""
    recipe = recipe_of(configuration)
    loss = recipe.loss
    if isinstance(loss, SoftCrossEntropyLoss) or loss.class_weights is None:
        return configuration
    train = msgspec.structs.replace(recipe, loss=msgspec.structs.replace(loss, class_weights=None))
    unweighted = msgspec.structs.replace(configuration, train=train)
    is_given = _have_class_weights(override(unweighted, options))
    if len(loss.class_weights) == num_classes and (is_given or configuration.labels is None):
        return configuration
    if is_given:
        logger.warning(
            "%d class weights are given and the data has %d classes: all weigh the same. Give one for each class: %s",
            len(loss.class_weights),
            num_classes,
            advice.setting("train.loss.class_weights"),
        )
    return unweighted


def _have_class_weights(configuration: Configuration) -> bool:
    loss = configuration.train.loss if configuration.train else None
    return getattr(loss, "class_weights", None) is not None


def _warn_of_spelling(of_model: tuple[str, ...], of_data: tuple[str, ...]) -> None:
    """Warn of classes that differ from the model's in order or spelling alone, so that its classifier is lost."""
    if sorted(name.casefold() for name in of_model) == sorted(name.casefold() for name in of_data):
        logger.warning(
            "The data has the model's classes in another order or spelling, so that its classifier starts afresh. To "
            "keep it, name them as the model does: %s",
            advice.option("names", list(of_model)),
        )


def _few(names: tuple[str, ...]) -> str:
    return ", ".join(names[:4]) + (f" … ({len(names)})" if len(names) > 4 else "")
