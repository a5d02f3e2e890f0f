"""Networks: shapes and key maps, loading and converting weights. They know no pictures, data sets or devices."""

from .bilinear import bilinear_weights
from .building import MODELS, build_loaded, build_model, build_outline, model_type
from .checkpoints import read_tensors, tensors_of
from .contract import BoundaryOutput, SegmentationModel, SegpipeNetwork
from .conversion import ARCHITECTURES, convert, open_checkpoint
from .dialects import DIALECTS, WRITTEN_DIALECTS, detect_dialect, translate, write_dialect
from .encoders import convert_encoder, encoder_tensors
from .foreign_files import convert_back, own_tensors
from .loading import load_model, open_folder
from .tensor_files import write_pickle, write_tensors
from .weights import apply_tensors, fit_tensors

__all__ = [
    "ARCHITECTURES",
    "DIALECTS",
    "MODELS",
    "WRITTEN_DIALECTS",
    "BoundaryOutput",
    "SegmentationModel",
    "SegpipeNetwork",
    "apply_tensors",
    "bilinear_weights",
    "build_loaded",
    "build_model",
    "build_outline",
    "convert",
    "convert_back",
    "convert_encoder",
    "detect_dialect",
    "encoder_tensors",
    "fit_tensors",
    "load_model",
    "model_type",
    "open_checkpoint",
    "open_folder",
    "own_tensors",
    "read_tensors",
    "tensors_of",
    "translate",
    "write_dialect",
    "write_pickle",
    "write_tensors",
]
