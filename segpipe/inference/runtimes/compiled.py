"""A network through torch.compile."""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Callable
from time import perf_counter
from typing import Any

import torch
from torch import Tensor

from segpipe import advice
from segpipe.errors import MissingExtraError
from segpipe.log import get_logger
from segpipe.models import SegpipeNetwork

logger = get_logger(__name__)

_COMPILERS = ("g++", "clang++", "c++", "cl")


class CompiledNetwork:
    """A network through torch.compile, with its interface; the first call of each size compiles it for that size.

    Args:
        network: in evaluation mode, on its device and in its type.

    Raises:
        MissingExtraError: there is no C++ compiler.
    """

    def __init__(self, network: SegpipeNetwork) -> None:
        require_compiler()
        self.num_classes = network.num_classes
        self.pixel_mean = network.pixel_mean
        self.best_multiple = network.best_multiple
        self.input_size, self.grid_scores = network.input_size, network.grid_scores
        self._run: Callable[[Tensor], Any] = torch.compile(network, dynamic=False)
        self._is_warm = False
        self._lock = threading.Lock()

    def __call__(self, images: Tensor) -> Any:
        """Return the family's output of (B, 3, H, W) RGB 0–255, uint8 or float."""
        if self._is_warm:
            return self._run(images)
        with self._lock:
            return self._run(images) if self._is_warm else self._warm_up(images)

    def _warm_up(self, images: Tensor) -> Any:
        logger.info("Compiling the network; this takes half a minute or more, in each process and for each size.")
        start = perf_counter()
        output = self._run(images)
        logger.info("Compiled in %.0f s.", perf_counter() - start)
        self._is_warm = True
        return output


def require_compiler() -> str:
    """Return the C++ compiler that torch.compile would use; MissingExtraError says what to do where there is none."""
    names = (os.environ.get("CXX", ""), *_COMPILERS)
    found = next((path for name in names if name and (path := shutil.which(name))), None)
    if found is None:
        raise MissingExtraError(
            "torch.compile needs a C++ compiler, and there is none on the PATH. Install one (apt-get install -y g++), "
            f"or go without: {advice.argument('runtime', 'eager')}, or in training "
            f"{advice.setting('train.compile', False)}."
        )
    return found
