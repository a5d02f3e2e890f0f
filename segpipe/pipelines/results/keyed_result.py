"""What the results of all pipelines have in common: a mapping whose keys are attributes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from segpipe.errors import UnknownNameError


class UnknownKeyError(UnknownNameError, KeyError):
    """A key that a result does not have; `Mapping.get` and `in` rely on its being a KeyError."""

    __str__ = Exception.__str__


class KeyedResult(Mapping[str, Any]):
    """What a pipeline made of one image, also a mapping with ModelScope's keys.

    Each key is the name of an attribute, which is computed when it is asked for.
    """

    __slots__ = ()

    KEYS: ClassVar[tuple[str, ...]] = ()

    def __getitem__(self, key: str) -> Any:
        if key not in self.KEYS:
            kind = type(self).__name__.lower()
            raise UnknownKeyError(f"A {kind} has no {key!r}; it has {', '.join(self.KEYS)}. Use one of them.")
        return getattr(self, key)

    def __contains__(self, key: object) -> bool:
        return key in self.KEYS  # without computing the value

    def __iter__(self) -> Iterator[str]:
        return iter(self.KEYS)

    def __len__(self) -> int:
        return len(self.KEYS)
