"""A model folder's network in the runtime that was asked for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from segpipe import advice
from segpipe.checkpoints import load_model, open_folder
from segpipe.errors import InputError
from segpipe.evaluation import Scores, evaluate
from segpipe.exporters import ExportReport, choose_images, keep_export
from segpipe.hub import ModelFolder
from segpipe.inference import CompiledNetwork, ExportedNetwork, Network, check_runtime, open_session
from segpipe.models import SegpipeNetwork, build_outline

from .options import PipelineOptions


def outline_of(folder: ModelFolder) -> SegpipeNetwork:
    """The folder's network without memory for weights: its class, sizes and classes."""
    return build_outline(folder.configuration.model).eval()


def open_network(
    folder: ModelFolder,
    *,
    device: torch.device,
    dtype: torch.dtype,
    runtime: str,
    calibration: Any = None,
    options: PipelineOptions | None = None,
) -> Network:
    """The network with its weights, ready to run.

    A runtime that opens files gets one that is exported on first use and kept in the cache.

    Args:
        folder: the model.
        device: where it runs.
        dtype: what it computes in.
        runtime: what executes it, see `RUNTIMES`.
        calibration: pictures for int8, see `segpipe.exporters.choose_images`.
        options: of the pipeline; these pictures are read by them as those to come. If None, by the defaults.

    Raises:
        InputError: the runtime does not work on the device or in the type; int8 without pictures, or these without it.
        MissingExtraError: the runtime is not installed.
    """
    name = str(dtype).removeprefix("torch.")
    chosen = check_runtime(runtime, device=device.type, dtype=name)
    check_calibration(dtype, calibration)
    if chosen.format is not None:
        reading = {} if options is None else options.reading()
        pictures = None if calibration is None else choose_images(calibration, folder.configuration, **reading)
        path = keep_export(folder, format=chosen.format, calibration=pictures)
        return open_exported(path, folder, format=chosen.format, dtype=name, pixels=torch.float32)
    network = load_model(folder).to(device=device, dtype=dtype)
    return CompiledNetwork(network) if chosen.name == "compiled" else network


def open_exported(
    path: Path, folder: ModelFolder, *, format: str, dtype: str = "float32", pixels: torch.dtype = torch.uint8
) -> ExportedNetwork:
    """The network in a file that was exported.

    Args:
        path: what `segpipe.export` wrote.
        folder: the model that it was made from.
        format: "onnx", "openvino" or "torch".
        dtype: what the runtime computes in; "int8" for a file that was calibrated.
        pixels: the type of the pictures that the file takes.
    """
    session = open_session(path, format=format, dtype=dtype)
    return ExportedNetwork(session, outline_of(folder), folder.configuration.model.pixel_mean, pixels=pixels)


def score_export(report: ExportReport, model: str | Path | ModelFolder, dataset: Any) -> tuple[Scores, Scores]:
    """Return the scores of a network on the processor, and those of its file in int8.

    Args:
        report: of the export.
        model: that was exported.
        dataset: labelled images.
    """
    folder = open_folder(model)
    exported = open_exported(report.path, folder, format=report.format, dtype="int8")
    before = evaluate(folder, dataset, device="cpu")
    return before, evaluate(exported, dataset, configuration=folder.configuration)


def check_calibration(dtype: torch.dtype, calibration: Any) -> None:
    """InputError where int8 has no pictures to calibrate with, or pictures have no int8."""
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


def describe_place(device: torch.device, dtype: torch.dtype, runtime: str) -> str:
    """Where and how a network runs, for a pipeline's repr."""
    place = f"{device}, {str(dtype).removeprefix('torch.')}"
    return place if runtime == "eager" else f"{place}, {runtime}"
