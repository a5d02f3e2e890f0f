"""Two sets of tensors beside one another: which names differ, and by how much the values do."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Difference:
    """How far two tensors of one shape are apart.

    Attributes:
        name: what they are.
        absolute: the largest |a - b|; infinite where just one of two values is not finite.
        relative: the same over the largest |a|; 0 where the tensors are equal.
    """

    name: str
    absolute: float
    relative: float


@dataclass(frozen=True)
class WeightsComparison:
    """What differs between two networks' tensors.

    Attributes:
        differing: tensors whose values differ, the furthest apart first.
        num_equal: how many are equal, bit for bit.
        only_first: names that only the first has.
        only_second: names that only the second has.
        misshapen: (name, shape in the first, shape in the second).
    """

    differing: tuple[Difference, ...]
    num_equal: int
    only_first: tuple[str, ...]
    only_second: tuple[str, ...]
    misshapen: tuple[tuple[str, tuple[int, ...], tuple[int, ...]], ...]

    @property
    def largest(self) -> float:
        """The largest difference of a value; infinite where names or shapes differ."""
        if self.only_first or self.only_second or self.misshapen:
            return math.inf
        return max((difference.absolute for difference in self.differing), default=0.0)


def compare_tensors(first: Mapping[str, Tensor], second: Mapping[str, Tensor]) -> WeightsComparison:
    """Tensors by name; BatchNorm's counters of batches, which some implementations drop, are left out."""
    names = [name for name in first if name in second and not _is_counter(name)]
    fitting = [name for name in names if first[name].shape == second[name].shape]
    differences = [measure_difference(name, first[name], second[name]) for name in fitting]
    differing = [difference for difference in differences if difference.absolute > 0.0]
    return WeightsComparison(
        differing=tuple(sorted(differing, key=lambda difference: -difference.absolute)),
        num_equal=len(differences) - len(differing),
        only_first=tuple(name for name in first if name not in second and not _is_counter(name)),
        only_second=tuple(name for name in second if name not in first and not _is_counter(name)),
        misshapen=tuple(
            (name, tuple(first[name].shape), tuple(second[name].shape)) for name in names if name not in fitting
        ),
    )


def measure_difference(name: str, first: Tensor, second: Tensor) -> Difference:
    """The largest difference of two tensors of one shape, computed in double precision."""
    a, b = first.detach().double(), second.detach().double()
    if not a.numel() or torch.equal(a, b):
        return Difference(name, 0.0, 0.0)
    distances = (a - b).abs()
    same = (a == b) | (a.isnan() & b.isnan())
    distances = torch.where(same, 0.0, distances.nan_to_num(nan=math.inf))
    absolute, scale = float(distances.max()), float(a.abs().nan_to_num(nan=0.0, posinf=0.0).max())
    if absolute == 0.0:
        return Difference(name, 0.0, 0.0)
    return Difference(name, absolute, absolute / scale if scale else math.inf)


def _is_counter(name: str) -> bool:
    return name.endswith("num_batches_tracked")
