"""Every exported file is opened in its runtime and compared with the network that it was made from."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from segpipe import advice
from segpipe.errors import NumericalError
from segpipe.inference import channels_first, open_session
from segpipe.models import SegpipeNetwork, as_tuple
from segpipe.scenes import draw_street_scene

from .formats import Format

MAX_DIFFERENCE = 1e-3
"""How far a logit may be off, as a fraction of the largest one. Rounding gives 1e-6, and up to some 1e-5 where a norm
over the classes follows, as in Segmenter."""
SIZES = ((96, 131), (150, 77))
"""(height, width) of the images that are compared: neither is a multiple of a patch, or what was traced."""


@dataclass(frozen=True)
class Agreement:
    """How far an int8 file decides as the float network does, as fractions of the cells of the network's grid.

    Attributes:
        num_pictures: of the calibration.
        share: of cells that keep their class on these.
        num_others: images that the calibration did not use.
        share_of_others: of cells that keep their class on those. If None, it had no such images.
    """

    num_pictures: int
    share: float
    num_others: int
    share_of_others: float | None


@dataclass(frozen=True)
class ExportReport:
    """What was written and how it was checked.

    Attributes:
        path: the file; OpenVINO's weights are in a .bin beside it.
        format: "onnx", "openvino" or "torch".
        largest_difference: between the file's logits and the network's, as a fraction of the largest logit.
        sizes: (height, width) of the images that were compared.
        is_dynamic: whether the file takes any number of images of any size.
        min_size: the smallest side that it takes.
        num_bytes: of all files.
        agreement: of an int8 file with its network. If None, the file is in float32.
    """

    path: Path
    format: str
    largest_difference: float
    sizes: tuple[tuple[int, int], ...]
    is_dynamic: bool
    min_size: int
    num_bytes: int
    agreement: Agreement | None = None


@torch.inference_mode()
def measure_difference(network: SegpipeNetwork, path: Path, format: Format, pixels: torch.dtype) -> float:
    """Return the largest difference between a file's logits and the network's, as a fraction of the largest logit.

    Raises:
        NumericalError: it is over `MAX_DIFFERENCE`, or a logit is not a number.
    """
    session = open_session(path, format=format.name)
    differences = []
    for size in SIZES:
        images = torch.from_numpy(draw_street_scene(seed=1, size=size).image).permute(2, 0, 1)[None].to(pixels)
        found = tuple(map(channels_first, session.run(images.contiguous())))
        differences.append(relative_difference(found, as_tuple(network(images))))
    worst = float(np.max(differences))  # NaN stays NaN
    if not worst <= MAX_DIFFERENCE:
        raise NumericalError(
            f"The exported {format.name} file gives logits that differ from the network's by {worst:.1e} of the "
            f"largest one; up to {MAX_DIFFERENCE:.0e} is rounding. Nothing was kept. "
            f"Give {advice.argument('runtime', 'eager')}, and report this with the versions of `segpipe doctor`."
        )
    return worst


def relative_difference(found: tuple[Tensor, ...], expected: tuple[Tensor, ...]) -> float:
    """Return the largest difference of a value, as a fraction of the largest one of its tensor; NaN where one is."""
    pairs = zip(found, expected, strict=True)
    return float(np.max([float((one - other.float()).abs().max() / other.float().abs().max()) for one, other in pairs]))
