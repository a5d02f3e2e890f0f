"""The pipeline of the task image-segmentation."""

from __future__ import annotations

from time import perf_counter
from typing import Any

import numpy as np
import torch

from segpipe.configuration import LabelSet
from segpipe.errors import ModelFolderError, NumericalError
from segpipe.hub import ModelFolder
from segpipe.inference import LabelMap, Prediction, PreparedImage, label_predictions, predict, prepare_image
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
        """Resize (H, W, 3) uint8 RGB as the model wants it; several views resize it themselves."""
        return prepare_image(pixels, self.configuration)

    def input_size(self, prepared: PreparedImage) -> tuple[int, int]:
        return prepared.input_size

    def forward(self, prepared: list[PreparedImage]) -> list[Prediction]:
        """Run the network: logits on its own grid, with where each image lies on it."""
        return predict(self.model, prepared, self.configuration)

    @torch.inference_mode()
    def decode(self, predictions: list[Prediction], images: list[Picture]) -> list[LabelMap | NumericalError]:
        """Return the label map of each prediction, or what is wrong with its logits."""
        start = perf_counter()
        found = label_predictions(predictions)
        share = (perf_counter() - start) / len(images)
        for image in images:
            image.timings["label map"] = share
        return found

    def postprocess(self, prediction: LabelMap | NumericalError, image: Picture) -> Segmentation:
        """Make the result, at the image's own size."""
        if isinstance(prediction, NumericalError):
            raise prediction
        start = perf_counter()
        labels, scores = prediction.numpy(), prediction.scores.cpu().numpy()
        image.timings["label map"] += perf_counter() - start
        return Segmentation(
            labels,
            scores,
            self.labels.names,
            palette=self.labels.palette,
            image=image.pixels if image.is_kept else None,
            source=image.source,
            timings=image.timings,
        )

    def plan_stream(self, options: PipelineOptions, count: int | None) -> StreamPlan:
        return plan_stream(self.model, options, count)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.folder.name}: {len(self.labels.names)} classes, {self._place})"


def _numbered_labels(num_classes: int) -> LabelSet:
    return LabelSet(names=tuple(f"class {index}" for index in range(num_classes)), ignore_index=65535)
