"""Advice in the caller's form: `names=["bg", "fg"]` in Python is `--option names=bg,fg` on the command line.

    advice.option("names", ["bg", "fg"])          names=["bg", "fg"]                       --option names=bg,fg
    advice.setting("train.max_epochs", 50)        cfg_options={"train.max_epochs": 50}     --set train.max_epochs=50
    advice.argument("work_dir", "runs/x")         work_dir="runs/x"                        --work-dir runs/x
    advice.either(python="…", command="…")        for what is more than an option

What is rendered works when it is copied: a value on the command line is quoted for a shell and is parsed to the same
value again, and an option is named only where the running verb has it; else the form is Python's.
"""

from __future__ import annotations

import json
import os
import re
import shlex
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

_READING = ("alpha", "bit_depth")
"""Options of a data set that are options of a verb, too, where it reads images without labels."""
_RECIPE = ("train", "evaluation", "dataset", "parallel")
"""Sections of a configuration that only a trainer reads."""
_FLAGS = {"calibration": ("--calibration", "--int8"), "cfg_file": ("--config",)}
"""Arguments with another name on the command line; the first that the verb has is taken."""
_SWITCHES = {("check_data", False): "--skip-data-check", ("pretrained", False): "--from-scratch"}
_SPECIAL = re.compile(
    r"""[\[({"'#]|(true|false|null|none|-?nan|-?inf(inity)?|[+-]?[\d._]+(e[+-]?\d+)?)\Z""", re.IGNORECASE
)
"""A text that is not read as itself: a list, a quoted text, a color, a constant, a number."""
_ANY = object()
"""Stands for a value that only the caller knows."""

# Not a ContextVar: the threads that read images would not inherit it.
_flags: frozenset[str] | None = None
_command: tuple[str, ...] = ()


@contextmanager
def on_command_line(flags: Collection[str], command: Sequence[str] = ()) -> Iterator[None]:
    """Give advice the form of a command whose verb has these options, such as `--set`.

    Args:
        flags: options of the verb.
        command: the verb and its arguments, as they were given.
    """
    global _flags, _command
    before, _flags, _command = (_flags, _command), frozenset(flags), tuple(command)
    try:
        yield
    finally:
        _flags, _command = before


def option(name: str, value: Any = _ANY) -> str:
    """Return an option of a data set as the caller writes it. Without a value, `…` stands for it."""
    flags = _flags or ()
    if "--option" not in flags or (name in _READING and _flag(name) in flags):
        return argument(name, value) if name in _READING else _python_form(name, value)
    return f"--option {_pair(name, value)}"


def setting(path: str, value: Any = _ANY, *, keyword: str | None = None) -> str:
    """Return a change of the configuration as the caller writes it.

    Args:
        path: of the key.
        value: of the key. Without one, `…` stands for it.
        keyword: the argument in Python. If None, `cfg_options` of `build_trainer` for what only a trainer reads, and
            `overrides` of `pipeline` for all else.
    """
    if "--set" in (_flags or ()):
        return f"--set {_pair(path, value)}"
    keyword = keyword or ("cfg_options" if re.split(r"[.\[]", path)[0] in _RECIPE else "overrides")
    return f"{keyword}={{{python_value(path)}: {'…' if value is _ANY else python_value(value)}}}"


def argument(name: str, value: Any = _ANY) -> str:
    """Return an argument of a function as the caller writes it. On the command line a bool is a switch."""
    flags = _flags or ()
    known = next((flag for flag in _FLAGS.get(name, (_flag(name),)) if flag in flags), None)
    if isinstance(value, bool):
        switch = _SWITCHES.get((name, value), known if value else None)
        return switch if switch is not None and switch in flags else _python_form(name, value)
    if known is None:
        return _python_form(name, value)
    return f"{known} {'…' if value is _ANY else shlex.quote(command_value(value))}"


def either(*, python: str, command: str) -> str:
    """Return the text for this caller."""
    return python if _flags is None else command


def form() -> tuple[frozenset[str] | None, tuple[str, ...]]:
    """Return the form of this process, for `take_form` in a process that it starts."""
    return _flags, _command


def take_form(flags: frozenset[str] | None, command: tuple[str, ...]) -> None:
    """Render advice as another process does."""
    global _flags, _command
    _flags, _command = flags, command


def command() -> tuple[str, ...] | None:
    """Return the verb and the arguments of the running command, or None in Python."""
    return None if _flags is None else _command


def python_value(value: Any) -> str:
    """Return a value as Python source."""
    if isinstance(value, str | os.PathLike):
        return json.dumps(os.fspath(value), ensure_ascii=False)
    if isinstance(value, Mapping):
        return f"{{{', '.join(f'{python_value(key)}: {python_value(member)}' for key, member in value.items())}}}"
    if isinstance(value, tuple):
        return f"({', '.join(map(python_value, value))}{',' if len(value) == 1 else ''})"
    if isinstance(value, Sequence):
        return f"[{', '.join(map(python_value, value))}]"
    return repr(value)


def command_value(value: Any) -> str:
    """Return a value as a command has it, before a shell: words or hex colors with commas between them, else JSON."""
    if isinstance(value, os.PathLike):
        value = os.fspath(value)
    if isinstance(value, str) and _is_plain(value):
        return value
    if isinstance(value, list | tuple) and value:
        if all(_is_word(member) for member in value):
            return ",".join(value)
        if all(_is_color(member) for member in value):
            return ",".join("#{:02x}{:02x}{:02x}".format(*member) for member in value)
    return json.dumps(value, ensure_ascii=False)


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def _python_form(name: str, value: Any) -> str:
    return f"{name}={'…' if value is _ANY else python_value(value)}"


def _pair(key: str, value: Any) -> str:
    return f"{key}=…" if value is _ANY else shlex.quote(f"{key}={command_value(value)}")


def _is_plain(text: str) -> bool:
    """Return whether a text is read as itself."""
    return bool(text) and text == text.strip() and not _SPECIAL.match(text)


def _is_word(value: object) -> bool:
    """Return whether a value is a text that can stand in a list with commas between."""
    return isinstance(value, str) and _is_plain(value) and "," not in value


def _is_color(value: object) -> bool:
    if not isinstance(value, list | tuple) or len(value) != 3:
        return False
    return all(type(channel) is int and 0 <= channel <= 255 for channel in value)
