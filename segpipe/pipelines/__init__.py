"""From one picture to one result: the pipelines and what they return."""

from typing import TYPE_CHECKING

from segpipe.lazy import lazy_names

if TYPE_CHECKING:
    from .base import Pipeline as Pipeline
    from .building import PIPELINES as PIPELINES, pipeline as pipeline
    from .classification import Classification as Classification
    from .demonstrating import SCENE_SIZE as SCENE_SIZE, Demo as Demo, show_demo as show_demo
    from .image_classification import ImageClassificationPipeline as ImageClassificationPipeline
    from .image_segmentation import ImageSegmentationPipeline as ImageSegmentationPipeline
    from .label_grid import SamplePage as SamplePage, draw_label_grid as draw_label_grid, draw_samples as draw_samples
    from .networks import open_exported as open_exported, score_export as score_export
    from .options import PipelineOptions as PipelineOptions
    from .output_folder import OutputFolder as OutputFolder, Written as Written, overlay_writer as overlay_writer
    from .output_naming import output_names as output_names
    from .results_index import COLUMNS as COLUMNS, ResultsIndex as ResultsIndex
    from .segmentation import Segmentation as Segmentation
    from .stream import Failure as Failure
    from .summary import Summary as Summary

__getattr__, __dir__, __all__ = lazy_names(
    __name__,
    {
        "base": "Pipeline",
        "building": "PIPELINES pipeline",
        "classification": "Classification",
        "demonstrating": "SCENE_SIZE Demo show_demo",
        "image_classification": "ImageClassificationPipeline",
        "image_segmentation": "ImageSegmentationPipeline",
        "label_grid": "SamplePage draw_label_grid draw_samples",
        "networks": "open_exported score_export",
        "options": "PipelineOptions",
        "output_folder": "OutputFolder Written overlay_writer",
        "output_naming": "output_names",
        "results_index": "COLUMNS ResultsIndex",
        "segmentation": "Segmentation",
        "stream": "Failure",
        "summary": "Summary",
    },
)
