"""Segmenter: a Vision Transformer and a decoder on its patches (Strudel et al. 2021)."""

from ..family import Family
from ..vit.config import VIT_VARIANTS
from .config import SegmenterConfig, count_parameters

FAMILY = Family(
    config=SegmenterConfig,
    network="segpipe.models.segmenter.network:Segmenter",
    variants=VIT_VARIANTS,
    count_parameters=count_parameters,
)
