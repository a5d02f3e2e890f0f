"""The base of all pipelines: one image or a stream of them, in order, one result per image."""

from __future__ import annotations

import os
from collections.abc import Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from functools import partial
from time import perf_counter
from typing import Any, Generic, TypeVar, overload

import numpy as np

from segpipe.data import Source, parse_source, read_source
from segpipe.errors import ImageError, InputError
from segpipe.log import get_logger

from .options import PipelineOptions, replace_options
from .stream import Failure, LoadedImage, Stream
from .stream_plans import StreamPlan, plan_batches

logger = get_logger(__name__)

Result = TypeVar("Result")


class Pipeline(Generic[Result]):
    """From images to results: preprocess → forward → (decode, for a batch at once) → postprocess.

    Normalization and the pad to the network's multiple are the network's own, see `SegpipeNetwork.normalise`.

    Calling it with one image gives one result; with a list or tuple, a list; with a generator, a folder or a pattern,
    an iterator that is a few images ahead of what it is asked for. Any number of threads may call it at once, and it
    calls `forward` and `postprocess` from several itself.
    """

    def __init__(self, options: PipelineOptions) -> None:
        self.options = options

    def preprocess(self, pixels: np.ndarray) -> Any:
        """Turn (H, W, 3) uint8 RGB into what `forward` takes."""
        raise NotImplementedError

    def input_size(self, prepared: Any) -> tuple[int, int]:
        """Return (h, w) of the network's input: images that share it share a batch."""
        raise NotImplementedError

    def forward(self, prepared: list[Any]) -> list[Any]:
        """Return one prediction for each of a batch of prepared images of one input size."""
        raise NotImplementedError

    def decode(self, predictions: list[Any], images: list[LoadedImage]) -> list[Any]:
        """Return what `postprocess` takes, for a batch at once; meanwhile the network may run for the next batch."""
        return predictions

    def postprocess(self, prediction: Any, image: LoadedImage) -> Result:
        """Make the result of one image from what `decode` gave for it."""
        raise NotImplementedError

    def plan_stream(self, options: PipelineOptions, count: int | None) -> StreamPlan:
        """Return how a stream of `count` images is divided among threads. If None, the length is unknown."""
        return plan_batches(options)

    @overload
    def __call__(self, inputs: list[Any] | tuple[Any, ...], **options: Any) -> list[Result]: ...
    @overload
    def __call__(self, inputs: bytes, **options: Any) -> Result: ...
    @overload
    def __call__(self, inputs: Any, **options: Any) -> Any: ...
    def __call__(self, inputs: Any, **options: Any) -> Any:
        """Run the pipeline.

        Args:
            inputs: a path, URL, data URI, base64 string, bytes, PIL image, (H, W, 3) or (H, W) uint8 array or tensor;
                a list, tuple, batch (N, H, W, 3), generator, folder or pattern of them.
            options: for this call instead of the pipeline's own, see `PipelineOptions`.
        """
        settings = replace_options(self.options, options)
        source = parse_source(inputs)
        if not source.is_many:
            return _raise_failure(self._run(self._read(source, 0, settings)))
        results = _without_failures(self.outcomes(source, **options), settings)
        return results if _is_lazy(source) else list(results)

    def outcomes(self, inputs: Any, **options: Any) -> Generator[Result | Failure, None, None]:
        """Yield a result or a `Failure` for each image, in order, as they are asked for; `on_error` is not used.

        Other threads read and compute a bounded number of images ahead; closing the iterator ends them. A context of
        the calling thread, such as torch.autocast, does not reach them.
        """
        settings, sources = replace_options(self.options, options), parse_source(inputs)
        count = None if _is_lazy(sources) else len(sources.value)
        if count == 1:
            yield from (self._run(self._read(part, 0, settings)) for part in sources.parts())
            return
        plan = self.plan_stream(settings, count)
        stream = Stream(self, sources.parts(), partial(self._begin_reading, options=settings), plan)
        with closing(stream.outcomes()) as outcomes:
            yield from outcomes

    def run_network(self, images: list[LoadedImage]) -> list[Any]:
        """Call `forward` for images of one input size, and note its time in each."""
        start = perf_counter()
        predictions = self.forward([image.prepared for image in images])
        share = (perf_counter() - start) / len(images)
        for image in images:
            image.timings["network"] = share
        return predictions

    def _run(self, image: LoadedImage | Failure) -> Result | Failure:
        """Run one image by itself, in the calling thread."""
        if isinstance(image, Failure):
            return image
        [found] = self.decode(self.run_network([image]), [image])
        return self.postprocess(found, image)

    def _begin_reading(
        self, readers: ThreadPoolExecutor, source: Any, index: int, options: PipelineOptions
    ) -> Future[LoadedImage | Failure]:
        """Leave files and URLs to another thread; read arrays and open files, which their owner may reuse, at once."""
        if isinstance(source, str | os.PathLike | bytes):
            return readers.submit(self._read, source, index, options)
        done: Future[LoadedImage | Failure] = Future()
        try:
            done.set_result(self._read(source, index, options))
        except Exception as error:  # raised in its place, after the results before it
            done.set_exception(error)
        return done

    def _read(self, inputs: Any, index: int, options: PipelineOptions) -> LoadedImage | Failure:
        reading, start = options.reading(), perf_counter()
        source = parse_source(inputs)
        name = source.name(index)
        try:
            pixels = read_source(source, **reading)
        except (ImageError, InputError) as error:
            return Failure(name, error)
        if not isinstance(source.value, str | os.PathLike | bytes):
            pixels = pixels.copy()  # a caller may write into the array again
        middle = perf_counter()
        prepared = self.preprocess(pixels)
        timings = {"read": middle - start, "resize": perf_counter() - middle}
        return LoadedImage(pixels, name, prepared, timings, options.keep_image)


def _is_lazy(source: Source) -> bool:
    """Return whether results are an iterator, as of folders, patterns and iterators, instead of a list."""
    return isinstance(source.value, str) or not hasattr(source.value, "__len__")


def _without_failures(
    outcomes: Generator[Result | Failure, None, None], options: PipelineOptions
) -> Generator[Result, None, None]:
    """Yield results and keep no reference to one: that of a large image may have half a gigabyte."""
    with closing(outcomes):
        kept: Iterator[Any] = filter(_warn_of_failure, outcomes) if options.on_error == "skip" else outcomes
        yield from map(_raise_failure, kept)


def _warn_of_failure(outcome: Any) -> bool:
    """Return whether an outcome is a result; log a failure."""
    if isinstance(outcome, Failure):
        reason = str(outcome.error)
        logger.warning("Skipped %s", reason if outcome.source in reason else f"{outcome.source}: {reason}")
        return False
    return True


def _raise_failure(outcome: Result | Failure) -> Result:
    if isinstance(outcome, Failure):
        raise outcome.error
    return outcome
