"""A model folder's network in the runtime that was asked for."""

from __future__ import annotations

import torch

from segpipe.exporters import keep_export
from segpipe.hub import ModelFolder
from segpipe.inference.network import Network
from segpipe.inference.runtimes import CompiledNetwork, ExportedNetwork, check_runtime, open_session
from segpipe.models import SegpipeNetwork, build_model, load_model


def outline_of(folder: ModelFolder) -> SegpipeNetwork:
    """The folder's network without memory for weights: its class, sizes and classes."""
    with torch.device("meta"):
        return build_model(folder.configuration.model).eval()


def open_network(folder: ModelFolder, *, device: torch.device, dtype: torch.dtype, runtime: str) -> Network:
    """The network with its weights, ready to run.

    A runtime that opens files gets one that is exported on first use and kept in the cache.

    Args:
        folder: the model.
        device: where it runs.
        dtype: what it computes in.
        runtime: what executes it, see `RUNTIMES`.

    Raises:
        InputError: the runtime does not work on the device or in the type.
        MissingExtraError: the runtime is not installed.
    """
    name = str(dtype).removeprefix("torch.")
    chosen = check_runtime(runtime, device=device.type, dtype=name)
    if chosen.format is not None:
        path = keep_export(folder, format=chosen.format)
        session = open_session(path, format=chosen.format, dtype=name)
        return ExportedNetwork(session, outline_of(folder), folder.configuration.model.pixel_mean)
    network = load_model(folder).to(device=device, dtype=dtype)
    return CompiledNetwork(network) if chosen.name == "compiled" else network


def describe_place(device: torch.device, dtype: torch.dtype, runtime: str) -> str:
    """Where and how a network runs, for a pipeline's repr."""
    place = f"{device}, {str(dtype).removeprefix('torch.')}"
    return place if runtime == "eager" else f"{place}, {runtime}"
