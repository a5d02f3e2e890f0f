"""Choose the sample and the random generator of each place in a run, by pure functions of seed and place."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np


class Key(NamedTuple):
    """A sample's index, and the pass over the data that it is for."""

    epoch: int
    sample: int


def sample_key(seed: int, length: int, place: int) -> Key:
    """Return which sample of a data set of this length has this place in the run."""
    epoch, offset = divmod(place, length)
    return Key(epoch, int(permutation(seed, epoch, length)[offset]))


def sample_rng(seed: int, key: Key, draw: int = 0) -> np.random.Generator:
    """Return the generator for the transforms of a sample; `draw` counts how often it was drawn already."""
    return np.random.default_rng([seed, *key, draw] if draw else [seed, *key])


@functools.lru_cache(maxsize=4)
def permutation(seed: int, epoch: int, length: int) -> np.ndarray:
    """Return the (length,) order of an epoch; read-only.

    The ranks of Philox numbers, whose stream NumPy promises to keep: the same on all platforms and in all versions.
    """
    numbers = np.random.Philox(np.random.SeedSequence([seed, epoch])).random_raw(length)
    order = np.argsort(numbers, kind="stable")
    order.flags.writeable = False
    return order


@dataclass(frozen=True)
class Places:
    """The keys of each batch of one process, without end."""

    length: int
    seed: int
    batch_size: int
    start: int
    rank: int
    world_size: int

    def __iter__(self) -> Iterator[list[Key]]:
        return map(self.keys, itertools.count(self.start, self.batch_size))

    def keys(self, first: int) -> list[Key]:
        """Return the keys of the batch before which all processes together have consumed `first` samples."""
        places = range(first + self.rank, first + self.batch_size, self.world_size)
        return [sample_key(self.seed, self.length, place) for place in places]
