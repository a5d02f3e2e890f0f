"""Files of torch.export in torch."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import nn


def open_torch(path: Path, dtype: str) -> TorchSession:
    """A session on the processor; a file of torch.export computes in the type that it was made in."""
    assert dtype == "float32"
    return TorchSession(torch.export.load(path).module())


class TorchSession:
    """One file in torch."""

    def __init__(self, module: nn.Module) -> None:
        self._module = module

    @torch.inference_mode()
    def run(self, images: np.ndarray) -> np.ndarray:
        """See `Session.run`."""
        logits: np.ndarray = self._module(torch.from_numpy(images)).numpy()
        return logits
