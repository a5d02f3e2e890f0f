"""A stream of pictures: read, computed and finished at the same time, and given back in order."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from math import prod
from threading import Semaphore
from typing import Any, Generic, Protocol, TypeVar

from .pictures import Failure, Picture
from .stream_plans import StreamPlan, apply_thread_count, leave_threads_to_workers

MAX_PIXELS = 200_000_000
"""Of decoded pictures that are on their way: no more are read until results have been taken."""
LARGE_INPUT = 2**21
"""Pixels of a network's input, 1024 × 2048, from which on they are computed one at a time, for the sake of memory."""
PATIENCE = 0.1
"""Seconds for which a batch that is not full waits for the next picture."""

Result = TypeVar("Result")
ResultOut = TypeVar("ResultOut", covariant=True)


class Steps(Protocol[ResultOut]):
    """What a stream asks of a pipeline."""

    def input_size(self, prepared: Any) -> tuple[int, int]: ...

    def predict_pictures(self, pictures: list[Picture]) -> list[Any]: ...

    def decode(self, predictions: list[Any], images: list[Picture]) -> list[Any]: ...

    def postprocess(self, prediction: Any, image: Picture) -> ResultOut: ...


@dataclass(eq=False)
class Place(Generic[Result]):
    """A picture's place in the order.

    Attributes:
        outcome: what stands there in the end.
        picture: between reading and the outcome.
        pixels: how many it has; 0 until it is read.
    """

    outcome: Future[Result | Failure] = field(default_factory=Future)
    picture: Picture | None = None
    pixels: int = 0


class Stream(Generic[Result]):
    """Outcomes of pictures, in their order.

    The thread that asks takes the sources one by one, groups what has been read, and computes large inputs, with all of
    its cores. The rest is read and computed by threads that end with the stream.

    Args:
        steps: the pipeline.
        sources: taken as results are asked for.
        begin_reading: a source and its place among its fellows → the picture, soon. Gets the readers.
        plan: who does what.
    """

    def __init__(
        self,
        steps: Steps[Result],
        sources: Iterable[Any],
        begin_reading: Callable[[ThreadPoolExecutor, Any, int], Future[Picture | Failure]],
        plan: StreamPlan,
    ) -> None:
        self._steps, self._plan, self._begin_reading = steps, plan, begin_reading
        self._sources = enumerate(sources)
        self._is_ended = False
        self._broken: Exception | None = None
        self._places: deque[Place[Result]] = deque()  # all that are on their way
        self._unread: deque[tuple[Place[Result], Future[Picture | Failure]]] = deque()
        self._buckets: dict[tuple[int, int], list[Place[Result]]] = {}  # read, and waiting for their like
        self._pixels, self._expected = 0, MAX_PIXELS // plan.readers
        self._network = Semaphore(plan.networks)
        self._readers = ThreadPoolExecutor(plan.readers, "segpipe-read", initializer=leave_threads_to_workers)
        self._workers = ThreadPoolExecutor(plan.workers, "segpipe-work")

    def outcomes(self) -> Generator[Result | Failure, None, None]:
        """In order; what was begun before the sources broke off is not lost. Closing it ends the threads."""
        try:
            while self._has_next():
                yield self._take()
        finally:
            for threads in (self._readers, self._workers):
                threads.shutdown(wait=False, cancel_futures=True)
        if self._broken is not None:
            raise self._broken

    def _take(self) -> Result | Failure:
        place = self._places.popleft()
        self._pixels -= place.pixels
        return place.outcome.result()

    def _has_next(self) -> bool:
        """Whether there is a first place; its outcome is there then."""
        while True:
            self._read_on()
            if not self._places:
                return False
            first = self._places[0]
            if first.outcome.done():
                return True
            picture = first.picture
            if picture is not None and _is_large(picture, self._steps):
                self._compute([first])
            elif self._unread:
                awaited: list[Future[Any]] = [first.outcome, self._unread[0][1]]
                done, _ = wait(awaited, PATIENCE, return_when=FIRST_COMPLETED)
                if not done:
                    self._send_bucket_of(first)  # whose batch would wait for a slow download
            elif not self._send_bucket_of(first):
                wait([first.outcome])

    def _read_on(self) -> None:
        """Begin to read what there is room for, and pass on what has been read; waits for nothing but the sources.

        Once the first outcome is there, for one source at most: a camera's pictures come when they come.
        """
        while self._has_room():
            try:
                index, source = next(self._sources)
            except StopIteration:
                self._is_ended = True
            except Exception as error:  # the user's own
                self._is_ended, self._broken = True, error
            else:
                place: Place[Result] = Place()
                self._places.append(place)
                self._unread.append((place, self._begin_reading(self._readers, source, index)))
            self._collect()
            if self._places and self._places[0].outcome.done():
                break
        self._collect()
        if self._is_ended and not self._unread:
            while self._buckets:
                self._send(self._buckets.pop(next(iter(self._buckets))))

    def _has_room(self) -> bool:
        """What is unread counts like the last one that was read, and is never much, in case it is larger."""
        if self._is_ended or len(self._places) >= self._plan.window or len(self._unread) >= 2 * self._plan.readers:
            return False
        return not self._places or self._pixels + (len(self._unread) + 1) * self._expected <= MAX_PIXELS

    def _collect(self) -> None:
        """Take what has been read, in order."""
        while self._unread and self._unread[0][1].done():
            place, reading = self._unread.popleft()
            error = reading.exception()
            if error is not None:
                place.outcome.set_exception(error)
            elif isinstance(found := reading.result(), Failure):
                place.outcome.set_result(found)
            else:
                self._group(place, found)

    def _group(self, place: Place[Result], picture: Picture) -> None:
        place.picture, place.pixels = picture, prod(picture.pixels.shape[:2])
        self._pixels += place.pixels
        self._expected = place.pixels
        if _is_large(picture, self._steps):
            return  # until it is the first
        bucket = self._buckets.setdefault(self._steps.input_size(picture.prepared), [])
        bucket.append(place)
        if len(bucket) == self._plan.batch_size:
            self._send_bucket_of(place)

    def _send_bucket_of(self, place: Place[Result]) -> bool:
        """Have the pictures computed that wait together with this one; False: it does not wait."""
        for size, bucket in self._buckets.items():
            if place in bucket:
                self._send(self._buckets.pop(size))
                return True
        return False

    def _send(self, places: list[Place[Result]]) -> None:
        self._workers.submit(self._compute, places, self._plan.threads)

    def _compute(self, places: list[Place[Result]], threads: int | None = None) -> None:
        """Fill places whose pictures have one input size. Errors stand in the places, to be raised in their order."""
        pictures = [place.picture for place in places if place.picture is not None]
        try:
            apply_thread_count(threads)
            with self._network:
                predictions = self._steps.predict_pictures(pictures)
            pairs = list(zip(pictures, self._steps.decode(predictions, pictures), strict=True))
        except BaseException as error:
            for place in places:
                place.outcome.set_exception(error)
            return
        for place, (picture, prediction) in zip(places, pairs, strict=True):
            place.picture = None
            try:
                place.outcome.set_result(self._steps.postprocess(prediction, picture))
            except BaseException as error:
                place.outcome.set_exception(error)


def _is_large(picture: Picture, steps: Steps[Any]) -> bool:
    return prod(steps.input_size(picture.prepared)) >= LARGE_INPUT
