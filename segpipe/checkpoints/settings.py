"""Configurations in other libraries' files: a ModelScope (EasyCV) folder, a Hugging Face folder."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path
from typing import Any, get_args

from segpipe.configuration import Configuration, Dialect, ModelConfig, build_configuration, read_json, to_document
from segpipe.errors import ConfigurationError

from .easycv_settings import configuration_from_easycv
from .huggingface_settings import configuration_from_huggingface

OWN_FILE = "configuration.json"
HUGGINGFACE_FILE = "config.json"
HUGGINGFACE_PREPROCESSOR_FILE = "preprocessor_config.json"
_OWN_MODEL_TYPES = tuple(section.__struct_config__.tag for section in get_args(ModelConfig))


@dataclasses.dataclass(frozen=True)
class ForeignConfiguration:
    """What another library's folder says, in our words."""

    configuration: Configuration
    dialect: Dialect
    """Whose names the tensors in the folder have."""


def read_foreign_configuration(folder: Path) -> ForeignConfiguration | None:
    """The configuration of another library's folder; None when there is none, or when the folder is our own.

    The documents are read as data: `plugins`, `allow_remote`, `auto_map` and the like are ignored.
    ConfigurationError says which key asks for something that segpipe does not have.
    """
    own = folder / OWN_FILE
    document = read_json(own) if os.path.isfile(own) else None
    if _is_easycv(document):
        configuration = configuration_from_easycv(document, origin=str(own))
        return ForeignConfiguration(_checked(configuration, origin=str(own)), "easycv")
    if _is_own(document):
        return None
    # ModelScope's mirrors of Hugging Face models have a short configuration.json beside config.json.
    if os.path.isfile(folder / HUGGINGFACE_FILE):
        configuration = _read_huggingface(folder)
        return ForeignConfiguration(_checked(configuration, origin=str(folder / HUGGINGFACE_FILE)), "huggingface")
    if document is not None:
        _refuse_other_model(document, origin=str(own))
    return None


def _checked(configuration: Configuration, *, origin: str) -> Configuration:
    """The same configuration, its sizes held against the limits that our own documents have."""
    return build_configuration(to_document(configuration), origin=f"{origin} in segpipe's words")


def _model_type(document: Any) -> Any:
    model = document.get("model") if isinstance(document, dict) else None
    return model.get("type") if isinstance(model, dict) else None


def _is_easycv(document: Any) -> bool:
    model = document.get("model") if isinstance(document, dict) else None
    return isinstance(model, dict) and ("decode_head" in model or model.get("type") == "Segformer")


def _is_own(document: Any) -> bool:
    return isinstance(document, dict) and ("format_version" in document or _model_type(document) in _OWN_MODEL_TYPES)


def _read_huggingface(folder: Path) -> Configuration:
    config, preprocessor = folder / HUGGINGFACE_FILE, folder / HUGGINGFACE_PREPROCESSOR_FILE
    return configuration_from_huggingface(
        read_json(config),
        read_json(preprocessor) if os.path.isfile(preprocessor) else {},
        origin=str(config),
        preprocessor_origin=str(preprocessor),
    )


def _refuse_other_model(document: Any, *, origin: str) -> None:
    model_type = _model_type(document)
    if model_type is not None:
        raise ConfigurationError(
            f"{origin}: model.type: {model_type!r} is no model that segpipe reads; allowed are "
            f"{', '.join(_OWN_MODEL_TYPES)} in its own folders and Segformer in EasyCV's. Use a SegFormer model."
        )
