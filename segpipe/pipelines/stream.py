"""A stream of images: read, computed and finished at the same time by several threads, and given back in order."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from math import prod
from threading import Semaphore
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import numpy as np

from segpipe.errors import SegpipeError

from .stream_plans import StreamPlan, apply_thread_count, leave_threads_to_workers

if TYPE_CHECKING:
    from .base import Pipeline

MAX_PIXELS = 200_000_000
"""Decoded images on their way have at most this many pixels; no more are read until results have been taken."""
LARGE_INPUT = 2**21
"""Pixels of a network's input, 1024 × 2048, from which on they are computed one at a time, for the sake of memory."""
PATIENCE = 0.1
"""Seconds for which a batch that is not full waits for the next image."""
Result = TypeVar("Result")


@dataclass(frozen=True, eq=False)
class LoadedImage:
    """An image on its way through a pipeline.

    Attributes:
        pixels: (H, W, 3) uint8 RGB as decoded, in memory of its own.
        source: its name in messages and results.
        prepared: the output of the pipeline's `preprocess`.
        timings: seconds by step so far, as the clock ran for the thread that did the step. In a stream several images
            are worked on at once, each with a part of the cores, so the steps add up to more than the time that an
            image costs. A batch's time is divided among its images; a GPU's work is counted where its result is waited
            for.
        is_kept: whether the result holds the pixels.
    """

    pixels: np.ndarray
    source: str
    prepared: Any
    timings: dict[str, float]
    is_kept: bool


@dataclass(frozen=True)
class Failure:
    """An image that could not be read, in the place of its result.

    Attributes:
        source: its name.
        error: an ImageError or InputError that names it.
    """

    source: str
    error: SegpipeError


@dataclass(eq=False)
class Place(Generic[Result]):
    """An image's place in the order.

    Attributes:
        outcome: the result or failure in the end.
        image: between reading and the outcome.
        pixels: of the image; 0 until it is read.
    """

    outcome: Future[Result | Failure] = field(default_factory=Future)
    image: LoadedImage | None = None
    pixels: int = 0


class Stream(Generic[Result]):
    """The outcomes of images, in their order.

    The thread that asks takes the sources one by one, groups what has been read, and computes large inputs, with all of
    its cores. The rest is read and computed by threads that end with the stream.

    Args:
        steps: the pipeline.
        sources: taken as results are asked for.
        begin_reading: gets the readers, a source and its index, and returns the image to come.
        plan: how the work is divided.
    """

    def __init__(
        self,
        steps: Pipeline[Result],
        sources: Iterable[Any],
        begin_reading: Callable[[ThreadPoolExecutor, Any, int], Future[LoadedImage | Failure]],
        plan: StreamPlan,
    ) -> None:
        self._steps, self._plan, self._begin_reading = steps, plan, begin_reading
        self._sources = enumerate(sources)
        self._is_ended = False
        self._broken: Exception | None = None
        self._places: deque[Place[Result]] = deque()  # all that are on their way
        self._unread: deque[tuple[Place[Result], Future[LoadedImage | Failure]]] = deque()
        self._buckets: dict[tuple[int, int], list[Place[Result]]] = {}  # read, and waiting for their like
        self._pixels, self._expected = 0, MAX_PIXELS // plan.readers
        self._network = Semaphore(plan.networks)
        self._readers = ThreadPoolExecutor(plan.readers, "segpipe-read", initializer=leave_threads_to_workers)
        self._workers = ThreadPoolExecutor(plan.workers, "segpipe-work")

    def outcomes(self) -> Generator[Result | Failure, None, None]:
        """Yield them in order; what was begun before the sources broke off is not lost. Closing it ends the threads."""
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
        """Return whether there is a first place; its outcome is there then."""
        while True:
            self._read_on()
            if not self._places:
                return False
            first = self._places[0]
            if first.outcome.done():
                return True
            image = first.image
            if image is not None and _is_large(image, self._steps):
                self._compute([first])
            elif self._unread:
                awaited: list[Future[Any]] = [first.outcome, self._unread[0][1]]
                done, _ = wait(awaited, PATIENCE, return_when=FIRST_COMPLETED)
                if not done:
                    self._send_bucket_of(first)  # whose batch would wait for a slow download
            elif not self._send_bucket_of(first):
                wait([first.outcome])

    def _read_on(self) -> None:
        """Begin to read what there is room for, and pass on what has been read; only the sources are waited for.

        Once the first outcome is there, for one source at most: a camera's images come when they come.
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
        """Return whether another source may be read.

        Each unread image counts like the last one that was read, and there are few, in case they are larger.
        """
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

    def _group(self, place: Place[Result], image: LoadedImage) -> None:
        place.image, place.pixels = image, prod(image.pixels.shape[:2])
        self._pixels += place.pixels
        self._expected = place.pixels
        if _is_large(image, self._steps):
            return  # until it is the first
        bucket = self._buckets.setdefault(self._steps.input_size(image.prepared), [])
        bucket.append(place)
        if len(bucket) == self._plan.batch_size:
            self._send_bucket_of(place)

    def _send_bucket_of(self, place: Place[Result]) -> bool:
        """Send the images that wait together with this one to be computed; return False where it does not wait."""
        for size, bucket in self._buckets.items():
            if place in bucket:
                self._send(self._buckets.pop(size))
                return True
        return False

    def _send(self, places: list[Place[Result]]) -> None:
        self._workers.submit(self._compute, places, self._plan.threads)

    def _compute(self, places: list[Place[Result]], threads: int | None = None) -> None:
        """Fill places whose images have one input size. Errors go into the places, to be raised in their order."""
        images = [place.image for place in places if place.image is not None]
        try:
            apply_thread_count(threads)
            with self._network:
                predictions = self._steps.run_network(images)
            pairs = list(zip(images, self._steps.decode(predictions, images), strict=True))
        except BaseException as error:
            for place in places:
                place.outcome.set_exception(error)
            return
        for place, (image, prediction) in zip(places, pairs, strict=True):
            place.image = None
            try:
                place.outcome.set_result(self._steps.postprocess(prediction, image))
            except BaseException as error:
                place.outcome.set_exception(error)


def _is_large(image: LoadedImage, steps: Pipeline[Any]) -> bool:
    return prod(steps.input_size(image.prepared)) >= LARGE_INPUT
