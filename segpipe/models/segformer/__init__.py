"""SegFormer: a Mix Transformer and a light decode head (Xie et al. 2021)."""

from ..family import Family
from ..mit.config import LEVEL_STRIDE, MIT_VARIANTS
from .config import SegformerConfig, count_parameters

FAMILY = Family(
    config=SegformerConfig,
    network="segpipe.models.segformer.network:Segformer",
    variants=MIT_VARIANTS,
    best_multiple=LEVEL_STRIDE,
    count_parameters=count_parameters,
)
