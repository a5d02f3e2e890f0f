"""The network as inference sees it: whatever executes it, what its input is padded to, and its evaluation mode."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock
from typing import Any, Protocol
from weakref import WeakSet

from torch import Tensor, nn

from segpipe import advice, distributed
from segpipe.log import get_logger
from segpipe.models import GridScores

from .geometry import Size

logger = get_logger(__name__)

_told: WeakSet[Network] = WeakSet()
_lock = Lock()


class Network(Protocol):
    """A `SegmentationModel` is one, and so is each runtime: windows, scales and flips work with all of them.

    Attributes:
        num_classes: K.
        pixel_mean: (3,) in 0–255 units, what is zero after normalization; images go to the device that it is on.
        best_multiple: the network scores higher where both sides of its input are multiples of it.
    """

    num_classes: int
    pixel_mean: Tensor
    best_multiple: int

    def __call__(self, images: Tensor) -> Any:
        """Return the family's output of (B, 3, H, W) RGB 0–255, uint8 or float: mostly (B, K, h, w) logits."""

    def grid_scores(self, output: Any) -> GridScores:
        """See `SegpipeNetwork.grid_scores`."""

    def input_size(self, size: tuple[int, int]) -> tuple[int, int]:
        """Return (height, width) that the logits' grid covers, for an image of `size`."""


@contextmanager
def in_evaluation_mode(network: Network) -> Iterator[None]:
    """Put a network into evaluation mode, and at the end each of its modules into the mode that it was in.

    What another runtime executes has no modes.
    """
    if not isinstance(network, nn.Module):
        yield
        return
    modes = [(module, module.training) for module in network.modules()]
    network.eval()
    try:
        yield
    finally:
        for module, is_training in modes:
            module.training = is_training


def padded_size(network: Network, size: Size) -> Size:
    """Return (height, width) that the logits' grid covers, for an input of `size`.

    Where that is not a multiple of what the network is best at, a warning says so, once for each network.
    """
    padded, best = network.input_size(size), network.best_multiple
    if padded[0] % best or padded[1] % best:
        _tell(network, size)
    return padded


def _tell(network: Network, size: Size) -> None:
    with _lock:
        if network in _told:
            return
        _told.add(network)
    if distributed.is_main():
        best = network.best_multiple
        logger.warning(
            "An input of %d×%d is not a multiple of %d, and this model's configuration does not pad it to one, as the "
            "code of most published weights does not. With padding it would score higher, on CamVid by 2 points of "
            "mIoU: %s.",
            *size,
            best,
            advice.setting("model.size_multiple", best),
        )
