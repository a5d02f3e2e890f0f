"""From a model section to its network: with fresh weights, with given ones, or without memory for any."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from segpipe.configuration import ModelConfig
from segpipe.errors import ConfigurationError
from segpipe.limits import check_limit
from segpipe.text import first_line

from .base import SegpipeNetwork
from .family import family_of
from .weights import fit_tensors


def build_model(config: ModelConfig) -> SegpipeNetwork:
    """Build a network with freshly initialized weights.

    Raises:
        ConfigurationError: see `build_outline`; nothing was allocated.
    """
    build_outline(config)
    return family_of(config).build(config)


def build_loaded(config: ModelConfig, tensors: Mapping[str, Tensor], *, origin: str) -> SegpipeNetwork:
    """Build a network with these weights; memory for it is taken once all of them fit.

    Raises:
        ConfigurationError: see `build_outline`.
        WeightMismatchError: see `fit_tensors`.
    """
    fitted = fit_tensors(build_outline(config), tensors, origin=origin)
    network = family_of(config).build(config)
    network.load_state_dict(fitted, strict=False)
    return network


def build_outline(config: ModelConfig) -> SegpipeNetwork:
    """Build a network on torch's meta device: its modules, shapes and sizes, without memory for weights.

    Raises:
        ConfigurationError: the network has more numbers than `model_parameters` (see `segpipe.limits`), or its numbers
            contradict one another.
    """
    build = family_of(config).network_class  # imported before torch's device is another
    try:
        with torch.device("meta"), _WithoutValues():
            network = build(config)
    except (RuntimeError, ZeroDivisionError, AssertionError) as error:  # sizes that overflow, or that do not divide
        raise ConfigurationError(
            f"model: no network has these numbers: {first_line(error)}. Correct the channels, heads and sizes of the "
            "section."
        ) from None
    count = sum(tensor.numel() for tensor in (*network.parameters(), *network.buffers()))
    advice = "Make channels, blocks, classes or image_size smaller"
    check_limit("model_parameters", count, "model: the network would have", error=ConfigurationError, advice=advice)
    return network


class _WithoutValues(TorchFunctionMode):
    """Skip what only sets values, for which torch would import 900 modules on the meta device, and compute tables."""

    _SETTERS = frozenset({"uniform_", "normal_", "erfinv_", "mul_", "add_", "clamp_", "fill_", "zero_", "copy_"})

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name, named = getattr(func, "__name__", ""), kwargs or {}
        if name in self._SETTERS:
            return args[0] if args else named["tensor"]
        return func(*args, **({**named, "device": "cpu"} if name == "arange" else named))
