"""From one picture to one result: the pipelines and what they return."""

from .base import Failure, Pipeline, PipelineOptions
from .building import PIPELINES, pipeline
from .image_segmentation import ImageSegmentationPipeline
from .segmentation import Segmentation

__all__ = [
    "PIPELINES",
    "Failure",
    "ImageSegmentationPipeline",
    "Pipeline",
    "PipelineOptions",
    "Segmentation",
    "pipeline",
]
