"""A moving average of a model's weights, which often scores better than the weights themselves."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from segpipe.errors import InputError

WARMUP_UPDATES = 2000
"""Over how many updates the decay comes up, as in EasyCV: at first the average forgets quickly."""


class WeightAverage:
    """An exponential moving average of parameters and saved buffers.

    Update n keeps decay · (1 - exp(-n / 2000)) of the average. Buffers of integers are copied. The average lies on the
    devices of the model's tensors.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay = decay
        self.updates = 0
        self._average = {name: tensor.detach().clone() for name, tensor in _averaged(model)}

    @torch.no_grad()
    def update(self, model: nn.Module) -> None:
        """Take the model's weights into the average; after each step of the optimizer."""
        self.updates += 1
        kept = decay_at(self.decay, self.updates)
        for name, tensor in _averaged(model):
            if tensor.is_floating_point():
                self._average[name].lerp_(tensor, 1 - kept)
            else:
                self._average[name].copy_(tensor)

    @contextmanager
    def swapped_into(self, model: nn.Module) -> Iterator[None]:
        """Give the model the averaged weights, and afterwards its own, bit for bit, without a third copy."""
        self._swap(model)
        try:
            yield
        finally:
            self._swap(model)

    def state_dict(self) -> dict[str, Any]:
        """Return the average and the number of updates; the tensors are not copied."""
        return {"updates": self.updates, "average": dict(self._average)}

    @torch.no_grad()
    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a state that `state_dict` gave.

        Raises:
            InputError: the state is of another model.
        """
        average: Mapping[str, Tensor] = state["average"]
        differing = sorted(
            name
            for name in average.keys() | self._average.keys()
            if name not in average or name not in self._average or average[name].shape != self._average[name].shape
        )
        if differing:
            raise InputError(
                f"The state of the moving average does not fit the model: {differing[0]!r} and {len(differing) - 1} "
                "others are missing on one side or differ in shape. Resume with the configuration that wrote it."
            )
        self.updates = state["updates"]
        for name, tensor in average.items():
            self._average[name].copy_(tensor)

    @torch.no_grad()
    def _swap(self, model: nn.Module) -> None:
        for name, tensor in _averaged(model):
            own = tensor.clone()
            tensor.copy_(self._average[name])
            self._average[name].copy_(own)


def decay_at(decay: float, update: int) -> float:
    """Return the share of the average that the n-th update keeps."""
    return decay * (1 - math.exp(-update / WARMUP_UPDATES))


def _averaged(model: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Yield parameters and saved buffers, tied ones once."""
    saved = model.state_dict(keep_vars=True)
    seen: set[int] = set()
    for name, tensor in saved.items():
        if isinstance(tensor, Tensor) and id(tensor) not in seen:
            seen.add(id(tensor))
            yield name, tensor.detach()
