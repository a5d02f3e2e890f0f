"""A picture on its way through a pipeline, and one that could not be read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from segpipe.errors import SegpipeError


@dataclass(frozen=True, eq=False)
class Picture:
    """A picture on its way through a pipeline.

    Attributes:
        pixels: (H, W, 3) uint8 RGB as decoded, in memory of its own.
        source: what it is called in messages and results.
        prepared: what the pipeline's `preprocess` made of it.
        timings: seconds by step so far, as the clock ran for the thread that did the step. In a stream several pictures
            are worked on at once, each with a part of the cores, so the steps add up to more than the time that a
            picture costs. A batch's time is divided among its pictures; a GPU's work is counted where its result is
            waited for.
        is_kept: whether the result shall hold the pixels.
    """

    pixels: np.ndarray
    source: str
    prepared: Any
    timings: dict[str, float]
    is_kept: bool


@dataclass(frozen=True)
class Failure:
    """A picture that could not be read, in the place of its result.

    Attributes:
        source: what it is called.
        error: an ImageError or InputError that names it.
    """

    source: str
    error: SegpipeError
