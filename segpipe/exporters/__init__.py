"""Networks as files for other runtimes: ONNX, OpenVINO, torch.export; each file is compared with the network."""

from .calibration import SAMPLES, Calibration, choose_pictures
from .exporting import export
from .formats import FORMATS, format_for
from .keeping import keep_export
from .verification import Agreement, ExportReport

__all__ = [
    "FORMATS",
    "SAMPLES",
    "Agreement",
    "Calibration",
    "ExportReport",
    "choose_pictures",
    "export",
    "format_for",
    "keep_export",
]
