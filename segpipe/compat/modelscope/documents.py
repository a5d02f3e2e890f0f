"""ModelScope's `Config`: a document with attributes, for scripts that read and change one.

It takes any keys. What a run or a model is made of is `segpipe.Configuration`, which is strict.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any

import yaml

from segpipe.configuration import parse_json, parse_yaml
from segpipe.errors import ConfigurationError
from segpipe.files import read_text
from segpipe.limits import limit
from segpipe.names import did_you_mean, listing

_FORMATS = (".json", ".yaml", ".yml")
_RESERVED = ("filename", "pretty_text", "text")
_DELETE = "_delete_"
_STEP = re.compile(r"[^.\[\]]+")
_ABSENT: Any = object()
AnyPath = str | os.PathLike[str]


class ConfigDict(dict[str, Any]):
    """A dict whose keys are attributes, too. Dicts in it, and in its lists, are of the same kind."""

    def __init__(self, *arguments: Any, **members: Any) -> None:
        super().__init__()
        self.update(*arguments, **members)

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            hint = did_you_mean(name, self) or f" It has {listing(list(self)) or 'nothing'}."
            raise AttributeError(f"The document has no {name!r} here.{hint}") from None

    def __setattr__(self, name: str, value: Any) -> None:
        self[name] = value

    def __delattr__(self, name: str) -> None:
        if name not in self:
            raise AttributeError(f"The document has no {name!r} here.")
        del self[name]

    def __setitem__(self, key: str, value: Any) -> None:
        super().__setitem__(key, _members(value))

    def update(self, *arguments: Any, **members: Any) -> None:
        """Take members over as `dict.update` does; nothing is merged."""
        for key, value in dict(*arguments, **members).items():
            self[key] = value

    def setdefault(self, key: str, default: Any = None) -> Any:
        """Return a member; where there is none, `default` becomes it."""
        if key not in self:
            self[key] = default
        return self[key]

    def __deepcopy__(self, memo: dict[int, Any]) -> ConfigDict:
        copied = self._empty()
        for key, value in self.items():
            copied[key] = deepcopy(value, memo)
        return copied

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.to_dict(),)

    def copy(self) -> ConfigDict:
        """Return a copy whose members are the same objects."""
        copied = self._empty()
        dict.update(copied, self)
        return copied

    __copy__ = copy

    def to_dict(self) -> dict[str, Any]:
        """Return plain dicts, lists and tuples."""
        return {key: _plain(value) for key, value in self.items()}

    def _empty(self) -> ConfigDict:
        return ConfigDict()


class Config(ConfigDict):
    """A document, such as a model's configuration.json.

        cfg = Config.from_file("configuration.json")
        cfg.train.max_epochs = 3
        cfg.merge_from_dict({"train.optimizer.lr": 1e-4})
        cfg.dump("configuration.json")

    Its top level cannot have the keys filename, text and pretty_text.
    """

    def __init__(self, cfg_dict: Mapping[str, Any] | None = None, cfg_text: str = "", filename: AnyPath = "") -> None:
        object.__setattr__(self, "_source", (os.fspath(filename), cfg_text))
        super().__init__(cfg_dict or {})

    @classmethod
    def from_file(cls, filename: AnyPath, **_: Any) -> Config:
        """Read a .json, .yaml or .yml file. A tuple that jsonplus wrote is a tuple again; .py is not executed.

        ModelScope's other arguments, which allow code to run, are taken and have no effect.
        """
        path = Path(filename)
        if path.suffix not in _FORMATS:
            raise ConfigurationError(
                f"{path} is not a document: it must be .json, .yaml or .yml, since segpipe does not execute a "
                "configuration. Save it as JSON."
            )
        most = limit("configuration_bytes" if path.suffix == ".json" else "yaml_bytes")
        text = read_text(path, max_bytes=most, error=ConfigurationError)
        return cls(_document(text, path.suffix, str(path)), text, path)

    @classmethod
    def from_string(cls, cfg_str: str, file_format: str) -> Config:
        """Read a text in the format ".json", ".yaml" or ".yml"."""
        if file_format not in _FORMATS:
            raise ConfigurationError(f"file_format is {file_format!r}; it must be .json, .yaml or .yml.")
        return cls(_document(cfg_str, file_format, "cfg_str"), cfg_str)

    def __setitem__(self, key: str, value: Any) -> None:
        if key in _RESERVED:
            raise ConfigurationError(f"The document cannot have the key {key!r}, which is an attribute. Rename it.")
        super().__setitem__(key, value)

    def __reduce__(self) -> tuple[Any, ...]:
        return Config, (self.to_dict(), self.text, self.filename)

    def _empty(self) -> Config:
        return Config(None, self.text, self.filename)

    @property
    def filename(self) -> str:
        """The file that it was read from, or an empty text."""
        return str(self._source[0])

    @property
    def text(self) -> str:
        """The text that it was read from, or an empty text."""
        return str(self._source[1])

    @property
    def pretty_text(self) -> str:
        """A line for each key of the top level: `train = dict(max_epochs=3)`."""
        return "".join(f"{key} = {_python(value)}\n" for key, value in self.to_dict().items())

    def __repr__(self) -> str:
        return f"Config (path: {self.filename or None}): {self.to_dict()!r}"

    def dump(self, file: AnyPath | None = None) -> str | None:
        """Write a .json, .yaml or .yml file; without one, return the text in the format that it was read in."""
        suffix = Path(file or self.filename or ".json").suffix or ".json"
        if suffix not in _FORMATS:
            raise ConfigurationError(f"{file} cannot be written: it must be .json, .yaml or .yml. Rename it.")
        text = json.dumps(self.to_dict(), ensure_ascii=False)
        if suffix != ".json":
            text = yaml.safe_dump(json.loads(text), sort_keys=False, allow_unicode=True)
        if file is None:
            return text
        Path(file).write_text(text, encoding="utf-8")
        return None

    def to_args(self, parse_fn: Callable[[list[str]], Any], use_hyphen: bool = True) -> Any:
        """Return what a function makes of the document as arguments of a command: `--max-epochs 3`.

        Args:
            parse_fn: gets the arguments, such as `parse_args` of an ArgumentParser.
            use_hyphen: write - for _ in names.
        """
        arguments: list[str] = []
        for key, value in self.items():
            name = f"--{key.replace('_', '-') if use_hyphen else key}"
            if value is not False and value is not None:
                values = value if isinstance(value, list | tuple) else () if value is True else (value,)
                arguments += [name, *map(str, values)]
        return parse_fn(arguments)

    def safe_get(self, key_chain: str, default: Any = None) -> Any:
        """Return what is at a path such as `train.hooks[0].interval`, or `default` where there is nothing.

        In a list of dicts, `train.hooks.CheckpointHook` is the one of this `type`.
        """
        value: Any = self
        for step in _STEP.findall(key_chain):
            value = _member(value, step)
            if value is _ABSENT:
                return default
        return value

    def merge_from_dict(self, options: Mapping[str, Any], allow_list_keys: bool = True, force: bool = True) -> None:
        """Change members by their paths, such as {"train.optimizer.lr": 1e-4}.

        A dict is merged into a dict, and replaces it where it has `_delete_: True`. Into a list, {"0": …} is merged by
        position; two lists of dicts with a `type` are merged by it, and what is new is appended.

        Args:
            options: paths and values.
            allow_list_keys: whether a number stands for a place in a list.
            force: whether what is there is replaced; otherwise only what is missing is added.

        Raises:
            ConfigurationError: a dict would be merged into something else, or the list has no such place.
        """
        change: dict[str, Any] = {}
        for path, value in options.items():
            _nest(change, path.split("."), value)
        merged = _merged(self.to_dict(), change, "", allow_list_keys, force)
        self.clear()
        self.update(merged)


def _members(value: Any) -> Any:
    """Return the value with each dict as a ConfigDict."""
    if isinstance(value, ConfigDict) and not isinstance(value, Config):
        return value
    if isinstance(value, Mapping):
        return ConfigDict(value)
    if isinstance(value, list | tuple) and type(value) in (list, tuple):
        return type(value)(map(_members, value))
    return value


def _plain(value: Any) -> Any:
    if isinstance(value, ConfigDict):
        return value.to_dict()
    if type(value) in (list, tuple):
        return type(value)(map(_plain, value))
    return value


def _document(text: str, file_format: str, origin: str) -> dict[str, Any]:
    parse = parse_json if file_format == ".json" else parse_yaml
    decoded = _with_tuples(parse(text, origin=origin))
    if not isinstance(decoded, dict):
        raise ConfigurationError(f"{origin} holds a {type(decoded).__name__}; a document is an object. Correct it.")
    return decoded


def _with_tuples(value: Any) -> Any:
    if isinstance(value, list):
        return [_with_tuples(member) for member in value]
    if not isinstance(value, dict):
        return value
    if value.get("__class__") == "tuple" and isinstance(value.get("__value__"), list):
        return tuple(map(_with_tuples, value["__value__"]))
    return {key: _with_tuples(member) for key, member in value.items()}


def _python(value: Any) -> str:
    """Return the value in Python, with `dict(…)` where its keys can be arguments."""
    if isinstance(value, Mapping) and all(isinstance(key, str) and key.isidentifier() for key in value):
        return f"dict({', '.join(f'{key}={_python(member)}' for key, member in value.items())})"
    if isinstance(value, list):
        return f"[{', '.join(map(_python, value))}]"
    return repr(value)


def _member(value: Any, step: str) -> Any:
    """Return what is at a step into a dict or a list, or `_ABSENT`."""
    if isinstance(value, Mapping):
        return value.get(step, _ABSENT)
    if not isinstance(value, Sequence) or isinstance(value, str):
        return _ABSENT
    if step.isdecimal():
        return value[int(step)] if int(step) < len(value) else _ABSENT
    return next((item for item in value if _type_of(item) == step), _ABSENT)


def _type_of(value: Any) -> Any:
    return value.get("type") if isinstance(value, Mapping) else None


def _nest(change: dict[str, Any], steps: list[str], value: Any) -> None:
    for step in steps[:-1]:
        below = change.setdefault(step, {})
        if not isinstance(below, dict):
            below = change[step] = {}
        change = below
    change[steps[-1]] = value


def _merged(base: Any, change: Any, path: str, list_keys: bool, force: bool) -> Any:
    """Return a base with a change merged into it; neither is altered."""
    if isinstance(change, Mapping):
        return _merged_mapping(base, change, path, list_keys, force)
    if _are_typed(base) and _are_typed(change):
        return _merged_by_type(base, change, path, list_keys, force)
    return change if force or base is _ABSENT else base


def _merged_mapping(base: Any, change: Mapping[str, Any], path: str, list_keys: bool, force: bool) -> Any:
    if change.get(_DELETE):
        return {key: value for key, value in change.items() if key != _DELETE}
    if base is _ABSENT or base is None:
        base = {}
    if isinstance(base, list | tuple) and list_keys:
        places = list(base)
        for key, value in change.items():
            if not str(key).isdecimal() or int(key) >= len(places):
                raise ConfigurationError(
                    f"{path}: {key!r} is not a place in this list of {len(places)}. Correct the path."
                )
            places[int(key)] = _merged(places[int(key)], value, f"{path}.{key}", list_keys, force)
        return type(base)(places)
    if not isinstance(base, Mapping):
        raise ConfigurationError(
            f"{path}: a dict cannot be merged into {base!r}. Give {_DELETE!r}: True in it to replace the value."
        )
    merged = dict(base)
    for key, value in change.items():
        here = f"{path}.{key}" if path else str(key)
        merged[key] = _merged(merged.get(key, _ABSENT), value, here, list_keys, force)
    return merged


def _merged_by_type(base: Sequence[Any], change: Sequence[Any], path: str, list_keys: bool, force: bool) -> list[Any]:
    merged = list(base)
    for item in change:
        place = next((place for place, own in enumerate(merged) if _type_of(own) == _type_of(item)), None)
        if place is None:
            merged.append(item)
        else:
            merged[place] = _merged(merged[place], item, f"{path}.{_type_of(item)}", list_keys, force)
    return merged


def _are_typed(value: Any) -> bool:
    return isinstance(value, list | tuple) and bool(value) and all(_type_of(item) is not None for item in value)
