"""The facts of a run that its work directory needs, fixed before the first step."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import torch

from segpipe.configuration import Configuration, TrainConfig

from .data_record import DataRecord


class Engine(Protocol):
    """The holder of a run's state."""

    model: Any
    device: torch.device

    def check_weights(self, tensors: Mapping[str, Any], *, origin: str) -> None:
        """Raise CorruptWeightsError unless the tensors are a state of the model."""

    def check_state(self, state: object, *, origin: str) -> None:
        """Raise CorruptWeightsError unless this could be a state of the optimizer and what goes with it."""

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take a checked state back."""


@dataclass(frozen=True, kw_only=True, eq=False)
class RunFacts:
    """The facts of one run.

    Attributes:
        configuration: the whole document of the run.
        engine: what has the state of the run.
        num_samples: images of an epoch.
        work_dir: where everything is written.
        max_steps: optimizer steps of the run.
        data: what is trained on, by name; it goes into checkpoints.
        accept_changed_data: whether a run goes on that was begun with other data.
        extend: whether a run goes on to another end than the one that it was begun with.
        adaptations: how the configuration differs from its recipe by what follows from the data, in phrases.
        arguments: what the caller of `build_trainer` gave.
        shows_progress: whether the main process shows bars and lines.
    """

    configuration: Configuration
    engine: Engine
    num_samples: int
    work_dir: Path
    max_steps: int
    data: DataRecord | None = None
    accept_changed_data: bool = False
    extend: bool = False
    adaptations: tuple[str, ...] = ()
    arguments: Mapping[str, Any] = field(default_factory=dict)
    shows_progress: bool = False

    @property
    def config(self) -> TrainConfig:
        """The recipe."""
        return recipe_of(self.configuration)


def recipe_of(configuration: Configuration) -> TrainConfig:
    """Return the recipe of a run, without which `configure_run` refuses a configuration."""
    assert configuration.train is not None
    return configuration.train


def run_steps(config: TrainConfig, num_samples: int) -> int:
    """Return the optimizer steps of a run over `num_samples` samples an epoch."""
    epochs = config.max_epochs or 1
    return config.max_steps or math.ceil(epochs * num_samples / (config.batch_size * config.accumulate))
