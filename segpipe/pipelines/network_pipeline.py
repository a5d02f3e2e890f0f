"""A model folder's network in the chosen runtime, and the base of both tasks' pipelines."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import torch

from segpipe import advice
from segpipe.checkpoints import load_model, open_folder
from segpipe.configuration import LabelSet
from segpipe.errors import InputError, ModelFolderError
from segpipe.evaluation import Scores, evaluate
from segpipe.exporters import ExportReport, choose_images, keep_export
from segpipe.hub import ModelFolder
from segpipe.inference import CompiledNetwork, ExportedNetwork, Network, check_runtime, open_session
from segpipe.models import SegmentationModel, SegpipeNetwork, build_outline
from segpipe.names import Tasks

from .base import Pipeline, Result
from .options import PipelineOptions
from .stream_plans import StreamPlan, plan_stream


class NetworkPipeline(Pipeline[Result]):
    """A pipeline around a folder's network, which is opened once.

    A runtime that opens files gets one that is exported on first use and kept in the cache.

    Args:
        folder: the model.
        device: where the network runs.
        dtype: what it computes in.
        options: also say how the calibration images are read.
        runtime: executes the network, see `RUNTIMES`.
        calibration: images for int8, see `segpipe.exporters.choose_images`.

    Raises:
        InputError: the runtime does not work on the device or in the type; int8 without images, or these without it.
        MissingExtraError: the runtime is not installed.
        ModelFolderError: the network is for another task.
    """

    task: ClassVar[str]

    def __init__(
        self,
        folder: ModelFolder,
        *,
        device: torch.device,
        dtype: torch.dtype,
        options: PipelineOptions,
        runtime: str = "eager",
        calibration: Any = None,
    ) -> None:
        super().__init__(options)
        self._check_task(folder)
        self.folder = folder
        self.configuration = folder.configuration
        self.model = self._open(runtime, device, dtype, calibration)
        self.labels = folder.configuration.labels or LabelSet(
            names=tuple(f"class {index}" for index in range(self.model.num_classes)), ignore_index=65535
        )
        place = [str(self.model.pixel_mean.device), str(dtype).removeprefix("torch.")]
        self._place = ", ".join(place if runtime == "eager" else [*place, runtime])

    def plan_stream(self, options: PipelineOptions, count: int | None) -> StreamPlan:
        return plan_stream(self.model, options, count)

    def _open(self, runtime: str, device: torch.device, dtype: torch.dtype, calibration: Any) -> Network:
        """Return the network with its weights, ready to run."""
        name = str(dtype).removeprefix("torch.")
        chosen = check_runtime(runtime, device=device.type, dtype=name)
        check_calibration(dtype, calibration)
        if chosen.format is None:
            network = load_model(self.folder).to(device=device, dtype=dtype)
            return CompiledNetwork(network) if chosen.name == "compiled" else network
        images = None
        if calibration is not None:
            images = choose_images(calibration, self.configuration, **self.options.reading())
        path = keep_export(self.folder, format=chosen.format, calibration=images)
        return open_exported(
            path, self.folder, format=chosen.format, dtype=name, pixels=torch.float32, runtime=runtime, device=device
        )

    def _check_task(self, folder: ModelFolder) -> None:
        is_segmenting = isinstance(_outline_of(folder), SegmentationModel)
        task = Tasks.image_segmentation if is_segmenting else Tasks.image_classification
        if task != self.task:
            raise ModelFolderError(f"{folder.name} is a network for {task}, not for {self.task}. Name another model.")

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.folder.name}: {len(self.labels.names)} classes, {self._place})"


def open_exported(
    path: Path,
    folder: ModelFolder,
    *,
    format: str,
    dtype: str = "float32",
    pixels: torch.dtype = torch.uint8,
    runtime: str | None = None,
    device: torch.device | None = None,
) -> ExportedNetwork:
    """Return the network in a file that was exported.

    Args:
        path: written by `segpipe.export`.
        folder: the model that it was made from.
        format: "onnx", "openvino" or "torch".
        dtype: what the runtime computes in; "int8" for a file that was calibrated.
        pixels: the type of the images that the file takes.
        runtime: what executes it, see `open_session`.
        device: where it is executed. If None, on the processor.
    """
    session = open_session(path, format=format, dtype=dtype, runtime=runtime, device=device)
    mean = folder.configuration.model.pixel_mean
    return ExportedNetwork(session, _outline_of(folder), mean, pixels=pixels, device=device)


def score_export(report: ExportReport, model: str | Path | ModelFolder, dataset: Any) -> tuple[Scores, Scores]:
    """Return the scores of a model that was exported, on the CPU, and those of its file in int8."""
    folder = open_folder(model)
    exported = open_exported(report.path, folder, format=report.format, dtype="int8")
    before = evaluate(folder, dataset, device="cpu")
    return before, evaluate(exported, dataset, configuration=folder.configuration)


def check_calibration(dtype: torch.dtype, calibration: Any) -> None:
    """Refuse int8 without images to calibrate with, and images without int8, with an InputError."""
    if dtype == torch.int8 and calibration is None:
        raise InputError(
            "int8 needs images, from which the ranges of values are read. Give "
            f"{advice.argument('calibration', 'images')}, a folder with some 64 images like those to come; "
            "they need no labels."
        )
    if dtype != torch.int8 and calibration is not None:
        raise InputError(
            f"calibration is for the dtype 'int8', not for {dtype}. Give {advice.argument('dtype', 'int8')}, or leave "
            "it out."
        )


def _outline_of(folder: ModelFolder) -> SegpipeNetwork:
    """Return the folder's network without memory for weights: its class, sizes and classes."""
    return build_outline(folder.configuration.model).eval()
