"""From one picture to one result: the pipelines and what they return."""

from .base import Failure, Pipeline
from .building import PIPELINES, pipeline
from .classification import Classification
from .image_classification import ImageClassificationPipeline
from .image_segmentation import ImageSegmentationPipeline
from .networks import open_exported
from .options import PipelineOptions
from .segmentation import Segmentation

__all__ = [
    "PIPELINES",
    "Classification",
    "Failure",
    "ImageClassificationPipeline",
    "ImageSegmentationPipeline",
    "Pipeline",
    "PipelineOptions",
    "Segmentation",
    "open_exported",
    "pipeline",
]
