"""Network families and what they are built of. They know no files and no data sets."""

from typing import TYPE_CHECKING

from segpipe.lazy import lazy_names

if TYPE_CHECKING:
    from .base import (
        AttentionMap as AttentionMap,
        BoundaryOutput as BoundaryOutput,
        GridScores as GridScores,
        Scoring as Scoring,
        SegmentationModel as SegmentationModel,
        SegpipeNetwork as SegpipeNetwork,
        as_tuple as as_tuple,
    )
    from .bilinear import bilinear_weights as bilinear_weights
    from .building import build_loaded as build_loaded, build_model as build_model, build_outline as build_outline
    from .family import Family as Family, Part as Part, family_of as family_of, pad_to_best as pad_to_best
    from .fast.choosing import can_fuse as can_fuse, launching_on as launching_on
    from .mit.config import (
        LEVEL_STRIDE as LEVEL_STRIDE,
        MIT_VARIANTS as MIT_VARIANTS,
        EncoderConfig as EncoderConfig,
        MitConfig as MitConfig,
        NormEps as NormEps,
        Variant as Variant,
        encoder_shape as encoder_shape,
    )
    from .parameters import num_parameters as num_parameters
    from .resnet.config import ResNetConfig as ResNetConfig
    from .segformer.config import (
        HeadConfig as HeadConfig,
        SegformerConfig as SegformerConfig,
        head_channels as head_channels,
    )
    from .segmenter.config import SegmenterConfig as SegmenterConfig, SegmenterHeadConfig as SegmenterHeadConfig
    from .unept.config import DeitConfig as DeitConfig, UneptConfig as UneptConfig
    from .vit.config import VIT_VARIANTS as VIT_VARIANTS, VitConfig as VitConfig, VitVariant as VitVariant
    from .weights import fit_tensors as fit_tensors, mistyped_tensors as mistyped_tensors

__getattr__, __dir__, __all__ = lazy_names(__name__)
