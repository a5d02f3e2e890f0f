"""Networks: shapes and key maps, loading and converting weights. They know no pictures, data sets or devices."""

from typing import TYPE_CHECKING

from segpipe.lazy import lazy_names

if TYPE_CHECKING:
    from .bilinear import bilinear_weights as bilinear_weights
    from .building import (
        MODELS as MODELS,
        build_loaded as build_loaded,
        build_model as build_model,
        build_outline as build_outline,
        model_type as model_type,
    )
    from .contract import (
        BoundaryOutput as BoundaryOutput,
        SegmentationModel as SegmentationModel,
        SegpipeNetwork as SegpipeNetwork,
    )
    from .fast.triton_choice import can_fuse as can_fuse, launching_on as launching_on
    from .mit import VARIANTS as VARIANTS, MixTransformer as MixTransformer, Shape as Shape
    from .segformer import Segformer as Segformer
    from .segmenter import Segmenter as Segmenter
    from .vit import (
        VIT_VARIANTS as VIT_VARIANTS,
        Grid as Grid,
        Resampling as Resampling,
        VitTrunk as VitTrunk,
        resize_positions as resize_positions,
    )
    from .weights import (
        apply_tensors as apply_tensors,
        fit_tensors as fit_tensors,
        mistyped_tensors as mistyped_tensors,
    )

__getattr__, __dir__, __all__ = lazy_names(
    __name__,
    {
        "bilinear": "bilinear_weights",
        "building": "MODELS build_loaded build_model build_outline model_type",
        "contract": "BoundaryOutput SegmentationModel SegpipeNetwork",
        "fast.triton_choice": "can_fuse launching_on",
        "mit": "VARIANTS MixTransformer Shape",
        "segformer": "Segformer",
        "segmenter": "Segmenter",
        "vit": "VIT_VARIANTS Grid Resampling VitTrunk resize_positions",
        "weights": "apply_tensors fit_tensors mistyped_tensors",
    },
)
