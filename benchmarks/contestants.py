"""The contestants: segpipe's pipeline and transformers', each as people call it, on one model folder."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

TASK = "image-segmentation"
Call = Callable[[Image.Image], object]


class Segpipe:
    """segpipe's pipeline.

    Args:
        folder: the model.
        runtime: what executes the network.
        dtype: what it computes in.
        device: where.
        overrides: changes of the model's configuration.
    """

    def __init__(
        self,
        folder: Path,
        runtime: str = "eager",
        dtype: str = "float32",
        *,
        device: str = "cpu",
        overrides: Sequence[str] = (),
    ) -> None:
        from segpipe import pipeline

        self.pipeline: Any = pipeline(
            TASK, folder, device=device, runtime=runtime, dtype=dtype, overrides=list(overrides)
        )

    def run(self, picture: Image.Image) -> np.ndarray:
        """(H, W) label map."""
        return self.pipeline(picture).label_map

    def run_with_masks(self, picture: Image.Image) -> object:
        """One mask per class present as well, as transformers' pipeline gives them."""
        return self.pipeline(picture).masks

    def run_list(self, pictures: Sequence[Image.Image | np.ndarray], batch_size: int) -> Any:
        """Results of all pictures."""
        return self.pipeline(list(pictures), batch_size=batch_size)


class Transformers:
    """Hugging Face's library, its pictures resized by Pillow.

    Args:
        folder: the model.
        dtype: what its pipeline computes in.
        device: where.
    """

    def __init__(self, folder: Path, dtype: str = "float32", *, device: str = "cpu") -> None:
        transformers = require_transformers()
        network = transformers.SegformerForSemanticSegmentation.from_pretrained(folder).eval()
        self.model = network.to(device, getattr(torch, dtype))
        self.processor = pillow_processor_class().from_pretrained(folder)
        self.pipeline = transformers.pipeline(
            TASK, model=self.model, image_processor=self.processor, device=torch.device(device)
        )

    def run(self, picture: Image.Image) -> object:
        """The pipeline's own call: a dictionary with a mask for each class present."""
        return self.pipeline(picture)

    @torch.inference_mode()
    def run_lean(self, picture: Image.Image) -> np.ndarray:
        """(H, W) label map by the library's parts, without a mask per class."""
        inputs = self.processor(images=[picture], return_tensors="pt").to(self.model.device, self.model.dtype)
        outputs = self.model(**inputs)
        [labels] = self.processor.post_process_semantic_segmentation(outputs, [(picture.height, picture.width)])
        return labels.cpu().numpy()

    def run_list(self, pictures: Sequence[Image.Image], batch_size: int) -> object:
        """Results of all pictures."""
        return self.pipeline(list(pictures), batch_size=batch_size)


def build_call(contestant: str, folder: Path) -> Call:
    """One contestant's call for one picture, alone in its process."""
    if contestant.startswith("segpipe"):
        ours = Segpipe(folder)
        return ours.run_with_masks if contestant.endswith("masks") else ours.run
    theirs = Transformers(folder)
    return theirs.run_lean if contestant.endswith("lean") else theirs.run


def require_transformers() -> Any:
    """The library, quiet and offline; a sentence that helps where it is missing."""
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    try:
        import transformers
    except ImportError:
        raise SystemExit(
            "This benchmark compares segpipe with Hugging Face's transformers, which is not installed. "
            "Install it: pip install transformers"
        ) from None
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    return transformers


def pillow_processor_class() -> Any:
    """The image processor that resizes with Pillow, as the published weights want; its name depends on the version."""
    transformers = require_transformers()
    try:
        return transformers.SegformerImageProcessorPil
    except AttributeError:
        return transformers.SegformerImageProcessor


def use_threads(threads: int) -> None:
    """Let torch and OpenCV compute with so many threads."""
    import cv2

    torch.set_num_threads(threads)
    cv2.setNumThreads(threads)
