"""The registry of pipelines, and building one from a task and a model."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from inspect import signature
from pathlib import Path
from typing import Any, Literal, overload

import torch

from segpipe import advice
from segpipe.checkpoints import open_folder
from segpipe.configuration import override
from segpipe.devices import find_device
from segpipe.errors import InputError, ModelFolderError, UnknownNameError
from segpipe.hub import ModelFolder
from segpipe.inference import DTYPES, RUNTIMES, check_runtime
from segpipe.names import PIPELINE_ALIASES, Tasks, unknown_name_message
from segpipe.registry import Registry, load_plugins

from .base import Pipeline
from .image_classification import ImageClassificationPipeline
from .image_segmentation import ImageSegmentationPipeline
from .network_pipeline import check_calibration
from .options import PipelineOptions, replace_options
from .results.classification import Classification
from .results.segmentation import Segmentation


class PipelineRegistry(Registry[Callable[..., Pipeline[Any]]]):
    """Pipelines by type, each for one task. `pipeline.type` of a model's configuration chooses among those of its task.

    @PIPELINES.register("counted-segmentation", task="image-segmentation")
    class CountedSegmentation(ImageSegmentationPipeline): ...
    """

    def __init__(self) -> None:
        super().__init__("pipeline")
        self._tasks: dict[str, str] = {}

    def register(
        self, name: str, *, task: str | None = None
    ) -> Callable[[Callable[..., Pipeline[Any]]], Callable[..., Pipeline[Any]]]:
        """Decorator: make `name` stand for the decorated pipeline of a task. If None, the task has the same name."""
        add = super().register(name)

        def add_for_task(entry: Callable[..., Pipeline[Any]]) -> Callable[..., Pipeline[Any]]:
            added = add(entry)
            self._tasks[name] = task or name
            return added

        return add_for_task

    def of_task(self, task: str) -> list[str]:
        """Return the types of a task's pipelines. UnknownNameError where there are none."""
        if task not in self._tasks.values():
            load_plugins()
        found = [name for name in self if self._tasks[name] == task]
        if not found:
            raise UnknownNameError(unknown_name_message("task", task, set(self._tasks.values())))
        return found

    def choose(self, task: str, name: str | None) -> Callable[..., Pipeline[Any]]:
        """Return the pipeline of a type, which other systems may name in their way; of the task itself if None.

        Raises:
            UnknownNameError: it is not registered, or for another task.
        """
        name = task if name is None else PIPELINE_ALIASES.get(name, name)
        if name in self and name in self.of_task(task):
            return self.get(name)
        if name in self:
            other = f"{name!r} is a pipeline for {self._tasks[name]}, not for {task}"
            raise UnknownNameError(f"pipeline.type: {other}. Known for {task}: {', '.join(self.of_task(task))}.")
        known = unknown_name_message("pipeline", name, self.of_task(task))
        raise UnknownNameError(
            f"pipeline.type: {known} Install the plugin that has it, or give {advice.setting('pipeline.type', task)}."
        )


PIPELINES = PipelineRegistry()
PIPELINES.register(Tasks.image_segmentation)(ImageSegmentationPipeline)
PIPELINES.register(Tasks.image_classification)(ImageClassificationPipeline)

DEFAULT_MODELS = {Tasks.image_segmentation: "segformer-b0-cocostuff"}


@overload
def pipeline(
    task: Literal["image-segmentation"],
    model: str | Path | ModelFolder | None = ...,
    *,
    revision: str | None = ...,
    device: str | torch.device | None = ...,
    dtype: str | torch.dtype | None = ...,
    runtime: str = ...,
    calibration: Any = ...,
    overrides: Iterable[str] | Mapping[str, Any] = ...,
    **options: Any,
) -> Pipeline[Segmentation]: ...
@overload
def pipeline(
    task: Literal["image-classification"],
    model: str | Path | ModelFolder | None = ...,
    *,
    revision: str | None = ...,
    device: str | torch.device | None = ...,
    dtype: str | torch.dtype | None = ...,
    runtime: str = ...,
    calibration: Any = ...,
    overrides: Iterable[str] | Mapping[str, Any] = ...,
    **options: Any,
) -> Pipeline[Classification]: ...
@overload
def pipeline(
    task: str,
    model: str | Path | ModelFolder | None = ...,
    *,
    revision: str | None = ...,
    device: str | torch.device | None = ...,
    dtype: str | torch.dtype | None = ...,
    runtime: str = ...,
    calibration: Any = ...,
    overrides: Iterable[str] | Mapping[str, Any] = ...,
    **options: Any,
) -> Pipeline[Any]: ...
def pipeline(
    task: str,
    model: str | Path | ModelFolder | None = None,
    *,
    revision: str | None = None,
    device: str | torch.device | None = None,
    dtype: str | torch.dtype | None = None,
    runtime: str = "eager",
    calibration: Any = None,
    overrides: Iterable[str] | Mapping[str, Any] = (),
    **options: Any,
) -> Pipeline[Any]:
    """Build the pipeline of a task, with a model that is found by name.

        segment = pipeline("image-segmentation", "segformer-b0-cocostuff")
        result = segment("https://example.org/street.jpg")

    Args:
        task: "image-segmentation" or "image-classification".
        model: a preset's name, owner/name on a hub, or a folder. If None, the task's default, see `DEFAULT_MODELS`.
        revision: branch, tag or commit of the model.
        device: "cpu", "cuda", "cuda:1", …. If None, a GPU if there is one and the runtime uses it.
        dtype: "float32", "bfloat16", "float16" or "int8", where the runtime computes in it.
        runtime: executes the network: "eager" (torch), "compiled" (torch.compile), "onnxruntime" or "openvino".
            For the last two it is exported on first use, checked, and kept in the cache.
        calibration: for the dtype "int8": a folder, a list or a data set of images like those to come. On processors
            with bfloat16, that is faster; see `segpipe.exporters.quantizing`.
        overrides: changes of the model's configuration, such as ["preprocessor.resize=null"].
        options: see `PipelineOptions`: batch_size, on_error, channel_order, limits of size and time.
    """
    PIPELINES.of_task(task)
    checked = replace_options(PipelineOptions(), options, besides=signature(pipeline).parameters.keys() - {"options"})
    chosen = _device(device, runtime), _dtype(dtype)
    check_runtime(runtime, device=chosen[0].type, dtype=str(chosen[1]).removeprefix("torch."))
    check_calibration(chosen[1], calibration)
    folder = _find_model(task, model, revision)
    if overrides:
        folder = replace(folder, configuration=override(folder.configuration, overrides))
    stated = folder.configuration.pipeline
    build = PIPELINES.choose(task, stated.type if stated else None)
    images = {} if calibration is None else {"calibration": calibration}
    return build(folder, device=chosen[0], dtype=chosen[1], options=checked, runtime=runtime, **images)


def _find_model(task: str, model: str | Path | ModelFolder | None, revision: str | None) -> ModelFolder:
    name = model if model is not None else DEFAULT_MODELS.get(task)
    if name is None:
        raise InputError(f"The task {task!r} has no default model. Name one.")
    folder = open_folder(name, revision)
    if folder.configuration.task != task:
        raise ModelFolderError(
            f"{folder.name} is a model for the task {folder.configuration.task!r}, not for {task!r}. "
            f"Name another model, or say pipeline({folder.configuration.task!r}, …)."
        )
    return folder


def _device(device: str | torch.device | None, runtime: str) -> torch.device:
    """Return the device that is named, or the one that suits the runtime."""
    if device is None and runtime in RUNTIMES and RUNTIMES.get(runtime).is_cpu_only:
        return torch.device("cpu")
    return find_device(device)


def _dtype(dtype: str | torch.dtype | None) -> torch.dtype:
    name = "float32" if dtype is None else str(dtype).removeprefix("torch.")
    if name not in DTYPES:
        raise InputError(unknown_name_message("dtype", name, DTYPES))
    found: torch.dtype = getattr(torch, name)
    return found
