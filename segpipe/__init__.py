"""Semantic segmentation: from a model's id and a picture's URL to its label map.

from segpipe import pipeline

segment = pipeline("image-segmentation", "segformer-b0-camvid")
result = segment("street.jpg")
print(result)
result.save("street-overlay.png")

Importing segpipe takes no torch: each public name is imported when it is first used.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

# In a checkout, `segpipe.configuration` and `segpipe.trainers` are the folders beside this package.
_checkout = Path(__file__).parent.parent
if (_checkout / "setup.py").is_file():
    __path__.append(str(_checkout))

_HOMES = {
    "Configuration": "segpipe.configuration",
    "LabelSet": "segpipe.configuration",
    "DATASETS": "segpipe.data",
    "load_dataset": "segpipe.data",
    "Hub": "segpipe.hub",
    "ModelFolder": "segpipe.hub",
    "publish": "segpipe.hub",
    "MODELS": "segpipe.configuration",
    "convert": "segpipe.checkpoints",
    "download": "segpipe.checkpoints",
    "load_model": "segpipe.checkpoints",
    "evaluate": "segpipe.evaluation",
    "export": "segpipe.exporters",
    "PIPELINES": "segpipe.pipelines",
    "Segmentation": "segpipe.pipelines",
    "pipeline": "segpipe.pipelines",
    "TRAINERS": "segpipe.trainers",
    "build_trainer": "segpipe.trainers",
    "SegpipeError": "segpipe.errors",
    "Tasks": "segpipe.names",
}

__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'segpipe' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return [*globals(), *_HOMES]


if TYPE_CHECKING:
    from segpipe.checkpoints import convert as convert, download as download, load_model as load_model
    from segpipe.configuration import MODELS as MODELS, Configuration as Configuration, LabelSet as LabelSet
    from segpipe.data import DATASETS as DATASETS, load_dataset as load_dataset
    from segpipe.errors import SegpipeError as SegpipeError
    from segpipe.evaluation import evaluate as evaluate
    from segpipe.exporters import export as export
    from segpipe.hub import Hub as Hub, ModelFolder as ModelFolder, publish as publish
    from segpipe.names import Tasks as Tasks
    from segpipe.pipelines import PIPELINES as PIPELINES, Segmentation as Segmentation, pipeline as pipeline
    from segpipe.trainers import TRAINERS as TRAINERS, build_trainer as build_trainer
