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

from typing import TYPE_CHECKING, Any

from segpipe.lazy import lazy_names

from . import modules

if TYPE_CHECKING:
    from .constants import (
        DEFAULT_DATASET_NAMESPACE as DEFAULT_DATASET_NAMESPACE,
        DEFAULT_DATASET_REVISION as DEFAULT_DATASET_REVISION,
        DEFAULT_MODEL_REVISION as DEFAULT_MODEL_REVISION,
        ConfigFields as ConfigFields,
        DownloadMode as DownloadMode,
        Frameworks as Frameworks,
        Hooks as Hooks,
        Hubs as Hubs,
        LogKeys as LogKeys,
        Metrics as Metrics,
        ModeKeys as ModeKeys,
        ModelFile as ModelFile,
        Models as Models,
        OutputKeys as OutputKeys,
        Pipelines as Pipelines,
        Preprocessors as Preprocessors,
        Tasks as Tasks,
        Trainers as Trainers,
    )
    from .documents import (
        Config as Config,
        ConfigDict as ConfigDict,
    )
    from .downloads import (
        HubApi as HubApi,
        Model as Model,
        get_logger as get_logger,
        model_file_download as model_file_download,
        normalize_model_input as normalize_model_input,
        read_config as read_config,
        snapshot_download as snapshot_download,
    )
    from .hosted_data import (
        MsDataset as MsDataset,
    )
    from .running import (
        Pipeline as Pipeline,
        create_device as create_device,
        device_placement as device_placement,
        pipeline as pipeline,
        semantic_seg_masks_to_image as semantic_seg_masks_to_image,
        verify_device as verify_device,
    )
    from .training_arguments import build_trainer as build_trainer

_own, __dir__, __all__ = lazy_names(__name__)


def __getattr__(name: str) -> Any:
    return _own(name) if name in __all__ else modules.find(name)


modules.install(__name__, __all__)
