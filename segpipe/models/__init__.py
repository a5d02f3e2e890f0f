"""Networks: shapes and key maps, loading and converting weights. They know no pictures, data sets or devices."""

from .bilinear import bilinear_weights
from .building import MODELS, build_model, model_type
from .contract import SegmentationModel, SegpipeNetwork
from .conversion import ARCHITECTURES, convert
from .dialects import DIALECTS, detect_dialect, translate
from .encoders import convert_encoder, encoder_tensors
from .loading import load_model, open_folder
from .unept import BoundaryOutput
from .weights import apply_tensors, fit_tensors, read_tensors, write_tensors

__all__ = [
    "ARCHITECTURES",
    "DIALECTS",
    "MODELS",
    "BoundaryOutput",
    "SegmentationModel",
    "SegpipeNetwork",
    "apply_tensors",
    "bilinear_weights",
    "build_model",
    "convert",
    "convert_encoder",
    "detect_dialect",
    "encoder_tensors",
    "fit_tensors",
    "load_model",
    "model_type",
    "open_folder",
    "read_tensors",
    "translate",
    "write_tensors",
]
