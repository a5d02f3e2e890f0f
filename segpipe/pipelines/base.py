"""What all pipelines share: read ahead, batch, run, in order, one result per picture."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import islice
from time import perf_counter
from typing import Any, Generic, Literal, TypeVar

import numpy as np

from segpipe.data.images import ChannelOrder
from segpipe.data.sources import describe_source, is_many, iterate_sources, read_source
from segpipe.errors import ImageError, InputError
from segpipe.log import get_logger

logger = get_logger(__name__)

Result = TypeVar("Result")


@dataclass(frozen=True, kw_only=True)
class PipelineOptions:
    """How pictures are read and grouped.

    Attributes:
        batch_size: pictures of one input size that go through the network together.
        on_error: raise stops at a picture that cannot be read; skip logs it and leaves it out of the results.
        channel_order: of arrays and tensors; OpenCV's are bgr.
        max_pixels: pictures with more are refused before they are decoded; None: 200 million.
        max_bytes: larger files and answers are refused; None: 512 MiB, and 64 MiB from URLs.
        timeout: seconds to connect, and between two pieces of an answer.
        deadline: seconds for a whole download.
        readers: threads that read pictures ahead of the network.
    """

    batch_size: int = 1
    on_error: Literal["raise", "skip"] = "raise"
    channel_order: ChannelOrder = "rgb"
    max_pixels: int | None = None
    max_bytes: int | None = None
    timeout: tuple[float, float] = (10.0, 30.0)
    deadline: float = 60.0
    readers: int = 2

    def __post_init__(self) -> None:
        if self.batch_size < 1 or self.readers < 1:
            raise InputError(f"batch_size {self.batch_size} and readers {self.readers} must be at least 1.")
        if self.on_error not in ("raise", "skip"):
            raise InputError(f"on_error {self.on_error!r} is neither 'raise' nor 'skip'.")


@dataclass(frozen=True)
class Picture:
    """A picture on its way through a pipeline.

    Attributes:
        pixels: (H, W, 3) uint8 RGB as decoded.
        source: what it is called in messages and results.
        prepared: what the pipeline's `preprocess` made of it.
        timings: seconds by step so far.
    """

    pixels: np.ndarray
    source: str
    prepared: Any
    timings: dict[str, float]


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
            [result] = self._run([self._read(inputs, 0, replace(settings, on_error="raise"))])
            return result
        results = self._stream(iterate_sources(inputs), settings)
        return results if _is_lazy(inputs) else list(results)

    def _stream(self, sources: Iterable[Any], options: PipelineOptions) -> Iterator[Result]:
        pictures = self._read_ahead(sources, options)
        try:
            while batch := list(islice(pictures, options.batch_size)):
                yield from self._run(batch)
        finally:
            pictures.close()

    def _read_ahead(self, sources: Iterable[Any], options: PipelineOptions) -> Any:
        """Pictures in order, while a few more are being read by other threads."""
        waiting: deque[tuple[str, Future[Picture]]] = deque()
        ahead = max(options.batch_size, options.readers) + options.readers
        executor = ThreadPoolExecutor(options.readers, thread_name_prefix="segpipe-read")
        try:
            for index, source in enumerate(sources):
                future = executor.submit(self._read, source, index, options)
                waiting.append((describe_source(source, index), future))
                if len(waiting) > ahead:
                    yield from _finished(waiting, options)
            while waiting:
                yield from _finished(waiting, options)
        finally:
            executor.shutdown(wait=False, cancel_futures=True)

    def _read(self, source: Any, index: int, options: PipelineOptions) -> Picture:
        start = perf_counter()
        pixels = read_source(
            source,
            channel_order=options.channel_order,
            max_pixels=options.max_pixels,
            max_bytes=options.max_bytes,
            timeout=options.timeout,
            deadline=options.deadline,
        )
        middle = perf_counter()
        prepared = self.preprocess(pixels)
        timings = {"read": middle - start, "preprocess": perf_counter() - middle}
        return Picture(pixels, describe_source(source, index), prepared, timings)

    def _run(self, pictures: list[Picture]) -> list[Result]:
        """Results in the order of the pictures, which run together where their input sizes agree."""
        groups: dict[tuple[int, int], list[int]] = {}
        for index, picture in enumerate(pictures):
            groups.setdefault(self.input_size(picture.prepared), []).append(index)
        results: dict[int, Result] = {}
        for members in groups.values():
            start = perf_counter()
            predictions = self.forward([pictures[index].prepared for index in members])
            share = (perf_counter() - start) / len(members)
            for index, prediction in zip(members, predictions, strict=True):
                pictures[index].timings["network"] = share
                results[index] = self.postprocess(prediction, pictures[index])
        return [results[index] for index in range(len(pictures))]


def replace_options(options: PipelineOptions, changes: dict[str, Any]) -> PipelineOptions:
    """Options with some changed; an unknown one is refused by name."""
    unknown = sorted(set(changes) - set(options.__dataclass_fields__))
    if unknown:
        raise InputError(
            f"There is no option {unknown[0]!r}. The options are {', '.join(options.__dataclass_fields__)}."
        )
    return replace(options, **changes)


def _is_lazy(inputs: Any) -> bool:
    """Folders, patterns and iterators give iterators; what has a length in memory gives a list."""
    return isinstance(inputs, str) or not hasattr(inputs, "__len__")


def _finished(waiting: deque[tuple[str, Future[Picture]]], options: PipelineOptions) -> Iterator[Picture]:
    """The picture that was begun first, or none if it could not be read and errors are skipped."""
    name, future = waiting.popleft()
    try:
        yield future.result()
    except (ImageError, InputError) as error:
        if options.on_error == "raise":
            raise
        logger.warning("Skipped %s: %s", name, error)
