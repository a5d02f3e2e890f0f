"""Time several calls in turn, so that a noisy machine is unfair to all of them alike."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Mapping

LEAST_ROUNDS = 3
SHORT = 1000.0
"""Milliseconds of a call in which it matters what ran before."""
PAUSE = 0.02
"""Seconds before each call, in which the threads of the contestant before it stop waiting for more work."""


def time_in_turn(
    calls: Mapping[str, Callable[[], object]], *, rounds: int, seconds: float
) -> dict[str, tuple[float, ...]]:
    """Milliseconds of each call by name: A B C, A B C, …, after one round that does not count.

    Where none takes a second, each call follows one of the same that does not count: A A B B C C, …. Else it would
    measure what the contestant before it left behind: after transformers, which takes and gives back half a gigabyte in
    each call, the system gives even small memory anew, page by page.

    Args:
        calls: what to time.
        rounds: how often, at most.
        seconds: no new round begins after so long, once there are three.
    """
    uncounted = [measure_milliseconds(call) for call in calls.values()]
    are_short = max(uncounted) < SHORT
    values: dict[str, list[float]] = {name: [] for name in calls}
    begin = time.perf_counter()
    for number in range(rounds):
        if number >= LEAST_ROUNDS and time.perf_counter() - begin > seconds:
            break
        for name, call in calls.items():
            time.sleep(PAUSE if len(calls) > 1 else 0)
            if are_short:
                call()
            values[name].append(measure_milliseconds(call))
    return {name: tuple(times) for name, times in values.items()}


def measure_milliseconds(call: Callable[[], object]) -> float:
    """What one call takes."""
    gc.collect()  # or else one contestant pays for what another left behind
    start = time.perf_counter()
    result = call()
    duration = time.perf_counter() - start
    del result  # freeing it is not part of the call
    return duration * 1000
