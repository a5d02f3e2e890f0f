"""From one picture to one result: the pipelines and what they return."""

from .base import Pipeline, PipelineOptions
from .building import PIPELINES, pipeline
from .image_segmentation import ImageSegmentationPipeline
from .segmentation import Segmentation

__all__ = ["PIPELINES", "ImageSegmentationPipeline", "Pipeline", "PipelineOptions", "Segmentation", "pipeline"]
