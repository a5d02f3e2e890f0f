"""The pipeline of the task image-segmentation."""

from __future__ import annotations

from time import perf_counter
from typing import Any

import numpy as np
import torch

from segpipe.configuration import LabelSet
from segpipe.errors import ModelFolderError
from segpipe.hub import ModelFolder
from segpipe.inference import Prediction, PreparedImage, is_whole, label_map, predict, predict_images, prepare_image
from segpipe.models import SegmentationModel

from .base import Picture, Pipeline
from .networks import describe_place, open_network, outline_of
from .options import PipelineOptions
from .segmentation import Segmentation
from .stream_plans import StreamPlan, plan_stream


class ImageSegmentationPipeline(Pipeline[Segmentation]):
    """From a picture to its label map.

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
        if not isinstance(outline_of(folder), SegmentationModel):
            raise ModelFolderError(
                f"{folder.name} is a network for {folder.configuration.task}, not for image-segmentation. "
                "Name another model."
            )
        self.folder = folder
        self.configuration = folder.configuration
        self.model = open_network(
            folder, device=device, dtype=dtype, runtime=runtime, calibration=calibration, options=options
        )
        self.labels = folder.configuration.labels or _numbered_labels(self.model.num_classes)
        self._place = describe_place(self.model.pixel_mean.device, dtype, runtime)

    def preprocess(self, pixels: np.ndarray) -> PreparedImage:
        """(H, W, 3) uint8 RGB → resized as the model wants it; as it is where several looks resize it themselves."""
        if is_whole(self.configuration.inference):
            return prepare_image(pixels, self.configuration.preprocessor)
        return PreparedImage(pixels, pixels.shape[:2])

    def input_size(self, prepared: PreparedImage) -> tuple[int, int]:
        return prepared.input_size

    def forward(self, prepared: list[PreparedImage]) -> list[Prediction]:
        """Pictures of one input size → logits on the network's grid, each with its placement."""
        preprocessor, inference = self.configuration.preprocessor, self.configuration.inference
        if is_whole(inference):
            return predict_images(self.model, prepared, inference)
        return [predict(self.model, image.pixels, preprocessor, inference) for image in prepared]

    def postprocess(self, prediction: Prediction, picture: Picture) -> Segmentation:
        """Logits → label map and scores at the picture's own size."""
        start = perf_counter()
        with torch.inference_mode():
            result = label_map(prediction)
        labels = result.labels.cpu().numpy()
        return Segmentation(
            labels if labels.dtype == np.uint8 else labels.astype(np.uint16),
            result.scores.cpu().numpy(),
            self.labels.names,
            palette=self.labels.palette,
            image=picture.pixels if picture.is_kept else None,
            source=picture.source,
            timings={**picture.timings, "label map": perf_counter() - start},
        )

    def plan_stream(self, options: PipelineOptions, count: int | None) -> StreamPlan:
        return plan_stream(self.model, options, count)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.folder.name}: {len(self.labels.names)} classes, {self._place})"


def _numbered_labels(num_classes: int) -> LabelSet:
    return LabelSet(names=tuple(f"class {index}" for index in range(num_classes)), ignore_index=65535)
