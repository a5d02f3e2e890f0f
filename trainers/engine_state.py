"""Checks that a checkpoint's tensors and numbers are those of an engine, before any of them is taken."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.optim import SGD, AdamW

from segpipe.errors import CorruptWeightsError

from .run.progress import MOST_STEPS

if TYPE_CHECKING:
    from .engine import LocalEngine

_PARAMETER_STATE: dict[type, tuple[frozenset[str], bool]] = {
    AdamW: (frozenset({"step", "exp_avg", "exp_avg_sq"}), True),
    SGD: (frozenset({"momentum_buffer"}), False),
}
"""Tensors that each optimizer keeps for a parameter, and whether it needs all of them."""


def check_weights(model: torch.nn.Module, tensors: Mapping[str, Any], *, origin: str) -> None:
    """Raise CorruptWeightsError unless the tensors are a state of the model: names, shapes, types, finite numbers."""
    _require(origin, _misfit_of_mapping("the model", model.state_dict(), tensors))


def check_engine_state(engine: LocalEngine, state: object, *, origin: str) -> None:
    """Raise CorruptWeightsError unless `engine.state_dict()` could have given this state."""
    if not isinstance(state, Mapping):
        raise CorruptWeightsError(f"{origin} holds {type(state).__name__}, not a state. Use an older checkpoint.")
    _require(origin, _optimizer_misfit(engine.optimizer, state.get("optimizer")))
    _require(origin, _scaler_misfit(engine.scaler.state_dict(), state.get("scaler")))
    if engine.average is not None:
        _require(origin, _average_misfit(engine.average.state_dict(), state.get("average")))


def _require(origin: str, problem: str | None) -> None:
    if problem:
        raise CorruptWeightsError(f"{origin} does not belong to this run: {problem}. Use an older checkpoint.")


def _optimizer_misfit(optimizer: torch.optim.Optimizer, state: Any) -> str | None:
    own = optimizer.state_dict()["param_groups"]
    parts = ("state", "param_groups")
    if not isinstance(state, Mapping) or not (isinstance(state.get("state"), dict) and state.keys() >= set(parts)):
        return "it has no state of the optimizer"
    groups = state["param_groups"]
    if not isinstance(groups, list) or not all(isinstance(group, dict) for group in groups):
        return "the optimizer's groups are not a list"
    if [group.get("params") for group in groups] != [group["params"] for group in own]:
        return "the optimizer has other groups of parameters"
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    known = _PARAMETER_STATE.get(type(optimizer))
    for index, values in state["state"].items():
        if type(index) is not int or not 0 <= index < len(parameters) or not isinstance(values, dict):
            return f"the optimizer has no parameter {str(index)[:40]!r}"
        problem = _parameter_misfit(parameters[index], values, known)
        if problem:
            return f"of parameter {index}, {problem}"
    return None


def _parameter_misfit(
    parameter: Tensor, values: Mapping[Any, Any], known: tuple[frozenset[str], bool] | None
) -> str | None:
    if known is not None:
        names, needs_all = known
        if not values.keys() <= names or (needs_all and values.keys() != names):
            return (
                f"the optimizer keeps {', '.join(sorted(names))}, not {', '.join(map(str, values))[:80] or 'nothing'}"
            )
    for name, value in values.items():
        if value is None and name == "momentum_buffer":
            continue
        own = torch.zeros((), dtype=torch.float32) if name == "step" else parameter
        problem = _misfit(own, value)
        if problem is None and name in ("step", "exp_avg_sq") and bool((value < 0).any()):
            problem = "is negative"
        if problem:
            return f"{name} {problem}"
    return None


def _scaler_misfit(own: Mapping[str, Any], state: Any) -> str | None:
    if not isinstance(state, Mapping) or state.keys() != own.keys():
        return "it has no state of the loss scale"
    for name, value in state.items():
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        is_count = name in ("growth_interval", "_growth_tracker")
        if not is_number or not math.isfinite(value) or value < 0 or (value == 0 and not is_count):
            return f"{name} of the loss scale is {str(value)[:40]}"
    return None


def _average_misfit(own: Mapping[str, Any], state: Any) -> str | None:
    if not isinstance(state, Mapping) or not isinstance(state.get("average"), Mapping):
        return "it has no moving average"
    updates = state.get("updates")
    if type(updates) is not int or not 0 <= updates <= MOST_STEPS:
        return f"the moving average has had {str(updates)[:40]} updates"
    return _misfit_of_mapping("the moving average", own["average"], state["average"])


def _misfit_of_mapping(what: str, own: Mapping[str, Tensor], found: Mapping[str, Any]) -> str | None:
    differing = sorted(str(name)[:80] for name in own.keys() ^ found.keys())
    if differing:
        return f"{what} and the file differ in {differing[0]!r} and {len(differing) - 1} other tensors"
    problems = ((name, _misfit(tensor, found[name])) for name, tensor in own.items())
    return next((f"{what}'s {name} {problem}" for name, problem in problems if problem), None)


def _misfit(own: Tensor, found: Any) -> str | None:
    """Return how a value differs from a tensor like `own`, or None."""
    if not isinstance(found, Tensor):
        return f"is {type(found).__name__}, not a tensor"
    if found.layout is not torch.strided or found.device.type != "cpu" or found.dtype != own.dtype:
        return f"is {found.layout} {found.dtype} on {found.device}, not {own.dtype}"
    if found.shape != own.shape:
        return f"has shape {tuple(found.shape)}, not {tuple(own.shape)}"
    if found.is_floating_point() and not bool(torch.isfinite(found).all()):
        return "holds numbers that are not finite"
    return None
