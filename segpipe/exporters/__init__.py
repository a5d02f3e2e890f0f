"""Networks as files for other runtimes: ONNX, OpenVINO, torch.export; each file is compared with the network."""

from typing import TYPE_CHECKING

from segpipe.lazy import lazy_names

if TYPE_CHECKING:
    from .export_cache import keep_export as keep_export
    from .exporting import export as export
    from .formats import FORMATS as FORMATS, format_for as format_for
    from .quantizing import SAMPLES as SAMPLES, Calibration as Calibration, choose_images as choose_images
    from .verifying import Agreement as Agreement, ExportReport as ExportReport

__getattr__, __dir__, __all__ = lazy_names(__name__)
