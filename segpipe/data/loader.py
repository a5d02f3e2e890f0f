"""Load endless batches for training whose every sample follows from the seed and its place in the run alone.

The i-th sample of a run, counted over all epochs and all processes, is a pure function of (seed, i): epoch i // n of n
samples has its own order, and chance in transforms comes from (seed, epoch, index). It does not matter how many loader
processes or training processes there are, nor whether the run was interrupted: what resuming needs is the number of
samples consumed, and no loader state.
"""

from __future__ import annotations

import atexit
import functools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader

from segpipe import advice
from segpipe.configuration import LabelSet
from segpipe.errors import InputError, SegpipeError
from segpipe.log import get_logger

from .loader_workers import (
    Reporter,
    WorkerFailure,
    dead_workers_explained,
    prepare_worker,
    signals_held,
    stop_workers,
    usable_workers,
)
from .sample import Batch, LabelledSamples, Sample, collate
from .sample_order import Key, Places, sample_rng
from .transforms.building import Transform

logger = get_logger(__name__)
DRAWS = 5
"""At most this many draws of a sample whose label holds only ignored pixels."""
LOOK_AROUND = 5.0
"""Seconds without a batch after which the loader checks that its workers are alive."""
PATIENCE = 60.0
"""Seconds without a batch after which the loader says what it waits for, and again each time."""
HANGING = 600.0
"""Seconds without a batch after which the loader gives up: as long as other processes would wait for this one."""


def build_loader(
    dataset: LabelledSamples,
    transform: Transform,
    *,
    batch_size: int,
    workers: int = 0,
    seed: int = 0,
    start: int = 0,
    rank: int = 0,
    world_size: int = 1,
) -> Loader:
    """Build endless batches for one of the training processes.

    Nothing is dropped: the rest of an epoch and the beginning of the next share a batch. Process r takes the places r,
    r + world_size, … of each batch over all processes, so a run may go on with another number of processes.

    A sample whose label holds only ignored pixels after the transforms is drawn again, up to five times in all, from
    generators derived from the same (seed, epoch, index), and then taken as it is. (EasyCV draws again as well.)

    Args:
        dataset: with workers on systems without fork it must pickle, and the transform too.
        transform: (Sample, generator) → Sample; brings all to one size.
        batch_size: images per step over all processes; a multiple of world_size.
        workers: loader processes, at most one per processor; 0: this process reads. The batches are the same.
        seed: decides the order and all chance in the transforms.
        start: samples that all processes together have consumed already; any number.
        rank: which of the training processes this is.
        world_size: how many there are.

    Raises:
        InputError: numbers that do not fit together, or an empty data set.
    """
    places = Places(len(dataset), seed, batch_size, start, rank, world_size)
    _check(places, workers)
    reader = _Reader(dataset, transform, seed)
    batches: DataLoader[Batch | WorkerFailure] = DataLoader(
        Reporter(reader.__getitem__) if workers else reader,  # type: ignore[arg-type]  # it needs no more than __getitem__
        sampler=places,
        batch_size=None,  # a key of the sampler is a whole batch
        collate_fn=_as_it_is,
        num_workers=usable_workers(workers),
        worker_init_fn=functools.partial(prepare_worker, form=advice.form()),
        timeout=LOOK_AROUND if workers else 0,
        generator=torch.Generator().manual_seed(seed),  # else it would draw from torch's global state
    )

    def names(consumed: int) -> list[str]:
        return [_name_of(dataset, key.sample) for key in places.keys(consumed)]

    return Loader(batches, batch_size=batch_size, consumed=start, names=names)


class Loader(Iterator[Batch]):
    """The batches of one training process, without end; worker processes live from the first batch to `close`.

    An error's message names the file; with workers, its cause shows the traceback of a data set's or a transform's own
    error. No batches come after it: to go on, build a loader that starts at `consumed` or behind the failed batch.

    Attributes:
        consumed: samples given out over all processes, with those before `start`; a checkpoint keeps this number.
    """

    def __init__(
        self,
        batches: DataLoader[Batch | WorkerFailure],
        *,
        batch_size: int,
        consumed: int,
        names: Callable[[int], list[str]],
    ) -> None:
        self.consumed = consumed
        self._names = names
        self._batch_size = batch_size
        self._batches: DataLoader[Batch | WorkerFailure] | None = batches
        self._running: list[Iterator[Batch | WorkerFailure]] = []
        self._stop = functools.partial(stop_workers, self._running)

    def __next__(self) -> Batch:
        if self._batches is None:
            raise StopIteration
        if not self._running:
            atexit.register(self._stop)
            with signals_held():
                self._running.append(iter(self._batches))
        try:
            with dead_workers_explained():
                batch = self._next()
        except BaseException:  # an interruption may have lost a batch
            self.close()
            raise
        self.consumed += self._batch_size
        return batch

    def close(self) -> None:
        """End the worker processes; no batches come after it. Calling it twice does no harm."""
        self._batches = None
        self._stop()
        atexit.unregister(self._stop)

    def __enter__(self) -> Loader:
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        self.close()
        if isinstance(error, RuntimeError):
            with dead_workers_explained():  # torch may tell of one at any point of the block
                raise error

    def __del__(self) -> None:
        self.close()

    def _next(self) -> Batch:
        waited = 0.0
        while True:
            try:
                batch = next(self._running[0])
                break
            except RuntimeError as error:
                if "timed out" not in str(error):
                    raise
            waited += LOOK_AROUND
            self._tell(waited)
        if isinstance(batch, WorkerFailure):
            batch.reraise()
        return batch

    def _tell(self, waited: float) -> None:
        """Log that a batch does not come, and raise at last."""
        if waited >= HANGING:
            raise SegpipeError(
                f"No batch came for {waited:.0f} seconds; its images are {', '.join(self._names(self.consumed))}. "
                "Reading hangs: check them and the disk or network that they are on, then start the run again."
            )
        if waited % PATIENCE < LOOK_AROUND:
            images = ", ".join(self._names(self.consumed))
            logger.warning("No batch for %.0f seconds; still waiting for %s", waited, images)


@dataclass(frozen=True)
class _Reader:
    """Read the samples of a batch by their keys."""

    dataset: LabelledSamples
    transform: Transform
    seed: int

    def __getitem__(self, keys: Sequence[Key]) -> Batch:
        return collate([self._sample(key) for key in keys])

    def _sample(self, key: Key) -> Sample:
        sample = self._read(key.sample)
        ignore_index = self.dataset.labels.ignore_index
        for draw in range(DRAWS):
            transformed = self._transform(sample, sample_rng(self.seed, key, draw))
            if transformed.label is None or (transformed.label != ignore_index).any():
                break
        _check_classes(transformed, self.dataset.labels)
        return transformed

    def _read(self, index: int) -> Sample:
        try:
            return self.dataset[index]
        except SegpipeError:
            raise  # it names the file
        except Exception as error:  # a data set of a third party may raise anything
            raise SegpipeError(
                f"{_name_of(self.dataset, index)} could not be read: {_shown(error)}. Check that file."
            ) from error

    def _transform(self, sample: Sample, rng: np.random.Generator) -> Sample:
        try:
            return self.transform(sample, rng)
        except Exception as error:  # a transform of a third party may raise anything
            raise SegpipeError(
                f"{sample.name} could not be transformed: {_shown(error)}. Check the image and the transforms."
            ) from error


def _check_classes(sample: Sample, labels: LabelSet) -> None:
    """Refuse values that are not a class; beside the loss, reading them would wait for the GPU."""
    values = sample.label if sample.class_index is None else np.array(sample.class_index)
    if values is None:
        return
    wrong = (values < 0) | (values >= len(labels.names))
    if sample.class_index is None:
        wrong &= values != labels.ignore_index
    if wrong.any():
        raise InputError(
            f"{sample.name}: its label has the value {int(values[wrong].flat[0])}, which is not a class "
            f"(0 … {len(labels.names) - 1}) and not ignore_index {labels.ignore_index}. "
            "Check `labels.raw_ids` and `labels.ignore_index`, and the transforms."
        )


def _as_it_is(batch: Any) -> Any:
    return batch


def _name_of(dataset: LabelledSamples, index: int) -> str:
    pair = getattr(dataset, "pair", None)
    return str(pair(index).image) if callable(pair) else f"Sample {index}"


def _shown(error: Exception) -> str:
    return f"{type(error).__name__}: {error}".rstrip(". ")


def _check(places: Places, workers: int) -> None:
    batch_size, rank, world_size = places.batch_size, places.rank, places.world_size
    if places.length < 1:
        raise InputError("The data set is empty; training needs one sample at least. Check its root and its split.")
    for name, value, least in (
        ("batch_size", batch_size, 1),
        ("workers", workers, 0),
        ("seed", places.seed, 0),
        ("start", places.start, 0),
        ("world_size", world_size, 1),
        ("rank", rank, 0),
    ):
        if value < least:
            raise InputError(f"{name} is {value}; it must be {least} or more. Change it.")
    if rank >= world_size:
        raise InputError(f"rank is {rank} of {world_size} processes; it must be below their number. Change it.")
    if batch_size % world_size:
        raise InputError(
            f"batch_size {batch_size} cannot be shared out equally among {world_size} processes. "
            f"Take {batch_size // world_size * world_size or world_size} or another multiple of {world_size}."
        )
