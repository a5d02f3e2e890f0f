"""Networks: shapes and key maps, loading and converting weights. They know no pictures, data sets or devices."""

from .building import MODELS, build_model, model_type
from .contract import SegmentationModel, SegpipeNetwork
from .dialects import DIALECTS, detect_dialect, translate
from .weights import apply_tensors, read_tensors, write_tensors

__all__ = [
    "DIALECTS",
    "MODELS",
    "SegmentationModel",
    "SegpipeNetwork",
    "apply_tensors",
    "build_model",
    "detect_dialect",
    "model_type",
    "read_tensors",
    "translate",
    "write_tensors",
]
