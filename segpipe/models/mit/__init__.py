"""MiT: a Mix Transformer, which is SegFormer's encoder, with a linear classifier of whole images."""

from ..family import Family
from .config import MIT_VARIANTS, MitConfig, count_parameters

FAMILY = Family(
    config=MitConfig,
    network="segpipe.models.mit.network:MitClassifier",
    variants=MIT_VARIANTS,
    losses=frozenset({"cross_entropy", "soft_cross_entropy"}),
    count_parameters=count_parameters,
)
