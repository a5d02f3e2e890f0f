"""ModelScope's names: a script for its SegFormer changes its import lines only.

    from segpipe.compat.modelscope.metainfo import Trainers
    from segpipe.compat.modelscope.msdatasets import MsDataset
    from segpipe.compat.modelscope.trainers import build_trainer

In each import, `modelscope` becomes `segpipe.compat.modelscope`. ModelScope has moved names from module to module with
its versions, so each name is here and in every module below, whatever the module is called. A name that segpipe does
not offer says what to use.

Model ids stay as they are: "damo/cv_segformer-b0_image_semantic-segmentation_coco-stuff164k" is fetched from
ModelScope, converted once and run by segpipe's own code. So do the names of data sets, see `MsDataset`, and EasyCV's
keys in `cfg_options`, see `keys`.

Differences: arrays are RGB unless `channel_order="bgr"`; `masks` are uint8; classes come in ascending order; `scores`
are mean probabilities instead of the constant 0.999.
"""

from __future__ import annotations

from typing import Any

from segpipe.pipelines import Pipeline

from . import modules
from .constants import (
    DEFAULT_DATASET_NAMESPACE,
    DEFAULT_DATASET_REVISION,
    DEFAULT_MODEL_REVISION,
    ConfigFields,
    DownloadMode,
    Frameworks,
    Hooks,
    Hubs,
    LogKeys,
    Metrics,
    ModeKeys,
    ModelFile,
    Models,
    OutputKeys,
    Pipelines,
    Preprocessors,
    Tasks,
    Trainers,
)
from .documents import Config, ConfigDict
from .downloads import (
    HubApi,
    Model,
    get_logger,
    model_file_download,
    normalize_model_input,
    read_config,
    snapshot_download,
)
from .hosted_data import MsDataset
from .running import create_device, device_placement, pipeline, semantic_seg_masks_to_image, verify_device
from .training import build_trainer

__all__ = [
    "DEFAULT_DATASET_NAMESPACE",
    "DEFAULT_DATASET_REVISION",
    "DEFAULT_MODEL_REVISION",
    "Config",
    "ConfigDict",
    "ConfigFields",
    "DownloadMode",
    "Frameworks",
    "Hooks",
    "HubApi",
    "Hubs",
    "LogKeys",
    "Metrics",
    "ModeKeys",
    "Model",
    "ModelFile",
    "Models",
    "MsDataset",
    "OutputKeys",
    "Pipeline",
    "Pipelines",
    "Preprocessors",
    "Tasks",
    "Trainers",
    "build_trainer",
    "create_device",
    "device_placement",
    "get_logger",
    "model_file_download",
    "normalize_model_input",
    "pipeline",
    "read_config",
    "semantic_seg_masks_to_image",
    "snapshot_download",
    "verify_device",
]


def __getattr__(name: str) -> Any:
    return modules.find(name)


modules.install(__name__, {name: globals()[name] for name in __all__})
