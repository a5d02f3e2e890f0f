"""Counting right and wrong: the confusion matrix, boundaries, classes, and a model's scores on a data set."""

from typing import TYPE_CHECKING

from segpipe.lazy import lazy_names

if TYPE_CHECKING:
    from .boundary_iou import BoundaryCounts as BoundaryCounts
    from .classifier_scores import (
        AnyScores as AnyScores,
        ClassificationScores as ClassificationScores,
        evaluate_classifier as evaluate_classifier,
    )
    from .confusion import ConfusionMatrix as ConfusionMatrix
    from .evaluating import OnPicture as OnPicture, evaluate as evaluate
    from .loop import EvaluationStopped as EvaluationStopped
    from .reports import REPORTS as REPORTS, mmseg_tables as mmseg_tables, segmenter_yaml as segmenter_yaml
    from .scores import Scores as Scores
    from .submissions import (
        BENCHMARKS as BENCHMARKS,
        submission_values as submission_values,
        submission_writer as submission_writer,
        write_submission as write_submission,
    )

__getattr__, __dir__, __all__ = lazy_names(__name__)
