"""Optimizers, with parameters in groups by name."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.optim import SGD, AdamW, Optimizer

from segpipe.configuration import OptimizerConfig, Sgd
from segpipe.errors import InputError
from segpipe.log import get_logger

logger = get_logger(__name__)

DEFAULT_GROUP = "default"
VECTOR_GROUP = "vectors"


@dataclass(frozen=True)
class ParameterGroupSummary:
    """One line about a parameter group.

    Attributes:
        name: the part of the name by which the group was chosen; `default` or `vectors` for the others.
        tensors: how many parameters it has.
        values: how many numbers they hold.
        lr_factor: factor of the learning rate.
        weight_decay: its weight decay.
    """

    name: str
    tensors: int
    values: int
    lr_factor: float
    weight_decay: float

    def __str__(self) -> str:
        return (
            f"{self.name}: {self.values:,} values in {self.tensors} tensors, "
            f"learning rate × {self.lr_factor:g}, weight decay {self.weight_decay:g}"
        )


def build_optimizer(model: nn.Module, config: OptimizerConfig) -> Optimizer:
    """Return an optimizer over the parameters that are not frozen, each of which is in one group.

    A group has torch's keys and `name` and `lr_factor`, which `apply_learning_rate` reads; they are a part of the
    optimizer's state. A group of the configuration that no parameter falls into is logged, not refused.

    Raises:
        InputError: every parameter is frozen.
    """
    groups = _group_parameters(model, config)
    if not groups:
        raise InputError(
            "All parameters of the model are frozen, so there is nothing to train. "
            "Set requires_grad of those to be learnt."
        )
    if not config.lr:
        logger.warning("train.optimizer.lr is 0: the weights stay as they are, and nothing is learnt")
    _report_unused(groups, config)
    fused = _has_fused_step(groups)
    if isinstance(config, Sgd):
        return SGD(groups, lr=config.lr, momentum=config.momentum, nesterov=config.nesterov, fused=fused)
    return AdamW(groups, lr=config.lr, betas=config.betas, eps=config.eps, fused=fused)


def summarize_groups(optimizer: Optimizer) -> list[ParameterGroupSummary]:
    """Return what each group holds, for the log."""
    return [
        ParameterGroupSummary(
            group.get("name", DEFAULT_GROUP),
            len(group["params"]),
            sum(parameter.numel() for parameter in group["params"]),
            group.get("lr_factor", 1.0),
            group["weight_decay"],
        )
        for group in optimizer.param_groups
    ]


def _group_parameters(model: nn.Module, config: OptimizerConfig) -> list[dict[str, Any]]:
    """Return parameter groups as torch takes them, in the order in which the model has them."""
    groups: dict[tuple[str, float, float], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            groups.setdefault(_group_key(name, parameter, config), []).append(parameter)
    return [
        {"name": name, "params": parameters, "lr": config.lr * factor, "lr_factor": factor, "weight_decay": decay}
        for (name, factor, decay), parameters in groups.items()
    ]


def _group_key(name: str, parameter: nn.Parameter, config: OptimizerConfig) -> tuple[str, float, float]:
    """Return (name, lr_factor, weight_decay) of the group that a parameter falls into."""
    group = config.group_of(name)
    factor = 1.0 if group is None else group.lr_factor
    label = DEFAULT_GROUP if group is None else group.match
    if group is not None and group.weight_decay is not None:
        return label, factor, group.weight_decay
    if parameter.ndim <= 1 and config.vector_weight_decay is not None:
        return (VECTOR_GROUP if group is None else label), factor, config.vector_weight_decay
    return label, factor, config.weight_decay


def _report_unused(groups: list[dict[str, Any]], config: OptimizerConfig) -> None:
    used = {group["name"] for group in groups}
    for group in config.groups:
        if group.match not in used:
            logger.warning("No parameter falls into the optimizer's group %r.", group.match)


def _has_fused_step(groups: list[dict[str, Any]]) -> bool | None:
    """Return True where torch has one kernel for the whole step; None leaves the choice between the others to torch."""
    parameters = [parameter for group in groups for parameter in group["params"]]
    can = all(p.device.type in ("cpu", "cuda") and torch.is_floating_point(p) for p in parameters)
    return True if can else None
