"""Names under which ModelScope's scripts write tasks, trainers, hooks, keys of results and files."""

from __future__ import annotations

from typing import Any

from segpipe.errors import UnknownNameError
from segpipe.names import Tasks as OwnTasks, unknown_name_message

DEFAULT_MODEL_REVISION = "master"
DEFAULT_DATASET_REVISION = "master"
DEFAULT_DATASET_NAMESPACE = "modelscope"


class UnknownMemberError(UnknownNameError, AttributeError):
    """A member that a class of names does not have."""


class _Names(type):
    """The class of names, which says what it has where it has no such name."""

    def __getattr__(cls, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(f"{cls.__name__} has no attribute {name!r}")
        known = [member for member in dir(cls) if not member.startswith("_")]
        raise UnknownMemberError(
            unknown_name_message(f"name in {cls.__name__} of segpipe.compat.modelscope:", name, known)
        )


class Tasks(OwnTasks, metaclass=_Names):
    """Task names."""


class Trainers(metaclass=_Names):
    """Trainer names; `segpipe.TRAINERS` says which can be built."""

    default = "trainer"
    easycv = "easycv"


class Pipelines(metaclass=_Names):
    """Pipeline names; `segpipe.PIPELINES` says which can be built."""

    easycv_segmentation = "easycv-segmentation"


class Models(metaclass=_Names):
    """Network names of EasyCV."""

    segformer = "Segformer"


class Preprocessors(metaclass=_Names):
    """Preprocessor names. None has an effect, since a model's configuration says how its images are prepared."""

    load_image = "load-image"


class Metrics(metaclass=_Names):
    """Metric names. None has an effect, since a trainer measures mIoU and the scores of each class."""

    easycv = "EasyCVMetric"


class Hooks(metaclass=_Names):
    """Hook names, for `train.hooks`; see `keys.py` for those that have an effect."""

    AddLrLogHook = "AddLrLogHook"
    BestCkptSaverHook = "BestCkptSaverHook"
    CheckpointHook = "CheckpointHook"
    EarlyStopHook = "EarlyStopHook"
    EvaluationHook = "EvaluationHook"
    IterTimerHook = "IterTimerHook"
    LrSchedulerHook = "LrSchedulerHook"
    OptimizerHook = "OptimizerHook"
    TensorboardHook = "TensorboardHook"
    TextLoggerHook = "TextLoggerHook"


class OutputKeys(metaclass=_Names):
    """Keys of a result."""

    LABELS = "labels"
    MASKS = "masks"
    SCORES = "scores"


class ModelFile(metaclass=_Names):
    """Files of a model folder."""

    CONFIGURATION = "configuration.json"
    README = "README.md"
    TORCH_MODEL_BIN_FILE = "pytorch_model.bin"
    TORCH_MODEL_FILE = "pytorch_model.pt"


class ConfigFields(metaclass=_Names):
    """Sections of ModelScope's configuration.json."""

    dataset = "dataset"
    evaluation = "evaluation"
    framework = "framework"
    model = "model"
    pipeline = "pipeline"
    postprocessor = "postprocessor"
    preprocessor = "preprocessor"
    task = "task"
    train = "train"


class ModeKeys(metaclass=_Names):
    """What a network is used for."""

    EVAL = "eval"
    INFERENCE = "inference"
    TRAIN = "train"


class LogKeys(metaclass=_Names):
    """Keys of a line of ModelScope's log."""

    EPOCH = "epoch"
    ITER = "iter"
    LR = "lr"
    MODE = "mode"


class Frameworks(metaclass=_Names):
    """What networks are written in."""

    torch = "pytorch"


class Hubs(metaclass=_Names):
    """Where data sets come from; `MsDataset` knows ModelScope alone."""

    modelscope = "modelscope"


class DownloadMode(metaclass=_Names):
    """Whether a data set that was fetched before is fetched again."""

    FORCE_REDOWNLOAD = "force_redownload"
    REUSE_DATASET_IF_EXISTS = "reuse_dataset_if_exists"
