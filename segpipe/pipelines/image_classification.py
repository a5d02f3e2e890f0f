"""The pipeline of the task image-classification."""

from __future__ import annotations

import numpy as np
import torch

from segpipe.errors import NumericalError
from segpipe.inference import resize_image
from segpipe.names import Tasks

from .network_pipeline import NetworkPipeline
from .results.classification import Classification
from .stream import LoadedImage


class ImageClassificationPipeline(NetworkPipeline[Classification]):
    """From an image to the probabilities of its classes."""

    task = Tasks.image_classification

    def preprocess(self, pixels: np.ndarray) -> np.ndarray:
        """Resize and crop (H, W, 3) uint8 RGB as the model wants it."""
        return resize_image(pixels, self.configuration.preprocessor)

    def input_size(self, prepared: np.ndarray) -> tuple[int, int]:
        return prepared.shape[0], prepared.shape[1]

    @torch.inference_mode()
    def forward(self, prepared: list[np.ndarray]) -> list[np.ndarray]:
        """Return (K,) float32 probabilities for each image."""
        batch = torch.from_numpy(np.stack(prepared)).permute(0, 3, 1, 2)  # (B, 3, h, w)
        logits = self.model(batch.to(self.model.pixel_mean.device))  # (B, K)
        return list(logits.float().softmax(dim=1).cpu().numpy())

    def postprocess(self, prediction: np.ndarray, image: LoadedImage) -> Classification:
        """Make the result; NumericalError where a probability is not a number."""
        if not np.isfinite(prediction).all():
            raise NumericalError(
                f"{image.source}: a probability is not a number. Run in float32, or check the weights of "
                f"{self.folder.name}."
            )
        return Classification(prediction, self.labels.names, source=image.source, timings=image.timings)
