"""What evaluations share: a network in evaluation mode, a bar, and processes none of which is left waiting."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import torch
from torch import nn

from segpipe import distributed
from segpipe.errors import SegpipeError

Item = TypeVar("Item")


class EvaluationStopped(Exception):
    """No error: an evaluation was broken off because its caller wished it, in one process or in many."""


def count_together(count: Callable[[], None], device: torch.device) -> None:
    """Call `count` in each process of the run; an error in one is an error in all, and so is `EvaluationStopped`.

    Args:
        count: counts this process's share; what it has counted is added up afterwards.
        device: where the processes can exchange a number.
    """
    error = None
    try:
        count()
    except Exception as exception:
        error = exception
    is_stopped = isinstance(error, EvaluationStopped)
    flags = torch.tensor([int(error is not None and not is_stopped), int(is_stopped)], device=device)
    failed, stopped = distributed.all_sum(flags).tolist()
    if error is not None and not is_stopped:
        raise error
    if failed:
        raise SegpipeError("Evaluation failed in another process; see its error and mend what it names.")
    if stopped:
        raise EvaluationStopped


def with_bar(samples: Iterable[Item], total: int, progress: bool) -> Iterable[Item]:
    """The samples, with a bar on stderr in the first process where it is wished."""
    if not progress or not distributed.is_main():
        return samples
    from tqdm import tqdm

    bar: Iterable[Item] = tqdm(samples, total=total, desc="evaluate", unit="picture")
    return bar


@contextmanager
def in_evaluation_mode(network: nn.Module) -> Iterator[None]:
    """For the time of the block; then each module is in its own mode again, frozen ones too."""
    modes = [(module, module.training) for module in network.modules()]
    network.eval()
    try:
        yield
    finally:
        for module, is_training in modes:
            module.training = is_training
