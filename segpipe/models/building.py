"""The registry of networks, and building one from a configuration."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from segpipe.configuration import ModelConfig
from segpipe.registry import Registry

from .contract import SegpipeNetwork
from .mit import MitClassifier
from .segformer import Segformer
from .segmenter import Segmenter
from .unept import Unept

MODELS: Registry[Callable[[Any], SegpipeNetwork]] = Registry("model type")
MODELS.register("segformer")(Segformer)
MODELS.register("mit")(MitClassifier)
MODELS.register("segmenter")(Segmenter)
MODELS.register("unept")(Unept)


def model_type(config: ModelConfig) -> str:
    """The name under which a model section is registered."""
    return str(config.__struct_config__.tag)


def build_model(config: ModelConfig) -> SegpipeNetwork:
    """A network with freshly initialised weights."""
    return MODELS.get(model_type(config))(config)
