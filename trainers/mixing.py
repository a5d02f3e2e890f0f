"""Mixup and CutMix: each image of a batch gets a share of another one, and of its class."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from segpipe.configuration import SoftCrossEntropyLoss

Box = tuple[int, int, int, int]


@dataclass(frozen=True)
class Mix:
    """The mixing of a batch, the same for all of its images.

    Image i gets its share of image i + B/2 of the batch over all processes, around its end. Processes take turns
    in the images, so that one is with its partner wherever each process has an even number of them: then the number
    of processes changes nothing.

    Attributes:
        share: what an image keeps of itself.
        box: (top, bottom, left, right) of what comes from the other one, in CutMix. If None, all pixels are mixed.
    """

    share: float
    box: Box | None = None

    def images(self, images: Tensor) -> Tensor:
        """Mix (B, 3, H, W) of any dtype into the same shape; float32 where pixels are mixed."""
        partners = _partners(images)
        if self.box is None:
            return torch.lerp(partners.float(), images.float(), self.share)
        top, bottom, left, right = self.box
        mixed = images.clone()
        mixed[:, :, top:bottom, left:right] = partners[:, :, top:bottom, left:right]
        return mixed

    def targets(self, targets: Tensor) -> Tensor:
        """Mix (B, K) targets in the same way."""
        return torch.lerp(_partners(targets), targets, self.share)


def draw_mix(config: SoftCrossEntropyLoss, size: tuple[int, ...], rng: np.random.Generator) -> Mix | None:
    """Draw Mixup or CutMix of a batch as timm's batch mode does, or None where the batch stays as it is.

    Args:
        config: how often, and how strongly.
        size: (H, W) of the images.
        rng: all chance comes from it.
    """
    is_mixed, is_cut = rng.random() < config.mixing_probability, rng.random() < config.cutmix_probability
    if not is_mixed or config.mixup == config.cutmix == 0.0:
        return None
    if config.cutmix and (is_cut or not config.mixup):
        return cutmix(size, float(rng.beta(config.cutmix, config.cutmix)), rng)
    return Mix(float(rng.beta(config.mixup, config.mixup)))


def cutmix(size: tuple[int, ...], share: float, rng: np.random.Generator) -> Mix:
    """Return a box of the image's shape around a point drawn uniformly; what lies outside is cut off (Yun et al. 2019).

    The share that is kept is that of the pixels in the end.

    Args:
        size: (H, W).
        share: what would be kept if the whole box lay in the image.
    """
    top, bottom, left, right = (
        bound for side in size for bound in _interval(side, int(side * math.sqrt(1.0 - share)), int(rng.integers(side)))
    )
    kept = 1.0 - (bottom - top) * (right - left) / (size[0] * size[1])
    return Mix(kept, (top, bottom, left, right))


def _interval(side: int, length: int, center: int) -> tuple[int, int]:
    return max(center - length // 2, 0), min(center + length // 2, side)


def _partners(values: Tensor) -> Tensor:
    """Return the partner of each entry, half a batch farther on; for even numbers, pairs are mutual."""
    return values.roll(len(values) // 2, dims=0)
