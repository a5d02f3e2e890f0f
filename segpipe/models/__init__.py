"""Networks: shapes and key maps, loading and converting weights. They know no pictures, data sets or devices."""

from .bilinear import bilinear_weights
from .building import MODELS, build_model, model_type
from .contract import SegmentationModel, SegpipeNetwork
from .conversion import ARCHITECTURES, convert
from .dialects import DIALECTS, detect_dialect, translate
from .loading import load_model, open_folder
from .weights import apply_tensors, fit_tensors, read_tensors, write_tensors

__all__ = [
    "ARCHITECTURES",
    "DIALECTS",
    "MODELS",
    "SegmentationModel",
    "SegpipeNetwork",
    "apply_tensors",
    "bilinear_weights",
    "build_model",
    "convert",
    "detect_dialect",
    "fit_tensors",
    "load_model",
    "model_type",
    "open_folder",
    "read_tensors",
    "translate",
    "write_tensors",
]
