"""UN-EPT: a pyramid of features read by deformable attention (Zhu et al. 2021)."""

from ..family import PIXEL_LOSSES, Family
from .config import DeitConfig, ResNetConfig, UneptConfig, count_parameters

FAMILY = Family(
    config=UneptConfig,
    network="segpipe.models.unept.network:Unept",
    variants={"deit-base": DeitConfig(), "res50": ResNetConfig()},
    losses=PIXEL_LOSSES | {"boundary"},
    count_parameters=count_parameters,
)
