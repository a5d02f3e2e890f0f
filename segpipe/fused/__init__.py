"""Whether and where the GPU kernels written in Triton can run; the kernels stand beside their twins in plain torch."""

from .choosing import SWITCH, can_fuse, launching_on

__all__ = ["SWITCH", "can_fuse", "launching_on"]
