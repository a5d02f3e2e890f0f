"""Contestants that run transformers' network as an exported graph, with the post-processing that their users write."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch.nn import functional

from .contestants import Transformers
from .timing import time_in_turn

Engine = Callable[[np.ndarray], np.ndarray]
"""(1, 3, H, W) float32 → logits (1, K, h, w) float32."""
PostProcess = Callable[[np.ndarray, tuple[int, int]], np.ndarray]
"""Logits (1, K, h, w) and a picture's (height, width) → its label map."""


class Exported:
    """A graph of transformers' network behind that library's own image processor."""

    def __init__(self, theirs: Transformers, engine: Engine, postprocess: PostProcess) -> None:
        self.processor = theirs.processor
        self.engine = engine
        self.postprocess = postprocess

    def run(self, picture: Image.Image) -> np.ndarray:
        """(H, W) label map."""
        pixels = self.processor(images=[picture], return_tensors="np")["pixel_values"]
        return self.postprocess(self.engine(pixels), (picture.height, picture.width))


def export_graph(theirs: Transformers, picture: Image.Image, path: Path) -> Path:
    """Write the network as ONNX, for pictures of the size that the processor makes of this one."""
    pixels = theirs.processor(images=[picture], return_tensors="pt")["pixel_values"]
    with _quiet():
        torch.onnx.export(
            _LogitsAlone(theirs.model).eval(),
            (pixels,),
            path,
            dynamo=True,
            input_names=["pixel_values"],
            output_names=["logits"],
            verbose=False,
        )
    return path


def build_engines(graph: Path, threads: int) -> dict[str, Engine]:
    """What can run the graph, by the names in the tables; a package that is missing is left out."""
    builders: dict[str, Callable[[], Engine]] = {
        "ONNX Runtime": lambda: _onnxruntime(graph, threads),
        "OpenVINO": lambda: _openvino(graph, threads, "f32"),
        "OpenVINO bfloat16": lambda: _openvino(graph, threads, "bf16"),
    }
    engines = {}
    for name, build in builders.items():
        with contextlib.suppress(ImportError):
            engines[name] = build()
    return engines


def fastest_postprocessing(logits: np.ndarray, size: tuple[int, int]) -> tuple[str, PostProcess]:
    """The fastest of the usual ways on these logits, and what to call it."""
    calls: dict[str, Callable[[], object]] = {
        name: lambda way=way: way(logits, size)  # type: ignore[misc]
        for name, way in POSTPROCESSING.items()
    }
    times = time_in_turn(calls, rounds=5, seconds=10.0)
    name = min(times, key=lambda name: float(np.median(times[name])))
    return name, POSTPROCESSING[name]


@torch.inference_mode()
def with_torch(logits: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """torch's bilinear interpolation to the picture, then argmax."""
    dense = functional.interpolate(torch.from_numpy(logits), size=size, mode="bilinear", align_corners=False)
    return dense.argmax(dim=1)[0].numpy()


@torch.inference_mode()
def with_torch_channels_last(logits: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """The same with the classes of a pixel beside one another in memory."""
    cells = torch.from_numpy(logits).contiguous(memory_format=torch.channels_last)
    return functional.interpolate(cells, size=size, mode="bilinear", align_corners=False).argmax(dim=1)[0].numpy()


def with_opencv(logits: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """OpenCV's resizing of each class's map (it takes 128 channels at most), then NumPy's argmax."""
    import cv2

    height, width = size
    return np.stack([cv2.resize(plane, (width, height), interpolation=cv2.INTER_LINEAR) for plane in logits[0]]).argmax(
        axis=0
    )


POSTPROCESSING: Mapping[str, PostProcess] = {
    "dense torch": with_torch,
    "dense channels-last": with_torch_channels_last,
    "dense OpenCV": with_opencv,
}
DESCRIPTIONS = {
    "dense torch": "torch's interpolate and argmax",
    "dense channels-last": "torch's interpolate and argmax in channels-last memory",
    "dense OpenCV": "OpenCV's resize of each class and NumPy's argmax",
}


class _LogitsAlone(torch.nn.Module):
    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(self, pixel_values: torch.Tensor) -> torch.Tensor:
        return self.model(pixel_values=pixel_values).logits


@contextlib.contextmanager
def _quiet() -> Any:
    """Without what the exporter says about packages that it does not need."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


def _onnxruntime(graph: Path, threads: int) -> Engine:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(graph), options, providers=["CPUExecutionProvider"])
    return lambda pixels: session.run(None, {"pixel_values": pixels})[0]


def _openvino(graph: Path, threads: int, precision: str) -> Engine:
    import openvino

    compiled = openvino.Core().compile_model(
        str(graph),
        "CPU",
        {
            "INFERENCE_PRECISION_HINT": precision,
            "INFERENCE_NUM_THREADS": threads,
            "PERFORMANCE_HINT": "LATENCY",
        },
    )
    return lambda pixels: compiled(pixels)[0]
