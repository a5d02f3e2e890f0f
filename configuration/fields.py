"""The building blocks of the schema: a strict struct, bounded numbers, sizes."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

Positive = Annotated[int, Meta(ge=1, le=2**31 - 1)]
NonNegative = Annotated[int, Meta(ge=0, le=2**31 - 1)]
Share = Annotated[float, Meta(ge=0.0, le=1.0)]
PositiveFloat = Annotated[float, Meta(gt=0.0)]
NonNegativeFloat = Annotated[float, Meta(ge=0.0)]
Pixels = Annotated[int, Meta(ge=1, le=65536)]
Size = tuple[Pixels, Pixels]
"""(height, width)"""
Byte = Annotated[int, Meta(ge=0, le=255)]
Name = Annotated[str, Meta(min_length=1, max_length=200)]
Interval = tuple[PositiveFloat, PositiveFloat]
"""(least, greatest)"""


def check_interval(name: str, interval: tuple[float, float]) -> None:
    """Refuse bounds in the wrong order."""
    if interval[0] > interval[1]:
        raise ValueError(f"`{name}` {list(interval)} has its bounds in the wrong order; the least comes first")


class Section(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A part of the document: immutable, unknown keys refused.

    msgspec inherits these settings except `kw_only`, which every section repeats (and `frozen`, for type checkers).
    """
