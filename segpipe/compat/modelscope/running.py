"""ModelScope's `pipeline`, its names of devices, and its drawing of masks."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from segpipe.devices import parse_device
from segpipe.drawing import complete_palette
from segpipe.errors import InputError
from segpipe.hub import ModelFolder
from segpipe.log import get_logger
from segpipe.names import Tasks
from segpipe.pipelines import Pipeline as Pipeline, pipeline as build_pipeline

from .downloads import without_ignored

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


class UnknownDeviceError(InputError, AssertionError):
    """A device that is not named as a device; ModelScope asserts it."""


def pipeline(
    task: str | None = None,
    model: str | Path | ModelFolder | None = None,
    *,
    model_revision: str | None = None,
    device: str | None = None,
    pipeline_name: str | None = None,
    **options: Any,
) -> Pipeline[Any]:
    """Build a pipeline as ModelScope does; see `segpipe.pipeline` for what the options are.

    `pipeline_name` chooses a registered pipeline instead of the model's `pipeline.type`.

    `device="gpu"` falls back to the CPU where there is no GPU, as it does there.
    """
    kept = without_ignored("pipeline", options, WITHOUT_EFFECT)
    if pipeline_name is not None:
        kept["overrides"] = _with_type(kept.get("overrides", ()), pipeline_name)
    return build_pipeline(
        task or Tasks.image_segmentation, model, revision=model_revision, device=own_device(device), **kept
    )


def verify_device(device_name: str) -> tuple[Literal["cpu", "gpu"], int | None]:
    """Return the kind of a device and its number: ("gpu", 0) for "cuda", ("cpu", None) for "CPU"."""
    try:
        device = parse_device(device_name)
    except InputError:
        device = torch.device("meta")
    if device.type == "cuda":
        return "gpu", device.index or 0
    if device.type == "cpu" and device.index is None:
        return "cpu", None
    raise UnknownDeviceError(f"There is no device {device_name!r}. Say cpu, gpu, gpu:1, cuda or cuda:1.")


def create_device(device_name: str) -> torch.device:
    """Return the torch device. If torch sees no GPU it is the CPU, and a line of the log says so."""
    kind, index = verify_device(device_name)
    if index is None:
        return torch.device(kind)
    if not torch.cuda.is_available():
        logger.info("There is no GPU for the device %r; using the CPU", device_name)
        return torch.device("cpu")
    return torch.device("cuda", index)


def own_device(device_name: str | None) -> str | None:
    """Return a device as segpipe names it: "cuda:1" for "gpu:1", the CPU for both if torch sees no GPU.

    "cuda" for "gpu" leaves the number open. Names of other devices, and None, come back as they are.
    """
    if device_name is None or not device_name.lower().startswith(("gpu", "cuda")):
        return device_name
    chosen = create_device(device_name)
    return str(chosen) if ":" in device_name else chosen.type


@contextmanager
def device_placement(framework: str = "pytorch", device_name: str = "gpu:0") -> Iterator[None]:
    """Make a device torch's current one inside the block. `framework` is there for ModelScope's signature."""
    device = create_device(device_name)
    if device.type == "cpu":
        yield
        return
    with torch.cuda.device(device):
        yield


def semantic_seg_masks_to_image(masks: Sequence[np.ndarray]) -> np.ndarray:
    """Return an (H, W, 3) uint8 image with each mask in a color of its own; a pixel without a mask is black.

    Colors go by a mask's place in the list, as in ModelScope. `result.save(path)` draws each class in its own color.

    Args:
        masks: (H, W) arrays of 0 and 1, such as `result["masks"]`. Later ones lie over earlier ones.
    """
    arrays = [np.asarray(mask) for mask in masks]
    shapes = {array.shape for array in arrays}
    if len(shapes) != 1 or len(next(iter(shapes))) != 2:
        raise InputError(f"masks have the shapes {sorted(shapes) or 'of nothing'}; at least one is needed, all (H, W).")
    image = np.zeros((*arrays[0].shape, 3), np.uint8)
    for array, color in zip(arrays, complete_palette(None, len(arrays)), strict=True):
        image[array.astype(bool)] = color
    return image


def _with_type(overrides: Iterable[str] | Mapping[str, Any], name: str) -> list[str] | dict[str, Any]:
    if isinstance(overrides, Mapping):
        return {**overrides, "pipeline": {"type": name}}
    return [*overrides, f"pipeline={json.dumps({'type': name})}"]
