"""The base of all pipelines' results: names, source, times, and a mapping whose keys are attributes."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from segpipe.errors import UnknownNameError


class UnknownKeyError(UnknownNameError, KeyError):
    """A key that a result does not have; `Mapping.get` and `in` rely on its being a KeyError."""

    __str__ = Exception.__str__


class KeyedResult(Mapping[str, Any]):
    """The result of one image, also a mapping with ModelScope's keys.

    Each key is the name of an attribute, which is computed when it is asked for.

    Args:
        names: class names, by class index.
        source: the image's name.
        timings: seconds per step.
    """

    __slots__ = ("_names", "_source", "_timings")
    __hash__ = None  # type: ignore[assignment]

    KEYS: ClassVar[tuple[str, ...]] = ()

    def __init__(self, names: tuple[str, ...], source: str, timings: Mapping[str, float] | None) -> None:
        self._names = names
        self._source = str(source)
        self._timings = dict(timings or {})

    @property
    def names(self) -> tuple[str, ...]:
        """All class names that the model knows, by class index."""
        return self._names

    @property
    def source(self) -> str:
        """The image's name: a path, a URL without its query, or "picture 3"."""
        return self._source

    @property
    def timings(self) -> dict[str, float]:
        """Seconds per step."""
        return dict(self._timings)

    def to_dict(self) -> dict[str, Any]:
        """Return what JSON can hold."""
        raise NotImplementedError

    def to_json(self) -> str:
        """Return `to_dict` as JSON text, in one line."""
        return json.dumps(self.to_dict(), ensure_ascii=False, allow_nan=False)

    def __getitem__(self, key: str) -> Any:
        if key not in self.KEYS:
            kind = type(self).__name__.lower()
            raise UnknownKeyError(f"A {kind} has no {key!r}; it has {', '.join(self.KEYS)}. Use one of them.", key=key)
        return getattr(self, key)

    def __contains__(self, key: object) -> bool:
        return key in self.KEYS  # without computing the value

    def __iter__(self) -> Iterator[str]:
        return iter(self.KEYS)

    def __len__(self) -> int:
        return len(self.KEYS)
