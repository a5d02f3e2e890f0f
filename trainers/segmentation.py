"""From a model's name, data and a work directory to a `SegmentationTrainer`: everything is built here."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import torch

from segpipe import distributed
from segpipe.configuration import (
    Configuration,
    LabelSet,
    load_preset,
    override,
    preset_names,
    read_configuration,
)
from segpipe.configuration.training import ParallelConfig
from segpipe.data import SegmentationDataset, load_configured
from segpipe.data.loader import Loader, build_loader
from segpipe.data.transforms import build_transforms
from segpipe.errors import ConfigurationError, InputError
from segpipe.evaluation import Scores, evaluate
from segpipe.hub import Hub, ModelFolder
from segpipe.log import get_logger
from segpipe.models import SegmentationModel, build_model, fit_tensors, read_tensors, translate

from .callbacks import Callback
from .engine import LocalEngine
from .freezing import apply_freezing
from .losses import build_loss
from .optimizers import build_optimizer
from .parts import TrainerParts
from .sync_norm import apply_synced_norms
from .trainer import SegmentationTrainer

logger = get_logger(__name__)

CLASSIFIER = "head.classifier."
Dataset = SegmentationDataset | Any


def build_segmentation_trainer(
    *,
    model: str | Path | ModelFolder | None = None,
    cfg_file: str | Path | None = None,
    cfg_modify_fn: Callable[[Configuration], Configuration] | None = None,
    cfg_options: Mapping[str, Any] | Iterable[str] = (),
    train_dataset: Dataset = None,
    eval_dataset: Dataset = None,
    work_dir: str | Path = "work_dir",
    seed: int | None = None,
    max_epochs: int | None = None,
    max_steps: int | None = None,
    pretrained: bool = True,
    device: str | torch.device | None = None,
    launcher: str | None = None,
    callbacks: Sequence[Callback] = (),
) -> SegmentationTrainer:
    """A trainer for a segmentation network.

    Args:
        model: a preset's name, owner/name on a hub, or a folder: its configuration is the recipe, its weights are
            where training begins.
        cfg_file: a configuration.json instead of the model's.
        cfg_modify_fn: gets the configuration and gives the one to use.
        cfg_options: changes by key, such as {"train.optimizer.lr": 1e-4}; they come last.
        train_dataset: to train on; None: `dataset` of the configuration, which then needs a root.
        eval_dataset: to evaluate on; None: no evaluation, unless the configuration has a root.
        work_dir: for checkpoints, the log and the finished model folder.
        seed: instead of the configuration's.
        max_epochs: length of the run in passes over the data; instead of the configuration's.
        max_steps: length of the run in optimiser steps; instead of the configuration's.
        pretrained: begin with the model's weights; False: from scratch.
        device: None: a GPU if there is one, by local rank.
        launcher: ModelScope's: "pytorch" or "slurm" insist on having been started so; None finds out.
        callbacks: called in this order after steps, evaluations and checkpoints and at the end, see `Callback`.
    """
    distributed.check_launcher(launcher)
    chosen_device = _device(device)
    distributed.join(chosen_device.type)
    folder = model if isinstance(model, ModelFolder) else (Hub().resolve(model) if model is not None else None)
    changes = [_data_changes(train_dataset, eval_dataset), _changes(seed, max_epochs, max_steps), cfg_options]
    configuration = _configure(folder, cfg_file, cfg_modify_fn, changes)
    train_data, eval_data = _open_data(configuration, train_dataset, eval_dataset)
    configuration = _follow_labels(configuration, train_data.labels)
    network = _build_network(configuration, folder if pretrained else None)
    parts = _assemble(configuration, network, train_data, eval_data, Path(work_dir), chosen_device)
    return SegmentationTrainer(replace(parts, callbacks=tuple(callbacks)))


def _data_changes(train: Dataset, evaluation: Dataset) -> dict[str, Any]:
    """Data that is given stands in the configuration, by name, in place of what the recipe was made for."""
    if not isinstance(train, SegmentationDataset):
        return {}
    splits = {"train": {"split": train.split, "times": train.times}}
    if isinstance(evaluation, SegmentationDataset):
        splits["eval"] = {"split": evaluation.split}
    return {"dataset": {"type": train.name, **splits}}


def _changes(seed: int | None, max_epochs: int | None, max_steps: int | None) -> dict[str, Any]:
    """The arguments that change the configuration."""
    if max_epochs is not None and max_steps is not None:
        raise InputError(f"max_epochs={max_epochs} and max_steps={max_steps} both say how long. Give one.")
    changes: dict[str, Any] = {} if seed is None else {"train.seed": seed}
    if max_epochs is not None or max_steps is not None:
        changes |= {"train.max_epochs": max_epochs, "train.max_steps": max_steps}
    return changes


def _configure(
    folder: ModelFolder | None,
    cfg_file: str | Path | None,
    modify: Callable[[Configuration], Configuration] | None,
    changes: list[Mapping[str, Any] | Iterable[str]],
) -> Configuration:
    if folder is None and cfg_file is None:
        raise InputError("A trainer needs a configuration. Give model, or cfg_file.")
    configuration = read_configuration(Path(cfg_file)) if cfg_file else folder.configuration  # type: ignore[union-attr]
    if modify is not None:
        configuration = modify(configuration)
        if not isinstance(configuration, Configuration):
            raise InputError(f"cfg_modify_fn gave {type(configuration).__name__}; it must return the configuration.")
    if configuration.train is None and folder is not None:
        configuration = _with_published_recipe(configuration, folder.name)
    for change in changes:
        configuration = override(configuration, change) if change else configuration
    if configuration.train is None:
        raise ConfigurationError(
            f"{cfg_file or folder.name} has no section `train`, so there is no recipe. "  # type: ignore[union-attr]
            "Begin with a preset (segpipe models list), or write one: segpipe config show segformer-b0-ade20k."
        )
    if configuration.parallel not in (None, ParallelConfig()):
        raise ConfigurationError(
            f"parallel: {configuration.parallel} cannot be run by this version, which spreads data with DDP alone. "
            "Set parallel to null."
        )
    return configuration


def _with_published_recipe(configuration: Configuration, name: str) -> Configuration:
    """The recipe of the preset whose weights come from the same place; a foreign folder's own is not read."""
    for preset in map(load_preset, preset_names()):
        source = preset.weights.source if preset.weights else ""
        if source.partition(":")[2] == name.partition(":")[2] or source.partition(":")[2] == name:
            sections = {"dataset": preset.dataset, "train": preset.train, "evaluation": preset.evaluation}
            return msgspec.structs.replace(configuration, **sections)
    return configuration


def _open_data(configuration: Configuration, train: Dataset, evaluation: Dataset) -> tuple[Any, Any]:
    """Both data sets: those given, else those that the configuration names."""
    named = configuration.dataset
    if train is None:
        if named is None or named.root is None:
            raise InputError("There is nothing to train on. Pass train_dataset, or set dataset.root.")
        train, its_evaluation = load_configured(named)
        evaluation = its_evaluation if evaluation is None else evaluation
    train, evaluation = (data.open() if hasattr(data, "open") else data for data in (train, evaluation))
    for argument, data in (("train_dataset", train), ("eval_dataset", evaluation)):
        if data is not None and len(data) == 0:
            raise InputError(f"{argument} is empty: {data!r}. Check its folder and its split; data check shows them.")
    if evaluation is not None and evaluation.labels.names != train.labels.names:
        raise InputError("train_dataset and eval_dataset have different classes. Give both the same labels.")
    return train, evaluation


def _follow_labels(configuration: Configuration, labels: LabelSet) -> Configuration:
    """The data's labels; where they are not the model's, as many outputs as classes."""
    names = configuration.labels.names if configuration.labels else ()
    model = configuration.model
    if names != labels.names:
        logger.warning(
            "The data has the classes %s, the model was made for %s: its classifier starts afresh",
            _few(labels.names),
            _few(names) or "none by name",
        )
        model = msgspec.structs.replace(model, num_classes=len(labels.names))
    return msgspec.structs.replace(configuration, model=model, labels=labels, weights=None)


def _few(names: tuple[str, ...]) -> str:
    return ", ".join(names[:4]) + (f" … ({len(names)})" if len(names) > 4 else "")


def _build_network(configuration: Configuration, folder: ModelFolder | None) -> SegmentationModel:
    assert configuration.train is not None
    with torch.random.fork_rng():
        torch.manual_seed(configuration.train.seed)
        network = build_model(configuration.model)
    if not isinstance(network, SegmentationModel):
        raise InputError(f"{type(network).__name__} is no segmentation network. Name another model.")
    if folder is not None and folder.weights is not None:
        tensors = translate(read_tensors(folder.weights), folder.dialect)
        if folder.configuration.labels is None or folder.configuration.labels.names != configuration.labels.names:  # type: ignore[union-attr]
            fresh = {key: value for key, value in network.state_dict().items() if key.startswith(CLASSIFIER)}
            tensors = {**tensors, **fresh}
        network.load_state_dict(fit_tensors(network, tensors, origin=str(folder.weights)), strict=False)
    return network


def _assemble(
    configuration: Configuration,
    network: SegmentationModel,
    train_data: Any,
    eval_data: Any,
    work_dir: Path,
    device: torch.device,
) -> TrainerParts:
    config, labels = configuration.train, configuration.labels
    assert config is not None
    assert labels is not None
    _check_patience(configuration, eval_data)
    if config.sync_batch_norm:
        apply_synced_norms(network)
    apply_freezing(network, config.freeze)
    if config.activation_checkpointing:
        network.apply_activation_checkpointing()
    loss = build_loss(config.loss, num_classes=network.num_classes, ignore_index=labels.ignore_index)
    network.to(device)
    engine = LocalEngine(network, loss, build_optimizer(network, config.optimizer), config, device)
    red, green, blue = (round(value) for value in configuration.model.pixel_mean)
    transform = build_transforms(config.transforms, ignore_index=labels.ignore_index, fill=(red, green, blue))

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

    def scores(should_stop: Callable[[], bool] | None = None) -> Scores:
        return evaluate(
            network,
            eval_data,
            configuration=configuration,
            device=device,
            batch_size=configuration.evaluation.batch_size if configuration.evaluation else 1,
            should_stop=should_stop,
        )

    steps = config.max_steps or math.ceil(
        (config.max_epochs or 1) * len(train_data) / (config.batch_size * config.accumulate)
    )
    return TrainerParts(
        configuration=configuration,
        engine=engine,
        batches=batches,
        num_samples=len(train_data),
        evaluate=scores if eval_data is not None else None,
        work_dir=work_dir,
        max_steps=steps,
    )


def _check_patience(configuration: Configuration, eval_data: Any) -> None:
    evaluation = configuration.evaluation
    if evaluation is not None and evaluation.patience is not None and eval_data is None:
        raise ConfigurationError(
            f"evaluation.patience: {evaluation.patience} ends a run by its scores, and there is nothing to evaluate "
            "on. Pass eval_dataset to build_trainer, or set evaluation.patience to null."
        )


def _device(device: str | torch.device | None) -> torch.device:
    if device is not None:
        return torch.device(str(device).replace("gpu", "cuda"))
    if not torch.cuda.is_available():
        return torch.device("cpu")
    return torch.device("cuda", distributed.device_index(distributed.read_ranks(), torch.cuda.device_count()))
