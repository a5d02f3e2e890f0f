"""What executes a network: torch as it is, torch.compile, ONNX Runtime, OpenVINO."""

from .choices import RUNTIMES, Runtime, check_runtime
from .compiled import CompiledNetwork
from .exported import ExportedNetwork, pixel_array
from .opening import open_session

__all__ = [
    "RUNTIMES",
    "CompiledNetwork",
    "ExportedNetwork",
    "Runtime",
    "check_runtime",
    "open_session",
    "pixel_array",
]
