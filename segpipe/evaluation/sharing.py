"""What evaluations share: a network in evaluation mode, a bar, and processes none of which is left waiting."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sized
from pathlib import Path
from typing import Any, TypeVar

import torch

from segpipe import distributed
from segpipe.checkpoints import load_model, open_folder
from segpipe.configuration import Configuration
from segpipe.data import require_dataset
from segpipe.devices import find_device, parse_device
from segpipe.errors import InputError, ModelFolderError, SegpipeError
from segpipe.hub import ModelFolder
from segpipe.inference import Network
from segpipe.models import SegmentationModel
from segpipe.names import Tasks
from segpipe.progress_bars import track

Item = TypeVar("Item")


class EvaluationStopped(Exception):
    """No error: an evaluation was broken off because its caller wished it, in one process or in many."""


def check_countable(dataset: Sized, batch_size: int) -> None:
    """InputError: no data set, nothing to score, or a batch size that is none."""
    require_dataset(dataset, "dataset")
    if len(dataset) == 0:
        raise InputError(f"The data set {dataset!r} has no pictures; there is nothing to score. Check its split.")
    if isinstance(batch_size, bool) or not isinstance(batch_size, int) or not 1 <= batch_size < 2**31:
        raise InputError(
            f"batch_size is {batch_size!r}; it must be a whole number, at least 1 and below 2**31. Leave it out for 1."
        )


def open_network(
    model: Network | ModelFolder | str | Path,
    configuration: Configuration | None,
    device: str | torch.device | None,
    *,
    task: str,
) -> tuple[Any, Configuration | None]:
    """A network as it is with the configuration that is given; of a folder or a name its network and its own.

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


def count_together(count: Callable[[], None], device: torch.device) -> None:
    """Call `count` in each process of the run; an error in one is an error in all, and so is `EvaluationStopped`.

    Args:
        count: counts this process's share; what it has counted is added up afterwards.
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
        raise SegpipeError("Evaluation failed in another process; see its error and mend what it names.")
    if stopped:
        raise EvaluationStopped


def with_bar(samples: Iterable[Item], total: int, progress: bool) -> Iterable[Item]:
    """Return the samples; where progress is wished, the first process shows it as they are taken."""
    return track(samples, "evaluate", total, "images") if progress and distributed.is_main() else samples
