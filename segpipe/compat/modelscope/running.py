"""ModelScope's `pipeline`: its arguments in segpipe's words."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from segpipe.hub import ModelFolder
from segpipe.names import Tasks
from segpipe.pipelines import Pipeline, pipeline as build_pipeline

from .devices import own_device
from .downloads import say_ignored

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
    say_ignored("pipeline", {name: value for name, value in options.items() if name in WITHOUT_EFFECT})
    kept = {name: value for name, value in options.items() if name not in WITHOUT_EFFECT}
    if pipeline_name is not None:
        kept["overrides"] = _with_type(kept.get("overrides", ()), pipeline_name)
    return build_pipeline(
        task or Tasks.image_segmentation, model, revision=model_revision, device=own_device(device), **kept
    )


def _with_type(overrides: Iterable[str] | Mapping[str, Any], name: str) -> list[str] | dict[str, Any]:
    if isinstance(overrides, Mapping):
        return {**overrides, "pipeline": {"type": name}}
    return [*overrides, f"pipeline={json.dumps({'type': name})}"]
