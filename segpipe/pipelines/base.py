"""What all pipelines share: one picture or a stream of them, in order, one result per picture."""

from __future__ import annotations

import os
from collections.abc import Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from functools import partial
from time import perf_counter
from typing import Any, Generic, TypeVar

import numpy as np

from segpipe.data import Source, parse_source, read_source
from segpipe.errors import ImageError, InputError
from segpipe.log import get_logger

from .options import PipelineOptions, replace_options
from .pictures import Failure, Picture
from .stream_plans import StreamPlan, plan_batches
from .streaming import Stream

logger = get_logger(__name__)

Result = TypeVar("Result")


class Pipeline(Generic[Result]):
    """From pictures to results: preprocess → forward → postprocess.

    Calling it with one picture gives one result; with a list or tuple, a list; with a generator, a
    folder or a pattern, an iterator that is a few pictures ahead of what it is asked for. Any number
    of threads may call it at once, and it calls `forward` and `postprocess` from several itself.
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

    def decode(self, predictions: list[Any], images: list[Picture]) -> list[Any]:
        """Return what `postprocess` takes, for a batch at once; meanwhile the network may run for the next batch."""
        return predictions

    def postprocess(self, prediction: Any, image: Picture) -> Result:
        """Make one result of what `decode` gave for one image."""
        raise NotImplementedError

    def plan_stream(self, options: PipelineOptions, count: int | None) -> StreamPlan:
        """Who does what in a stream of `count` pictures, or of nobody knows how many."""
        return plan_batches(options)

    def __call__(self, inputs: Any, **options: Any) -> Any:
        """Run it.

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
        """A result or a `Failure` for each picture, in order, as they are asked for; `on_error` has no part in it.

        Other threads read and compute a bounded number of pictures ahead; closing the iterator ends them. A context of
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

    def predict_pictures(self, pictures: list[Picture]) -> list[Any]:
        """`forward` of pictures of one input size, with its time noted in each."""
        start = perf_counter()
        predictions = self.forward([picture.prepared for picture in pictures])
        share = (perf_counter() - start) / len(pictures)
        for picture in pictures:
            picture.timings["network"] = share
        return predictions

    def _run(self, picture: Picture | Failure) -> Result | Failure:
        """One picture alone, by the calling thread."""
        if isinstance(picture, Failure):
            return picture
        [found] = self.decode(self.predict_pictures([picture]), [picture])
        return self.postprocess(found, picture)

    def _begin_reading(
        self, readers: ThreadPoolExecutor, source: Any, index: int, options: PipelineOptions
    ) -> Future[Picture | Failure]:
        """Files and URLs are read by another thread; arrays and open files, which their owner may reuse, at once."""
        if isinstance(source, str | os.PathLike | bytes):
            return readers.submit(self._read, source, index, options)
        done: Future[Picture | Failure] = Future()
        try:
            done.set_result(self._read(source, index, options))
        except Exception as error:  # raised in its place, after the results before it
            done.set_exception(error)
        return done

    def _read(self, inputs: Any, index: int, options: PipelineOptions) -> Picture | Failure:
        source = parse_source(inputs)
        name, start = source.name(index), perf_counter()
        try:
            pixels = read_source(source, **options.reading())
        except (ImageError, InputError) as error:
            return Failure(name, error)
        if not isinstance(source.value, str | os.PathLike | bytes):
            pixels = pixels.copy()  # a caller may write into the array again
        middle = perf_counter()
        prepared = self.preprocess(pixels)
        timings = {"read": middle - start, "resize": perf_counter() - middle}
        return Picture(pixels, name, prepared, timings, options.keep_image)


def _is_lazy(source: Source) -> bool:
    """Folders, patterns and iterators give iterators; what has a length in memory gives a list."""
    return isinstance(source.value, str) or not hasattr(source.value, "__len__")


def _without_failures(
    outcomes: Generator[Result | Failure, None, None], options: PipelineOptions
) -> Generator[Result, None, None]:
    """Holds no result that it has given away: of a large picture it may be half a gigabyte."""
    with closing(outcomes):
        kept: Iterator[Any] = filter(_warn_of_failure, outcomes) if options.on_error == "skip" else outcomes
        yield from map(_raise_failure, kept)


def _warn_of_failure(outcome: Any) -> bool:
    """Whether it is a result."""
    if isinstance(outcome, Failure):
        reason = str(outcome.error)
        logger.warning("Skipped %s", reason if outcome.source in reason else f"{outcome.source}: {reason}")
        return False
    return True


def _raise_failure(outcome: Result | Failure) -> Result:
    if isinstance(outcome, Failure):
        raise outcome.error
    return outcome
