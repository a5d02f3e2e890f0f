"""What is done to samples before a network learns from them: functions (Sample, rng) → Sample."""

from __future__ import annotations

from .building import Chain, Transform, build_transforms
from .resize_crop_pad import Padding

__all__ = ["Chain", "Padding", "Transform", "build_transforms"]
