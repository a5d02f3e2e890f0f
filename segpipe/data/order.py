"""Which sample comes when in a run, and where its chance comes from: pure functions of seed and place."""

from __future__ import annotations

import functools
from typing import NamedTuple

import numpy as np


class Key(NamedTuple):
    """Which sample it is, and in which pass over the data."""

    epoch: int
    sample: int


@functools.lru_cache(maxsize=4)
def permutation(seed: int, epoch: int, length: int) -> np.ndarray:
    """(length,) the order of an epoch; read-only.

    The ranks of Philox numbers, whose stream NumPy promises to keep: the same on all platforms and in all versions.
    """
    numbers = np.random.Philox(np.random.SeedSequence([seed, epoch])).random_raw(length)
    order = np.argsort(numbers, kind="stable")
    order.flags.writeable = False
    return order


def sample_key(seed: int, length: int, place: int) -> Key:
    """Which sample of a data set of this length has this place in the run."""
    epoch, offset = divmod(place, length)
    return Key(epoch, int(permutation(seed, epoch, length)[offset]))


def sample_rng(seed: int, key: Key, draw: int = 0) -> np.random.Generator:
    """Where the transforms of a sample take their chance from; `draw` counts how often it was drawn already."""
    return np.random.default_rng([seed, *key, draw] if draw else [seed, *key])
