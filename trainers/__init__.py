"""Training: from a configuration and data to a model folder."""

from typing import TYPE_CHECKING

from segpipe.lazy import lazy_names

if TYPE_CHECKING:
    from .building import TRAINERS as TRAINERS, build_trainer as build_trainer
    from .callbacks import Callback as Callback, TensorBoard as TensorBoard
    from .local_trainer import open_recipe as open_recipe
    from .optimizers import summarize_groups as summarize_groups
    from .precision import amp_level as amp_level
    from .preview import (
        RunDescription as RunDescription,
        best_evaluation as best_evaluation,
        describe_run as describe_run,
        try_out as try_out,
    )
    from .run.curves import compare_runs as compare_runs, read_runs as read_runs
    from .run.progress import XAxis as XAxis
    from .run.run_log import LOG as LOG, read_log_if_there as read_log_if_there
    from .run_configuration import with_published_recipe as with_published_recipe
    from .trainer import Trainer as Trainer

__getattr__, __dir__, __all__ = lazy_names(__name__)
