"""Read typed values of another library's document; an error names the JSON path."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable
from typing import Any

from segpipe.configuration import Configuration, LabelSet, build_configuration, load_preset, parse_path, to_document
from segpipe.errors import ConfigurationError

# One preset for each data set whose names are well known.
_DATASET_PRESETS = ("segformer-b0-cocostuff", "segformer-b0-ade20k", "segformer-b0-cityscapes", "segformer-b0-camvid")


@dataclasses.dataclass(frozen=True)
class ForeignDocument:
    """A parsed document and where it came from; each getter takes a path like `decode_head.channels`."""

    root: Any
    origin: str

    def get(self, path: str, default: Any = None) -> Any:
        """Return the value at a path, or the default where it is missing or null."""
        value = self.root
        for key in parse_path(path):
            value = value.get(key) if isinstance(value, dict) else None
        return default if value is None else value

    def integer(self, path: str, default: int | None = None, *, most: int = 2**31 - 1) -> int:
        """Return a positive integer, which is at most this large."""
        value = self.get(path, default)
        if not _is_positive(value):
            raise self.error(path, f"{shown(value)} is not a positive integer", "Correct it")
        if value > most:
            raise self.error(path, f"{value}; at most {most} is supported", "Correct it")
        return value

    def number(self, path: str, default: float) -> float:
        """Return an integer or a float."""
        value = self.get(path, default)
        if not _is_number(value):
            raise self.error(path, f"{shown(value)} is not a number", "Correct it")
        return float(value)

    def share(self, path: str, default: float) -> float:
        """Return a number from 0 to 1."""
        value = self.number(path, default)
        if not 0 <= value <= 1:
            raise self.error(path, f"{value} is not between 0 and 1", "Correct it")
        return value

    def switch(self, path: str, default: bool) -> bool:
        """Return true or false."""
        value = self.get(path, default)
        if not isinstance(value, bool):
            raise self.error(path, f"{shown(value)} is neither true nor false", "Correct it")
        return value

    def four(self, path: str, default: tuple[int, ...] | None = None) -> tuple[int, int, int, int]:
        """Return four positive integers, one per stage."""
        problem = "is not a list of four positive integers, one per stage"
        first, second, third, fourth = self._members(path, default, 4, _is_positive, problem)
        return first, second, third, fourth

    def pair(self, path: str, problem: str = "is not a pair of positive integers, height and width") -> tuple[int, int]:
        """Return two positive integers, height and width."""
        height, width = self._members(path, None, 2, _is_positive, problem)
        return height, width

    def three(self, path: str, default: tuple[float, ...]) -> tuple[float, float, float]:
        """Return three numbers, one per color channel."""
        problem = "is not a list of three numbers, red, green and blue"
        red, green, blue = self._members(path, default, 3, _is_number, problem)
        return float(red), float(green), float(blue)

    def require(self, path: str, *allowed: Any, is_given: bool = False) -> None:
        """Refuse every value of a key that would compute something else than segpipe does.

        A key that is missing stands for the first of the allowed values, unless it must be given.
        """
        value = self.get(path, None if is_given else allowed[0])
        value = tuple(value) if isinstance(value, list) else value
        if value not in allowed:
            listing = " or ".join(shown(item) for item in allowed)
            raise self.error(path, f"{shown(value)} is not supported; supported is {listing}", "Use another model")

    def error(self, path: str, problem: str, advice: str) -> ConfigurationError:
        """Return a ConfigurationError that begins with the origin and the path."""
        return ConfigurationError(f"{self.origin}: {path}: {problem}. {advice}.")

    def _members(self, path: str, default: Any, count: int, fits: Callable[[Any], bool], problem: str) -> list[Any]:
        value = self.get(path, default)
        if not isinstance(value, list | tuple) or len(value) != count or not all(map(fits, value)):
            raise self.error(path, f"{shown(value)} {problem}", "Correct it")
        return list(value)


def described(build: Callable[[], Configuration], *, origin: str) -> Configuration:
    """Return what `build` makes of another library's document, held against the limits of our own documents."""
    try:
        configuration = build()
    except ConfigurationError:
        raise
    except ValueError as error:  # what our own document would not allow either
        raise ConfigurationError(f"{origin}: {error}. Correct one of the two.") from None
    return build_configuration(to_document(configuration), origin=f"{origin} in segpipe's words")


def known_labels(names: tuple[str, ...]) -> LabelSet | None:
    """Return the labels of the well-known data set that has exactly these names."""
    for preset in _DATASET_PRESETS:
        labels = load_preset(preset).labels
        if labels is not None and labels.names == names:
            return labels
    return None


def distinct_names(names: Iterable[str]) -> tuple[str, ...]:
    """Return the names without blanks around them; a name that comes again, or is empty, gets its class index."""
    seen: set[str] = set()
    distinct = []
    for index, name in enumerate(names):
        clean = name.strip()[:180] or "class"
        unique = clean if clean not in seen and name.strip() else f"{clean} {index}"
        while unique in seen:
            unique = f"{unique}_"
        seen.add(unique)
        distinct.append(unique)
    return tuple(distinct)


def numbered_names(count: int) -> tuple[str, ...]:
    """Return `class 0`, `class 1`, … for a document that names no classes."""
    return tuple(f"class {index}" for index in range(count))


def with_nothing(name: str) -> tuple[str, str]:
    """Return the names of two classes for a network with one output: nothing, and what it finds."""
    return ("background" if name == "nothing" else "nothing"), name


def ignore_index_for(count: int, wanted: int = 255) -> int:
    """Return the wanted value where it is not a class, else the next free one that labels of 16 bits can hold."""
    return wanted if wanted >= count else 65535


def _is_positive(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 1 <= value < 2**31


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e30


def shown(value: Any) -> str:
    """Return a value as a message shows it."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    text = repr(list(value) if isinstance(value, tuple) else value)
    return text if len(text) <= 80 else f"{text[:80]}…"
