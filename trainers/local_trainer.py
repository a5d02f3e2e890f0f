"""From a model's name, data and a work directory to a `Trainer`, for each task."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from segpipe import advice, distributed
from segpipe.checkpoints import encoder_tensors, resolve_folder, tensors_of
from segpipe.configuration import (
    BoundaryLoss,
    Configuration,
    load_preset,
    preset_names,
)
from segpipe.data import (
    ClassificationDataset,
    Loader,
    SegmentationDataset,
    build_loader,
    build_transforms,
    hold_out,
    load_configured,
    require_dataset,
    with_boundaries,
)
from segpipe.devices import join_processes
from segpipe.errors import ConfigurationError, InputError
from segpipe.evaluation import AnyScores
from segpipe.hub import ModelFolder
from segpipe.inference import require_compiler
from segpipe.log import get_logger
from segpipe.models import SegpipeNetwork, build_model, fit_tensors

from .callbacks import Callback, ResultsText
from .data_check import check_data as look_at_data
from .engine import LocalEngine
from .freezing import apply_freezing
from .optimizers import build_optimizer
from .parts import TrainerParts
from .precision import apply_layer_norm_precision, warn_of_slow_bfloat16
from .run.data_record import record_data
from .run.facts import recipe_of, run_steps
from .run_configuration import (
    adaptations,
    configure_run,
    data_changes,
    fit_length,
    follow_labels,
    length_changes,
    name_trainer,
    share_changes,
)
from .sync_norm import apply_synced_norms
from .tasks import Task, check_best_score, task_of
from .trainer import Trainer

logger = get_logger(__name__)

Dataset = SegmentationDataset | ClassificationDataset | Any


def build_local_trainer(
    *,
    task: str | None = None,
    model: str | Path | ModelFolder | None = None,
    cfg_file: str | Path | None = None,
    cfg_modify_fn: Callable[[Configuration], Configuration] | None = None,
    cfg_options: Mapping[str, Any] | Iterable[str] = (),
    train_dataset: Dataset = None,
    eval_dataset: Dataset = None,
    val_share: float | None = None,
    work_dir: str | Path = "work_dir",
    seed: int | None = None,
    max_epochs: int | None = None,
    max_steps: int | None = None,
    pretrained: bool = True,
    encoder_weights: str | Path | ModelFolder | None = None,
    device: str | torch.device | None = None,
    launcher: str | None = None,
    callbacks: Sequence[Callback] = (),
    check_data: bool = True,
    accept_changed_data: bool = False,
    extend: bool = False,
    progress: bool = True,
) -> Trainer:
    """Build a trainer for the network of a configuration, on this machine's devices.

    Args:
        task: the task that the model must be for. If None, any.
        model: a preset's name, owner/name on a hub, or a folder: its configuration is the recipe, its weights are
            where training begins.
        cfg_file: a configuration.json instead of the model's.
        cfg_modify_fn: gets the configuration and gives the one to use.
        cfg_options: changes by key, such as {"train.optimizer.lr": 1e-4}; they come last.
        train_dataset: to train on. If None, `dataset` of the configuration, which then needs a root.
        eval_dataset: to evaluate on. If None, nothing is evaluated unless the configuration has a root.
        val_share: share of the training data to evaluate on instead of `eval_dataset`, held out by the samples' names,
            see `segpipe.data.hold_out`.
        work_dir: for checkpoints, the log and the finished model folder.
        seed: instead of the configuration's.
        max_epochs: length of the run in passes over the data; instead of the configuration's.
        max_steps: length of the run in optimizer steps; instead of the configuration's.
        pretrained: whether to begin with the model's weights instead of from scratch.
        encoder_weights: begin with these in the encoder and from scratch elsewhere, instead of the model's weights: a
            file such as NVlabs' mit_b0.pth, a folder, or the name of a model with the same encoder.
        device: where it trains. If None, a GPU if there is one, by local rank.
        launcher: ModelScope's: "pytorch" or "slurm" insist on having been started so. If None, it is found out.
        callbacks: called in this order after steps, evaluations and checkpoints and at the end, see `Callback`.
        check_data: look at some labels of both data sets before the first step, for some seconds, and stop where
            `segpipe data check` would call them wrong.
        accept_changed_data: go on with a run that was begun with other data, which is an error otherwise. It then ends
            with other weights than an uninterrupted run.
        extend: go on with a run to another end than the one that it was begun with, see `build_trainer`.
        progress: show a bar in terminals and notebooks, a line now and then elsewhere, and a line for each evaluation.
    """
    given = _given(locals())
    distributed.check_launcher(launcher)
    chosen_device = join_processes(device)
    with_weights = pretrained and encoder_weights is None
    folder = None if model is None else open_recipe(model, with_weights=with_weights)
    options: Mapping[str, Any] | Sequence[str]
    options = cfg_options if isinstance(cfg_options, Mapping | str) else list(cfg_options)
    changes = [
        data_changes(train_dataset, eval_dataset),
        share_changes(val_share, eval_dataset),
        length_changes(seed, max_epochs, max_steps),
        options,
    ]
    recipe = configuration = configure_run(folder, cfg_file, cfg_modify_fn, changes)
    train_data, eval_data = _open_data(configuration, train_dataset, eval_dataset)
    configuration = follow_labels(configuration, train_data.labels, options)
    if recipe_of(configuration).compile:
        require_compiler()
    configuration = fit_length(configuration, run_steps(recipe_of(configuration), len(train_data)), options)
    chosen_task = task_of(configuration, task)
    configuration = name_trainer(configuration, chosen_task.trainer)
    check_best_score(configuration, chosen_task)
    network = _build_network(configuration, chosen_task, folder if with_weights else None)
    if encoder_weights is not None:
        network.load_state_dict(encoder_tensors(encoder_weights, network), strict=False)
    data = train_data, eval_data
    parts = _assemble(
        configuration, network, chosen_task, data, Path(work_dir), device=chosen_device, progress=progress
    )
    check = partial(look_at_data, train_data, eval_data, progress=progress) if check_data else None
    parts = replace(
        parts,
        extend=extend,
        adaptations=adaptations(recipe, configuration, parts.max_steps),
        arguments=given,
        callbacks=(ResultsText(), *callbacks),
        check_data=check,
        has_learnt_classes=_has_learnt_classes(folder if with_weights else None, configuration),
        accept_changed_data=accept_changed_data,
    )
    return Trainer(parts)


def _given(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments of `build_local_trainer` that differ from the defaults, without the task, which follows."""
    defaults = inspect.signature(build_local_trainer).parameters
    own = (name for name, value in arguments.items() if value is not defaults[name].default)
    return {name: arguments[name] for name in own if name != "task"}


def open_recipe(model: str | Path | ModelFolder, *, with_weights: bool) -> ModelFolder:
    """Return the model's folder; of a preset without its weights the recipe alone, so that nothing is downloaded."""
    if isinstance(model, ModelFolder):
        return model
    if not with_weights and str(model) in preset_names() and not os.path.isdir(model):
        return ModelFolder(Path(model), load_preset(str(model)), None, "segpipe", str(model))
    return resolve_folder(model)


def _open_data(configuration: Configuration, train: Dataset, evaluation: Dataset) -> tuple[Any, Any]:
    """Return both data sets: those given, else those that the configuration names."""
    named = configuration.dataset
    if train is None:
        if named is None or named.root is None:
            raise InputError(
                "There is nothing to train on. "
                + advice.either(python="Give a train_dataset.", command="Give --data NAME ROOT.")
            )
        train, its_evaluation = load_configured(named)
        evaluation = its_evaluation if evaluation is None else evaluation
    train, evaluation = (data.open() if hasattr(data, "open") else data for data in (train, evaluation))
    if evaluation is None and named is not None and named.val_share is not None:
        train, evaluation = hold_out(train, named.val_share)
    for argument, data in (("train_dataset", train), ("eval_dataset", evaluation)):
        if data is None:
            continue
        require_dataset(data, argument)
        if len(data) == 0:
            raise InputError(f"{argument} is empty: {data!r}. Check its folder and its split; data check shows them.")
    if evaluation is not None and evaluation.labels.names != train.labels.names:
        raise InputError("train_dataset and eval_dataset have different classes. Give both the same labels.")
    return train, evaluation


def _build_network(configuration: Configuration, task: Task, folder: ModelFolder | None) -> SegpipeNetwork:
    with torch.random.fork_rng():
        torch.manual_seed(recipe_of(configuration).seed)
        network = build_model(configuration.model)
    if not task.is_network(network):
        raise InputError(f"{type(network).__name__} is not a network for {task.name}. Name another model, or its task.")
    if folder is not None and folder.weights is not None:
        tensors = tensors_of(folder)
        if not _has_learnt_classes(folder, configuration):
            fresh = {key: value for key, value in network.state_dict().items() if key.startswith(task.classifier)}
            tensors = {**tensors, **fresh}
        network.load_state_dict(fit_tensors(network, tensors, origin=str(folder.weights)), strict=False)
    elif folder is not None:
        logger.info("%s has no weights: training begins from scratch", folder.name)
    return network


def _has_learnt_classes(folder: ModelFolder | None, configuration: Configuration) -> bool:
    """Return whether a model's weights are for the classes of the run."""
    if folder is None or folder.weights is None or folder.configuration.labels is None:
        return False
    return configuration.labels is not None and folder.configuration.labels.names == configuration.labels.names


def _assemble(
    configuration: Configuration,
    network: SegpipeNetwork,
    task: Task,
    data: tuple[Any, Any],
    work_dir: Path,
    *,
    device: torch.device,
    progress: bool,
) -> TrainerParts:
    config, (train_data, eval_data) = recipe_of(configuration), data
    ignore_index = train_data.labels.ignore_index
    _check_patience(configuration, eval_data)
    if isinstance(config.loss, BoundaryLoss) and isinstance(train_data, SegmentationDataset):
        train_data = train_data if train_data.extras else with_boundaries(train_data, config.loss.maps)
    if config.sync_batch_norm:
        apply_synced_norms(network)
    apply_freezing(network, config.freeze)
    if config.activation_checkpointing:
        network.apply_activation_checkpointing()
    apply_layer_norm_precision(network, config)
    warn_of_slow_bfloat16(config, device.type)
    objective = task.objective(network, configuration)
    network.to(device)
    engine = LocalEngine(network, objective, build_optimizer(network, config.optimizer), config, device)
    red, green, blue = (round(value) for value in configuration.model.pixel_mean)
    transform = build_transforms(config.transforms, ignore_index=ignore_index, fill=(red, green, blue))

    def batches(start: int) -> Loader:
        return build_loader(
            train_data,
            transform,
            batch_size=config.batch_size,
            workers=config.workers,
            seed=config.seed,
            start=start,
            rank=distributed.rank(),
            world_size=distributed.world_size(),
        )

    def scores(should_stop: Callable[[], bool] | None = None) -> AnyScores:
        return task.evaluate(
            network,
            eval_data,
            configuration=configuration,
            device=device,
            batch_size=configuration.evaluation.batch_size if configuration.evaluation else 1,
            should_stop=should_stop,
            progress=progress,
        )

    return TrainerParts(
        configuration=configuration,
        engine=engine,
        batches=batches,
        num_samples=len(train_data),
        evaluate=scores if eval_data is not None else None,
        predict=lambda pixels: task.predict(network, pixels, configuration),
        work_dir=work_dir,
        max_steps=run_steps(config, len(train_data)),
        data=record_data(train_data, eval_data),
        shows_progress=progress and distributed.is_main(),
    )


def _check_patience(configuration: Configuration, eval_data: Any) -> None:
    evaluation = configuration.evaluation
    if evaluation is not None and evaluation.patience is not None and eval_data is None:
        raise ConfigurationError(
            f"evaluation.patience: {evaluation.patience} ends a run by its scores, and there is nothing to evaluate "
            "on. Give a data set to evaluate on, or set evaluation.patience to null."
        )
