"""The size of a network's input once it is padded, and one line where another padding would score higher."""

from __future__ import annotations

from threading import Lock
from weakref import WeakSet

from segpipe import advice, distributed
from segpipe.log import get_logger

from .network import Network
from .placement import Size

logger = get_logger(__name__)

_told: WeakSet[Network] = WeakSet()
_lock = Lock()


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
