"""The call that began a run, written again with other arguments: what messages offer to copy."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from segpipe import advice
from segpipe.hub import ModelFolder

_LENGTH = re.compile(r"\s*train\.max_(steps|epochs)\s*=.*", re.DOTALL)
_SWITCHES = {"extend": "--extend", "pretrained": "--from-scratch"}
"""Arguments that have no value on the command line."""


def write_call(given: Mapping[str, Any], changes: Mapping[str, Any]) -> str:
    """Return the call of a run as its caller writes it: a command for a shell, or Python.

    Args:
        given: the arguments of `build_trainer` that the caller gave.
        changes: what takes their place. None takes an argument away.
    """
    command = advice.command()
    return _python_call(given, changes) if command is None else _shell_command(command, changes)


def unused_folder(folder: Path) -> Path:
    """Return the first of `folder`-2, `folder`-3, … that does not exist."""
    number = 2
    while os.path.lexists(folder.with_name(f"{folder.name}-{number}")):
        number += 1
    return folder.with_name(f"{folder.name}-{number}")


def _python_call(given: Mapping[str, Any], changes: Mapping[str, Any]) -> str:
    arguments = {**given, **changes}
    if _changes_length(changes) and "cfg_options" in given:
        arguments["cfg_options"] = _without_length(given["cfg_options"])
    texts = [f"{name}={_source(name, value)}" for name, value in arguments.items() if value is not None]
    return f"build_trainer({', '.join(texts)}).train()"


def _source(name: str, value: Any) -> str:
    """Return a value as Python source; for an object that has none, the argument's name stands."""
    if isinstance(value, ModelFolder):
        return advice.python_value(value.name)
    return advice.python_value(value) if _is_plain(value) else name


def _is_plain(value: Any) -> bool:
    if isinstance(value, Mapping):
        return all(_is_plain(member) for pair in value.items() for member in pair)
    if isinstance(value, list | tuple):
        return all(map(_is_plain, value))
    return value is None or isinstance(value, str | os.PathLike | int | float)


def _without_length(options: Any) -> Any:
    if isinstance(options, Mapping):
        return {key: value for key, value in options.items() if not _LENGTH.fullmatch(f"{key}=")} or None
    return [option for option in options if not _LENGTH.fullmatch(option)] or None


def _shell_command(command: Sequence[str], changes: Mapping[str, Any]) -> str:
    tokens = _without_length_settings(command) if _changes_length(changes) else list(command)
    for name, value in changes.items():
        flag = _SWITCHES.get(name, f"--{name.replace('_', '-')}")
        tokens = _without(tokens, flag, has_value=name not in _SWITCHES)
        if value is not None:
            tokens += [flag] if name in _SWITCHES else [flag, str(value)]
    return shlex.join([*_program(), *tokens])


def _program() -> list[str]:
    """Return the words before the verb, as the processes of this run were started."""
    processes = os.environ.get("LOCAL_WORLD_SIZE", "1")
    return ["segpipe"] if processes == "1" else ["torchrun", "--nproc-per-node", processes, "-m", "segpipe"]


def _changes_length(changes: Mapping[str, Any]) -> bool:
    return "max_steps" in changes or "max_epochs" in changes


def _without_length_settings(command: Sequence[str]) -> list[str]:
    kept: list[str] = []
    for token in command:
        if _LENGTH.fullmatch(token) and kept and kept[-1] == "--set":
            kept.pop()
        elif not _LENGTH.fullmatch(token.removeprefix("--set=")):
            kept.append(token)
    return kept


def _without(tokens: Sequence[str], flag: str, *, has_value: bool) -> list[str]:
    kept: list[str] = []
    is_value = False
    for token in tokens:
        if is_value:
            is_value = False
        elif token == flag:
            is_value = has_value
        elif not (has_value and token.startswith(f"{flag}=")):
            kept.append(token)
    return kept
