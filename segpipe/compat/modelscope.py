"""ModelScope's names: a script for its SegFormer changes its import lines only.

    from segpipe.compat.modelscope import pipeline, Tasks, Trainers, MsDataset, build_trainer

Model ids stay as they are: "damo/cv_segformer-b0_image_semantic-segmentation_coco-stuff164k" is
fetched from ModelScope, converted once and run by segpipe's own code.

Differences: arrays are RGB unless `channel_order="bgr"`; `masks` are uint8; classes come in
ascending order; `scores` are mean probabilities instead of the constant 0.999.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from segpipe.data import DATASETS, SegmentationDataset, load_dataset
from segpipe.errors import InputError
from segpipe.hub import ModelFolder
from segpipe.log import get_logger
from segpipe.names import Tasks
from segpipe.pipelines import Pipeline
from segpipe.pipelines import pipeline as build_pipeline
from segpipe.trainers import build_trainer

__all__ = ["MsDataset", "Tasks", "Trainers", "build_trainer", "pipeline"]

logger = get_logger(__name__)

# Arguments with which ModelScope finds, trusts and compiles code. segpipe runs no code from a model.
WITHOUT_EFFECT = frozenset(
    {
        "auto_collate",
        "compile",
        "compile_options",
        "config_file",
        "device_map",
        "external_engine_for_llm",
        "framework",
        "ignore_file_pattern",
        "plugins",
        "preprocessor",
        "third_party",
        "trust_remote_code",
    }
)

# Arguments with which ModelScope finds and caches data. segpipe opens what lies in a folder.
WITHOUT_EFFECT_ON_DATA = frozenset(
    {
        "cache_dir",
        "custom_cfg",
        "data_files",
        "dataset_info_only",
        "download_mode",
        "features",
        "hub",
        "stream_batch_size",
        "subset_name",
        "target",
        "token",
        "trust_remote_code",
        "use_streaming",
        "version",
    }
)


class Trainers:
    """Trainer names of ModelScope; which of them can be built, `segpipe.TRAINERS` says."""

    default = "trainer"
    easycv = "easycv"


def pipeline(
    task: str | None = None,
    model: str | Path | ModelFolder | None = None,
    *,
    model_revision: str | None = None,
    device: str | None = None,
    pipeline_name: str | None = None,
    **options: Any,
) -> Pipeline[Any]:
    """ModelScope's `pipeline`: see `segpipe.pipeline` for what the options are.

    `pipeline_name` chooses a registered pipeline instead of the model's `pipeline.type`.

    `device="gpu"` falls back to the CPU where there is no GPU, as it does there.
    """
    ignored = sorted(name for name in WITHOUT_EFFECT & set(options) if options[name])
    if ignored:
        logger.warning("pipeline: %s has no effect in segpipe", ", ".join(ignored))
    kept = {name: value for name, value in options.items() if name not in WITHOUT_EFFECT}
    if pipeline_name is not None:
        kept["overrides"] = _with_type(kept.get("overrides", ()), pipeline_name)
    return build_pipeline(
        task or Tasks.image_segmentation, model, revision=model_revision, device=_device(device), **kept
    )


def _with_type(overrides: Iterable[str] | Mapping[str, Any], name: str) -> list[str] | dict[str, Any]:
    if isinstance(overrides, Mapping):
        return {**overrides, "pipeline": {"type": name}}
    return [*overrides, f"pipeline={json.dumps({'type': name})}"]


def _device(device: str | None) -> str | None:
    """ "gpu:1" where torch sees GPUs; without any, the CPU."""
    is_gpu = device is not None and device.lower().startswith(("gpu", "cuda"))
    return "cpu" if is_gpu and not torch.cuda.is_available() else device


@dataclass(frozen=True)
class MsDataset:
    """Which data a ModelScope script names: what a trainer needs to open it.

    Attributes:
        name: of the data set, such as coco_stuff164k, or a folder.
        split: train or validation.
        namespace: owner on ModelScope.
        options: everything else that was passed to `load`; `root` or `data_dir` is the folder of a named data set.
    """

    name: str
    split: str | None = None
    namespace: str = "modelscope"
    options: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def load(
        cls, dataset_name: str, namespace: str = "modelscope", split: str | None = None, **options: Any
    ) -> MsDataset:
        """ModelScope's `MsDataset.load`. Nothing is read or downloaded until a trainer asks for it."""
        if not isinstance(dataset_name, str) or not dataset_name:
            raise InputError(f"dataset_name is {dataset_name!r}; give the name of a data set or a folder.")
        return cls(dataset_name, split, namespace, options)

    def open(self) -> SegmentationDataset:
        """The data set itself; a split of None is train.

        A name is one of `segpipe.DATASETS`, perhaps with _ for - and an owner in front, and `root` or `data_dir` says
        where it lies. A folder is opened as the data set `folder`; the other options are `load_dataset`'s.
        """
        ignored = sorted(name for name in WITHOUT_EFFECT_ON_DATA & set(self.options) if self.options[name])
        if ignored:
            logger.warning("MsDataset: %s has no effect in segpipe", ", ".join(ignored))
        skipped = {"root", "data_dir", *WITHOUT_EFFECT_ON_DATA}
        kept = {name: value for name, value in self.options.items() if name not in skipped}
        root = self.options.get("root") or self.options.get("data_dir")
        split = self.split or "train"
        if root is not None:
            return load_dataset(_dataset_name(self.name), root, split, **kept)
        if os.path.isdir(self.name):
            return load_dataset("folder", self.name, split, **kept)
        raise InputError(
            f"Nothing says where the data set {self.name!r} lies; segpipe downloads none. Download it, then give its "
            "folder, as data_dir=… beside the name or instead of the name."
        )


def _dataset_name(name: str) -> str:
    """ "damo/coco_stuff164k" as segpipe spells it; names that are registered as they are stay."""
    return name if name in DATASETS else name.rpartition("/")[2].lower().replace("_", "-")
