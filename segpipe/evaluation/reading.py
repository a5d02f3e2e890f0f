"""Samples of a data set in order, read by other threads while the network works."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import Protocol, TypeVar

Item = TypeVar("Item", covariant=True)
One = TypeVar("One")


class Readable(Protocol[Item]):
    """Anything with places."""

    def __getitem__(self, index: int, /) -> Item: ...


def read_ahead(dataset: Readable[Item], indices: Sequence[int], readers: int) -> Iterator[Item]:
    """`dataset[index]` for each index, in order.

    Args:
        dataset: what is read from.
        indices: the places.
        readers: threads, each of which is one sample ahead; 0: read when asked.
    """
    if readers == 0:
        yield from (dataset[index] for index in indices)
        return
    waiting: deque[Future[Item]] = deque()
    executor = ThreadPoolExecutor(readers, thread_name_prefix="segpipe-read")
    try:
        for index in indices:
            waiting.append(executor.submit(dataset.__getitem__, index))
            if len(waiting) > readers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        executor.shutdown(wait=False, cancel_futures=True)


def in_batches(samples: Iterable[One], size: int) -> Iterator[list[One]]:
    """Lists of `size` samples; the last one may be shorter."""
    rest = iter(samples)
    while batch := list(islice(rest, size)):
        yield batch
