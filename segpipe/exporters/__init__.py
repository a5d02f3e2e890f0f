"""Networks as files for other runtimes: ONNX, OpenVINO, torch.export; each file is compared with the network."""

from .exporting import export
from .formats import FORMATS
from .keeping import keep_export
from .verification import ExportReport

__all__ = ["FORMATS", "ExportReport", "export", "keep_export"]
