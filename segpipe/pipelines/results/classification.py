"""The result of classifying one image: probabilities of the classes, the likeliest first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from textwrap import dedent
from typing import Any

import numpy as np

from segpipe.errors import InputError
from segpipe.text import format_table, html_table, html_text

from .keyed_result import KeyedResult

TOP = 5


class Classification(KeyedResult):
    """The classes of an image.

    A mapping with ModelScope's keys `scores` and `labels`: the five likeliest classes, the likeliest first; of equally
    likely ones the lower index is first. `top` gives more or fewer.
    """

    __slots__ = ("_order", "_probabilities")

    KEYS = ("scores", "labels")

    def __init__(
        self,
        probabilities: np.ndarray,
        names: Sequence[str],
        *,
        source: str = "",
        timings: Mapping[str, float] | None = None,
    ) -> None:
        """
        Args:
            probabilities: (K,) by class index; kept, not copied.
            names: class names, by class index; outputs beyond them are not a class.
            source: see `KeyedResult`.
            timings: see `KeyedResult`.
        """
        if probabilities.ndim != 1 or len(probabilities) < len(names):
            raise InputError(
                f"The probabilities have shape {probabilities.shape} for {len(names)} names; one per name is needed."
            )
        super().__init__(tuple(names), source, timings)
        self._probabilities = probabilities
        self._order = np.argsort(-probabilities[: len(names)], kind="stable")

    @property
    def probabilities(self) -> np.ndarray:
        """(K,) by class index."""
        return self._probabilities

    @property
    def class_index(self) -> int:
        """The likeliest class."""
        return int(self._order[0])

    @property
    def label(self) -> str:
        """The name of the likeliest class."""
        return self._names[self.class_index]

    @property
    def labels(self) -> list[str]:
        """Names of the likeliest classes, the likeliest first."""
        return [name for name, _ in self.top()]

    @property
    def scores(self) -> list[float]:
        """Probabilities of the likeliest classes, the likeliest first."""
        return [score for _, score in self.top()]

    def top(self, count: int = TOP) -> list[tuple[str, float]]:
        """Return (name, probability) of the likeliest classes, at most `count`."""
        return [(self._names[index], float(self._probabilities[index])) for index in self._order[:count]]

    def to_dict(self) -> dict[str, Any]:
        """Return what JSON can hold: the source, and the likeliest classes with index, label and score."""
        classes = [
            {"class_index": int(index), "label": self._names[index], "score": float(self._probabilities[index])}
            for index in self._order[:TOP]
        ]
        return {"source": self._source, "classes": classes}

    def table(self) -> str:
        """Return a line for each of the likeliest classes."""
        return dedent(format_table(self._rows(), ("left", "left")))

    def _rows(self) -> list[tuple[str, str]]:
        return [("class", "score"), *((name, f"{score:.3f}") for name, score in self.top())]

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Classification):
            return NotImplemented
        return self._names == other._names and np.array_equal(self._probabilities, other._probabilities)

    def _repr_html_(self) -> str:
        table = html_table(self._rows())
        return f"<p>{html_text(self._source)}</p>{table}" if self._source else table

    def __str__(self) -> str:
        return f"{self._source}\n{self.table()}" if self._source else self.table()

    def __repr__(self) -> str:
        return f"Classification({self.label!r} {self.scores[0]:.3f}, {len(self._names)} classes)"
