"""The pipeline of the task image-segmentation."""

from __future__ import annotations

from time import perf_counter

import numpy as np
import torch

from segpipe.errors import NumericalError
from segpipe.inference import LabelMap, Prediction, PreparedImage, label_predictions, predict, prepare_image
from segpipe.names import Tasks

from .network_pipeline import NetworkPipeline
from .results.segmentation import Segmentation
from .stream import LoadedImage


class ImageSegmentationPipeline(NetworkPipeline[Segmentation]):
    """From an image to its label map."""

    task = Tasks.image_segmentation

    def preprocess(self, pixels: np.ndarray) -> PreparedImage:
        """Resize (H, W, 3) uint8 RGB as the model wants it; several views resize it themselves."""
        return prepare_image(pixels, self.configuration)

    def input_size(self, prepared: PreparedImage) -> tuple[int, int]:
        return prepared.input_size

    def forward(self, prepared: list[PreparedImage]) -> list[Prediction]:
        """Run the network: logits on its own grid, with where each image lies on it."""
        return predict(self.model, prepared, self.configuration)

    @torch.inference_mode()
    def decode(self, predictions: list[Prediction], images: list[LoadedImage]) -> list[LabelMap | NumericalError]:
        """Return the label map of each prediction, or what is wrong with its logits."""
        start = perf_counter()
        found = label_predictions(predictions)
        share = (perf_counter() - start) / len(images)
        for image in images:
            image.timings["label map"] = share
        return found

    def postprocess(self, prediction: LabelMap | NumericalError, image: LoadedImage) -> Segmentation:
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
