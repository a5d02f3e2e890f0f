"""Exporting a network: trace, write, compare, and only then give the file its name."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import perf_counter

import torch

from segpipe.errors import InputError
from segpipe.hub import ModelFolder
from segpipe.hub.storage import fsync_folder, storage_errors
from segpipe.log import get_logger
from segpipe.models import SegpipeNetwork, load_model

from .formats import Format, find_format
from .graph import trace_network
from .verification import SIZES, ExportReport, measure_difference

logger = get_logger(__name__)


def export(source: str | Path | ModelFolder, path: str | Path, *, format: str = "onnx") -> ExportReport:
    """Write a model as one file that other runtimes open, and check it against the network.

    The file takes `images` (B, 3, H, W) uint8 RGB, of any number and size, and gives `logits` (B, h, w, K) float32 on
    the network's grid; normalisation and padding are inside, resizing is not.

    Args:
        source: a folder on disk, a preset's name, owner/name on a hub, or an open ModelFolder.
        path: of the file: .onnx; .xml for OpenVINO, which writes a .bin beside it; .pt2 for torch.
        format: "onnx", "openvino" or "torch".

    Raises:
        InputError: an unknown format, or a path with another suffix.
        MissingExtraError: a package that writes or runs the format is not installed.
        NumericalError: the file does not compute what the network does; nothing is left behind.
    """
    chosen, final = find_format(format), Path(path)
    if final.suffix != chosen.suffix:
        raise InputError(f"{final} is no name for the format {format!r}. Give a path that ends with {chosen.suffix}.")
    chosen.require_packages()
    return export_network(load_model(source), final, chosen, pixels=torch.uint8)


def export_network(network: SegpipeNetwork, path: Path, format: Format, *, pixels: torch.dtype) -> ExportReport:
    """Write a network that is on the processor in float32, in evaluation mode; see `export`.

    Args:
        network: as `load_model` gives it.
        path: of the file.
        format: what to write.
        pixels: the type of the pictures that the file takes.
    """
    start = perf_counter()
    with _beside(path) as folder:
        temporary = folder / path.name
        format.write(trace_network(network, pixels), temporary)
        difference = measure_difference(network, temporary, format, pixels)
        files = format.files(temporary)
        num_bytes = sum(file.stat().st_size for file in files)
        _move(files, path.parent)
    logger.info(
        "Exported %s in %.0f s; it differs by %.1e of the largest logit.", path, perf_counter() - start, difference
    )
    return ExportReport(path, format.name, difference, SIZES, True, format.min_size, num_bytes)


@contextmanager
def _beside(path: Path) -> Iterator[Path]:
    """A folder on the disk of `path` that is gone afterwards."""
    with storage_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _move(files: tuple[Path, ...], folder: Path) -> None:
    with storage_errors(folder):
        for file in files:
            os.replace(file, folder / file.name)
        fsync_folder(folder)
