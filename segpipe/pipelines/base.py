"""What all pipelines share: read ahead, batch, run, in order, one result per picture."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from time import perf_counter
from typing import Any, Generic, TypeVar

import numpy as np

from segpipe.data.sources import describe_source, is_many, iterate_sources, read_source
from segpipe.errors import ImageError, InputError, SegpipeError
from segpipe.log import get_logger

from .options import PipelineOptions, replace_options

logger = get_logger(__name__)

Result = TypeVar("Result")


@dataclass(frozen=True, eq=False)
class Picture:
    """A picture on its way through a pipeline.

    Attributes:
        pixels: (H, W, 3) uint8 RGB as decoded, in memory of its own.
        source: what it is called in messages and results.
        prepared: what the pipeline's `preprocess` made of it.
        timings: seconds by step so far; a GPU's work is counted where its result is waited for.
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


class Pipeline(Generic[Result]):
    """From pictures to results: preprocess → forward → postprocess.

    Calling it with one picture gives one result; with a list or tuple, a list; with a generator, a
    folder or a pattern, an iterator that reads, runs and yields as it is asked. Any number of
    threads may call it at once.
    """

    def __init__(self, options: PipelineOptions) -> None:
        self.options = options

    def preprocess(self, pixels: np.ndarray) -> Any:
        """(H, W, 3) uint8 RGB → what `forward` takes."""
        raise NotImplementedError

    def input_size(self, prepared: Any) -> tuple[int, int]:
        """(h, w) of the network's input: pictures that share it share a batch."""
        raise NotImplementedError

    def forward(self, prepared: list[Any]) -> list[Any]:
        """A batch of prepared pictures of one input size → one prediction each."""
        raise NotImplementedError

    def postprocess(self, prediction: Any, picture: Picture) -> Result:
        """One prediction → one result."""
        raise NotImplementedError

    def __call__(self, inputs: Any, **options: Any) -> Any:
        """Run it.

        Args:
            inputs: a path, URL, data URI, base64 string, bytes, PIL image, (H, W, 3) or (H, W) uint8 array or tensor;
                a list, tuple, batch (N, H, W, 3), generator, folder or pattern of them.
            options: for this call instead of the pipeline's own, see `PipelineOptions`.
        """
        settings = replace_options(self.options, options)
        if not is_many(inputs):
            return _raise_failure(self._run([self._read(inputs, 0, settings)])[0])
        results = _without_failures(self.outcomes(inputs, **options), settings)
        return results if _is_lazy(inputs) else list(results)

    def outcomes(self, inputs: Any, **options: Any) -> Iterator[Result | Failure]:
        """A result or a `Failure` for each picture, in order, as they are asked for; `on_error` has no part in it."""
        settings = replace_options(self.options, options)
        pictures = self._read_ahead(iterate_sources(inputs), settings)
        with closing(pictures):
            for batch in _batches(pictures, settings.batch_size):
                yield from self._run(batch)

    def _read_ahead(self, sources: Iterable[Any], options: PipelineOptions) -> Generator[Picture | Failure, None, None]:
        """Pictures in order, while a few more are being read by other threads."""
        waiting: deque[Future[Picture | Failure]] = deque()
        ahead = max(options.batch_size, options.readers) + options.readers
        executor = ThreadPoolExecutor(options.readers, thread_name_prefix="segpipe-read")
        remaining, broken = enumerate(sources), None
        try:
            while True:
                try:
                    index, source = next(remaining)
                except StopIteration:
                    break
                except Exception as error:  # the user's own; what was read before is not lost
                    broken = error
                    break
                waiting.append(self._begin_reading(executor, source, index, options))
                if len(waiting) > ahead:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            executor.shutdown(wait=False, cancel_futures=True)
        if broken is not None:
            raise broken

    def _begin_reading(
        self, executor: ThreadPoolExecutor, source: Any, index: int, options: PipelineOptions
    ) -> Future[Picture | Failure]:
        """Files and URLs are read by another thread; arrays and open files, which their owner may reuse, at once."""
        if isinstance(source, str | os.PathLike | bytes):
            return executor.submit(self._read, source, index, options)
        done: Future[Picture | Failure] = Future()
        done.set_result(self._read(source, index, options))
        return done

    def _read(self, source: Any, index: int, options: PipelineOptions) -> Picture | Failure:
        name, start = describe_source(source, index), perf_counter()
        try:
            pixels = read_source(
                source,
                channel_order=options.channel_order,
                max_pixels=options.max_pixels,
                max_bytes=options.max_bytes,
                timeout=options.timeout,
                deadline=options.deadline,
            )
        except (ImageError, InputError) as error:
            return Failure(name, error)
        if not isinstance(source, str | os.PathLike | bytes):
            pixels = pixels.copy()  # a caller may write into the array again
        middle = perf_counter()
        prepared = self.preprocess(pixels)
        timings = {"read": middle - start, "resize": perf_counter() - middle}
        return Picture(pixels, name, prepared, timings, options.keep_image)

    def _run(self, batch: list[Picture | Failure]) -> list[Result | Failure]:
        """Outcomes in order; pictures run together where their input sizes agree."""
        outcomes: list[Any] = list(batch)
        groups: dict[tuple[int, int], list[int]] = {}
        for index, picture in enumerate(batch):
            if isinstance(picture, Picture):
                groups.setdefault(self.input_size(picture.prepared), []).append(index)
        for members in groups.values():
            start = perf_counter()
            predictions = self.forward([outcomes[index].prepared for index in members])
            share = (perf_counter() - start) / len(members)
            for index, prediction in zip(members, predictions, strict=True):
                outcomes[index].timings["network"] = share
                outcomes[index] = self.postprocess(prediction, outcomes[index])
        return outcomes


def _is_lazy(inputs: Any) -> bool:
    """Folders, patterns and iterators give iterators; what has a length in memory gives a list."""
    return isinstance(inputs, str) or not hasattr(inputs, "__len__")


def _batches(pictures: Iterable[Picture | Failure], size: int) -> Iterator[list[Picture | Failure]]:
    """Lists of `size`; the last may be shorter, also when the pictures break off with an error."""
    batch: list[Picture | Failure] = []
    try:
        for picture in pictures:
            batch.append(picture)
            if len(batch) == size:
                yield batch
                batch = []
    except Exception:
        if batch:
            yield batch
        raise
    if batch:
        yield batch


def _without_failures(outcomes: Iterator[Result | Failure], options: PipelineOptions) -> Iterator[Result]:
    for outcome in outcomes:
        if isinstance(outcome, Failure) and options.on_error == "skip":
            logger.warning("Skipped %s: %s", outcome.source, outcome.error)
        else:
            yield _raise_failure(outcome)


def _raise_failure(outcome: Result | Failure) -> Result:
    if isinstance(outcome, Failure):
        raise outcome.error
    return outcome
