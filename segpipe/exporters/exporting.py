"""Exporting a network: trace, write, compare, and only then give the file its name."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import perf_counter
from typing import Any

import torch

from segpipe.atomic import fsync_folder, move, scratch_folder
from segpipe.checkpoints import load_model, open_folder
from segpipe.data import Alpha, BitDepth
from segpipe.errors import InputError
from segpipe.files import check_vacant
from segpipe.hub import ModelFolder
from segpipe.log import get_logger
from segpipe.models import SegpipeNetwork

from .formats import Format, describe_formats, find_format
from .quantizing import SAMPLES, Calibration, choose_images, measure_agreement, write_quantized
from .torch_export import trace_network
from .verifying import SIZES, ExportReport, measure_difference

logger = get_logger(__name__)


def export(
    source: str | Path | ModelFolder,
    path: str | Path,
    *,
    format: str = "onnx",
    calibration: Any = None,
    samples: int = SAMPLES,
    alpha: Alpha = "auto",
    bit_depth: BitDepth = None,
    overwrite: bool = False,
) -> ExportReport:
    """Write a model as one file that other runtimes open, and check it against the network.

    The file takes `images` (B, 3, H, W) uint8 RGB, of any number and size, and gives `logits` (B, h, w, K) float32 on
    the network's grid; normalization and padding are inside, resizing is not.

    Args:
        source: a folder on disk, a preset's name, owner/name on a hub, or an open ModelFolder.
        path: of the file: .onnx; .xml for OpenVINO, which writes a .bin beside it; .pt2 for torch.
        format: "onnx", "openvino" or "torch".
        calibration: a folder, a list or a data set of images like those to come, for a file in int8, "onnx" or
            "openvino": products with weights become int8, see `exporters.onnx`. If None, the file is in float32.
        samples: at most this many of them give the ranges of values, and as many others show the agreement.
        alpha: how these images are read, see `segpipe.data.Reading`; a data set has its own.
        bit_depth: the same.
        overwrite: whether an existing file is replaced.

    Raises:
        InputError: an unknown format, a path with another suffix or that is taken, or nothing to calibrate with.
        ImageError: an image of the calibration cannot be read.
        MissingExtraError: a package that writes or runs the format is not installed.
        NumericalError: the file does not compute what the network does; nothing is left behind.
    """
    chosen = find_format(format)
    if not isinstance(path, str | os.PathLike):
        raise InputError(f'path is {path!r}; the name of a file is needed. Give e.g. "model{chosen.suffix}".')
    final = Path(path)
    if final.suffix != chosen.suffix:
        raise InputError(
            f"{final} is not a name for the format {format!r}, whose files end in {chosen.suffix}. Give "
            f"{final.with_suffix(chosen.suffix)}, or another format: {describe_formats()}."
        )
    for file in chosen.files(final):
        check_vacant(file, overwrite=overwrite, error=InputError)
    if calibration is not None:
        chosen = chosen.for_int8()
    chosen.require_packages()
    folder = open_folder(source)
    images = None
    if calibration is not None:
        images = choose_images(calibration, folder.configuration, samples, alpha=alpha, bit_depth=bit_depth)
    logger.info("Exporting %s; this takes some tens of seconds, or minutes for a large network.", folder.name)
    return export_network(load_model(folder), final, chosen, pixels=torch.uint8, calibration=images)


def export_network(
    network: SegpipeNetwork,
    path: Path,
    format: Format,
    *,
    pixels: torch.dtype,
    calibration: Calibration | None = None,
) -> ExportReport:
    """Write a network that is on the processor in float32, in evaluation mode; see `export`.

    Args:
        network: as `load_model` gives it.
        path: of the file.
        format: what to write; for int8 see `Format.for_int8`.
        pixels: the type of the images that the file takes.
        calibration: the images for a file in int8. If None, the file is in float32.
    """
    if calibration is not None:
        calibration.read(calibration.images[0])  # a mistake shows before the export, which takes its time
    start, agreement = perf_counter(), None
    sizes: tuple[tuple[int, int], ...] = SIZES
    with _writing(path), scratch_folder(path.parent) as folder:
        temporary = folder / path.name
        if calibration is None:
            format.write(trace_network(network, pixels), temporary)
            difference = measure_difference(network, temporary, format, pixels)
        else:
            write_quantized(network, temporary, format, pixels=pixels, calibration=calibration)
            agreement, difference, sizes = measure_agreement(
                network, temporary, format, pixels=pixels, calibration=calibration
            )
        files = format.files(temporary)
        num_bytes = sum(file.stat().st_size for file in files)
        for file in files:
            move(file, path.parent / file.name)
        fsync_folder(path.parent)
    logger.info(
        "Exported %s in %.0f s; it differs by %.1e of the largest logit.", path, perf_counter() - start, difference
    )
    return ExportReport(path, format.name, difference, sizes, True, format.min_size, num_bytes, agreement)


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    """Turn an operating system's refusal to write the file into an InputError."""
    try:
        yield
    except OSError as error:
        raise InputError(
            f"{path} cannot be written: {error.strerror or error}. Free some space there, or give another path."
        ) from None
