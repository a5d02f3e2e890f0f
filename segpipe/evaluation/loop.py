"""Pass a data set through a network in each process of a run: samples read ahead, errors and stops shared by all."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

import torch

from segpipe import advice, distributed
from segpipe.checkpoints import load_model, open_folder
from segpipe.configuration import Configuration
from segpipe.data import LabelledSamples, Sample, require_dataset
from segpipe.devices import find_device, parse_device
from segpipe.errors import InputError, ModelFolderError, SegpipeError
from segpipe.hub import ModelFolder
from segpipe.inference import Network, in_evaluation_mode
from segpipe.models import SegmentationModel
from segpipe.names import Tasks
from segpipe.progress_bars import track

T = TypeVar("T")


class EvaluationStopped(Exception):
    """Not an error: an evaluation was stopped because its caller wished it, in one process or in many."""


def network_and_configuration(
    model: Network | ModelFolder | str | Path,
    configuration: Configuration | None,
    device: str | torch.device | None,
    *,
    task: str,
) -> tuple[Any, Configuration | None]:
    """Return a network as it is with the configuration that is given, or a folder's network with the folder's own.

    Raises:
        InputError: a network that is not on the device that is given.
        ModelFolderError: a folder's network is for another task.
    """
    if not isinstance(model, ModelFolder | str | Path):
        if device is not None and parse_device(device).type != model.pixel_mean.device.type:
            raise InputError(
                f"The network is on {model.pixel_mean.device} and device is {str(device)!r}; a network is used where "
                f"it is. Leave device out, or call model.to({str(device)!r}) first."
            )
        return model, configuration
    folder = open_folder(model)
    network = load_model(folder, device=find_device(device))
    if isinstance(network, SegmentationModel) != (task == Tasks.image_segmentation):
        other = "evaluate" if isinstance(network, SegmentationModel) else "evaluate_classifier"
        raise ModelFolderError(
            f"{folder.name} is a network for {folder.configuration.task}, not for {task}. "
            f"Name another model, or use segpipe.evaluation.{other}."
        )
    return network, configuration or folder.configuration


def count_in_batches(
    network: Network,
    dataset: LabelledSamples,
    count_batch: Callable[[list[Sample]], None],
    *,
    indices: Sequence[int],
    batch_size: int,
    readers: int,
    progress: bool,
    should_stop: Callable[[], bool] | None,
) -> None:
    """Call `count_batch` for this process's samples, with the network in evaluation mode.

    An error in one process of the run is an error in all, and so is `EvaluationStopped`: none is left waiting.

    Args:
        network: goes back to the modes that its modules were in.
        dataset: what is read from.
        count_batch: counts; what it has counted is added up afterwards.
        indices: this process's samples.
        batch_size: samples in a batch; the last one may be shorter.
        readers: threads that read ahead. If 0, samples are read one by one.
        progress: whether the first process shows a bar.
        should_stop: asked after each batch.
    """
    ahead = _read_ahead(dataset, indices, readers)
    shows_bar = progress and distributed.is_main()
    samples = iter(track(ahead, "evaluate", len(indices), "images") if shows_bar else ahead)

    def count() -> None:
        while batch := list(islice(samples, batch_size)):
            count_batch(batch)
            if should_stop is not None and should_stop():
                raise EvaluationStopped

    with in_evaluation_mode(network):
        _run_together(count, network.pixel_mean.device)


def check_countable(dataset: LabelledSamples, batch_size: int) -> None:
    """Refuse what is not a data set, an empty one and a batch size below 1 with an InputError."""
    require_dataset(dataset, "dataset")
    if len(dataset) == 0:
        raise InputError(f"The data set {dataset!r} has no images; there is nothing to score. Check its split.")
    if isinstance(batch_size, bool) or not isinstance(batch_size, int) or not 1 <= batch_size < 2**31:
        raise InputError(
            f"batch_size is {batch_size!r}; it must be a whole number, at least 1 and below 2**31. Leave it out for 1."
        )


def require_known(value: T | None, what: str, sample: Sample) -> T:
    """Return the label or the class of a sample. InputError if there is none."""
    if value is None:
        raise InputError(
            f"{sample.name} has no {what}; scores need one for each image. Give a labelled split: "
            f"{advice.argument('split', 'val')}."
        )
    return value


def _run_together(count: Callable[[], None], device: torch.device) -> None:
    """Call `count` in each process of the run; an error in one is an error in all, and so is `EvaluationStopped`.

    Args:
        count: counts this process's part; what it has counted is added up afterwards.
        device: where the processes can exchange a number.
    """
    error = None
    try:
        count()
    except Exception as exception:
        error = exception
    is_stopped = isinstance(error, EvaluationStopped)
    error = None if is_stopped else error  # its traceback would keep the samples and their bar
    flags = torch.tensor([int(error is not None), int(is_stopped)], device=device)
    failed, stopped = distributed.all_sum(flags).tolist()
    if error is not None:
        raise error
    if failed:
        raise SegpipeError("Evaluation failed in another process; see its error and correct what it names.")
    if stopped:
        raise EvaluationStopped


def _read_ahead(dataset: LabelledSamples, indices: Sequence[int], readers: int) -> Iterator[Sample]:
    """Yield `dataset[index]` for each index, in order.

    Args:
        dataset: what is read from.
        indices: the places.
        readers: threads, each of which is one sample ahead. If 0, samples are read one by one.
    """
    if readers == 0:
        yield from (dataset[index] for index in indices)
        return
    waiting: deque[Future[Sample]] = deque()
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
