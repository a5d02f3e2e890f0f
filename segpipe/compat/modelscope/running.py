"""ModelScope's `pipeline`: its arguments in segpipe's words."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch

from segpipe.hub import ModelFolder
from segpipe.log import get_logger
from segpipe.names import Tasks
from segpipe.pipelines import Pipeline
from segpipe.pipelines import pipeline as build_pipeline

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
