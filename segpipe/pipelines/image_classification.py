"""The pipeline of the task image-classification."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from segpipe.configuration import LabelSet
from segpipe.errors import ModelFolderError, NumericalError
from segpipe.hub import ModelFolder
from segpipe.inference import resize_image
from segpipe.models import SegmentationModel

from .base import Picture, Pipeline
from .classification import Classification
from .networks import describe_place, open_network, outline_of
from .options import PipelineOptions
from .stream_plans import StreamPlan, plan_stream


class ImageClassificationPipeline(Pipeline[Classification]):
    """From a picture to the probabilities of its classes.

    Args:
        folder: the model.
        device: where the network runs.
        dtype: what it computes in.
        options: how pictures are read and grouped.
        runtime: what executes it.
        calibration: pictures for int8.
    """

    def __init__(
        self,
        folder: ModelFolder,
        *,
        device: torch.device,
        dtype: torch.dtype,
        options: PipelineOptions,
        runtime: str = "eager",
        calibration: Any = None,
    ) -> None:
        super().__init__(options)
        if isinstance(outline_of(folder), SegmentationModel):
            raise ModelFolderError(f"{folder.name} is a network for segmentation. Name another model, or that task.")
        self.folder = folder
        self.configuration = folder.configuration
        self.model = open_network(
            folder, device=device, dtype=dtype, runtime=runtime, calibration=calibration, options=options
        )
        self.labels = folder.configuration.labels or LabelSet(
            names=tuple(f"class {index}" for index in range(self.model.num_classes)), ignore_index=65535
        )
        self._place = describe_place(self.model.pixel_mean.device, dtype, runtime)

    def preprocess(self, pixels: np.ndarray) -> np.ndarray:
        """(H, W, 3) uint8 RGB → resized and cropped as the model wants it."""
        return resize_image(pixels, self.configuration.preprocessor)

    def input_size(self, prepared: np.ndarray) -> tuple[int, int]:
        return prepared.shape[0], prepared.shape[1]

    @torch.inference_mode()
    def forward(self, prepared: list[np.ndarray]) -> list[np.ndarray]:
        """Pictures of one input size → (K,) float32 probabilities each."""
        batch = torch.from_numpy(np.stack(prepared)).permute(0, 3, 1, 2)  # (B, 3, h, w)
        logits = self.model(batch.to(self.model.pixel_mean.device))  # (B, K)
        return list(logits.float().softmax(dim=1).cpu().numpy())

    def postprocess(self, prediction: np.ndarray, image: Picture) -> Classification:
        """Probabilities → result; NumericalError where one is no number."""
        if not np.isfinite(prediction).all():
            raise NumericalError(
                f"{image.source}: a probability is no number. Run in float32, or check the weights of "
                f"{self.folder.name}."
            )
        return Classification(prediction, self.labels.names, source=image.source, timings=image.timings)

    def plan_stream(self, options: PipelineOptions, count: int | None) -> StreamPlan:
        return plan_stream(self.model, options, count)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.folder.name}: {len(self.labels.names)} classes, {self._place})"
