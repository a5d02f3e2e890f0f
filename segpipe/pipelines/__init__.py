"""From one picture to one result: the pipelines and what they return."""

from typing import TYPE_CHECKING

from segpipe.lazy import lazy_names

if TYPE_CHECKING:
    from .base import Pipeline as Pipeline
    from .building import PIPELINES as PIPELINES, pipeline as pipeline
    from .classification import Classification as Classification
    from .image_classification import ImageClassificationPipeline as ImageClassificationPipeline
    from .image_segmentation import ImageSegmentationPipeline as ImageSegmentationPipeline
    from .label_grid import draw_label_grid as draw_label_grid
    from .networks import open_exported as open_exported
    from .options import PipelineOptions as PipelineOptions
    from .pictures import Failure as Failure
    from .segmentation import Segmentation as Segmentation

__getattr__, __dir__, __all__ = lazy_names(
    __name__,
    {
        "base": "Pipeline",
        "building": "PIPELINES pipeline",
        "classification": "Classification",
        "image_classification": "ImageClassificationPipeline",
        "image_segmentation": "ImageSegmentationPipeline",
        "label_grid": "draw_label_grid",
        "networks": "open_exported",
        "options": "PipelineOptions",
        "pictures": "Failure",
        "segmentation": "Segmentation",
    },
)
