"""Parts of a network that training leaves as they are: their parameters, and the running statistics of their norms."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from itertools import accumulate

from torch import nn

from segpipe.errors import ConfigurationError


def apply_freezing(model: nn.Module, parts: Sequence[str]) -> None:
    """Freeze each parameter whose name contains one of the parts; before the optimizer and DDP are built.

    Raises:
        ConfigurationError: a part is in no name, or nothing would be left to train.
    """
    names = [name for name, _ in model.named_parameters()]
    for index, part in enumerate(parts):
        if not any(part in name for name in names):
            raise ConfigurationError(_unknown_part(index, part, names))
    for name, parameter in model.named_parameters():
        if is_frozen(name, parts):
            parameter.requires_grad = False
    if parts and not any(parameter.requires_grad for parameter in model.parameters()):
        raise ConfigurationError(
            f"train.freeze: {list(parts)} freezes all {len(names)} parameters, so nothing is left to train. "
            "Leave out a part, such as that of the head."
        )


def frozen_norms(model: nn.Module, parts: Sequence[str] = ()) -> list[nn.Module]:
    """Return modules with running statistics whose parameters are all frozen; without any, their name decides.

    In training mode their statistics would move, so each step puts them into evaluation mode.
    """
    found = []
    for name, module in model.named_modules():
        if getattr(module, "running_mean", None) is None:
            continue
        own = list(module.parameters(recurse=False))
        is_still = not any(parameter.requires_grad for parameter in own) if own else is_frozen(f"{name}.", parts)
        if is_still:
            found.append(module)
    return found


def is_frozen(name: str, parts: Sequence[str]) -> bool:
    """Return whether a parameter's name contains one of the parts."""
    return any(part in name for part in parts)


def _unknown_part(index: int, part: str, names: Sequence[str]) -> str:
    tops = dict.fromkeys(name.split(".")[0] for name in names)
    prefixes = {prefix for name in names for prefix in accumulate(name.split("."), "{}.{}".format)}
    near = difflib.get_close_matches(part, [*prefixes, *(word for name in names for word in name.split("."))], n=4)
    hint = f"Near ones are {', '.join(dict.fromkeys(near))}." if near else f"Names begin with {', '.join(tops)}."
    return f"train.freeze[{index}]: no parameter's name contains {part!r}. {hint} Name a part of one."
