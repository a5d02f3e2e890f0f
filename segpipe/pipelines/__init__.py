"""From one image to one result: the pipelines and what they return; the demo and the page of a data set's samples."""

from typing import TYPE_CHECKING

from segpipe.lazy import lazy_names

if TYPE_CHECKING:
    from .base import Pipeline as Pipeline
    from .building import PIPELINES as PIPELINES, pipeline as pipeline
    from .demo import CALL_STEPS as CALL_STEPS, SCENE_SIZE as SCENE_SIZE, Demo as Demo, show_demo as show_demo
    from .image_classification import ImageClassificationPipeline as ImageClassificationPipeline
    from .image_segmentation import ImageSegmentationPipeline as ImageSegmentationPipeline
    from .network_pipeline import open_exported as open_exported, score_export as score_export
    from .options import OnError as OnError, PipelineOptions as PipelineOptions
    from .outputs.output_folder import (
        OutputFolder as OutputFolder,
        Written as Written,
        overlay_writer as overlay_writer,
    )
    from .outputs.output_naming import output_names as output_names
    from .outputs.results_index import COLUMNS as COLUMNS, ResultsIndex as ResultsIndex
    from .outputs.summary import Summary as Summary
    from .results.classification import Classification as Classification
    from .results.segmentation import Segmentation as Segmentation
    from .sample_page import SamplePage as SamplePage, draw_label_grid as draw_label_grid, draw_samples as draw_samples
    from .stream import Failure as Failure

__getattr__, __dir__, __all__ = lazy_names(__name__)
