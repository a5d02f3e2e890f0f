"""Find model folders of any library by name, and read their settings in our words."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, NamedTuple

from segpipe.configuration import MODELS, Configuration, Dialect, load_preset, read_json
from segpipe.errors import ConfigurationError, OfflineError
from segpipe.hub import Hub, ModelFolder, is_preset

from .easycv import configuration_from_easycv, is_easycv
from .huggingface import CONFIG_FILE, PREPROCESSOR_FILE, configuration_from_huggingface

OWN_FILE = "configuration.json"


def download(name: str, *, revision: str | None = None, refresh: bool = False) -> ModelFolder:
    """Return the folder that a model's name stands for. What is cached is used without asking; `refresh` asks."""
    return resolve_folder(name, revision, refresh=refresh)


def resolve_folder(
    source: str | Path | ModelFolder,
    revision: str | None = None,
    *,
    refresh: bool = False,
    cache_dir: str | Path | None = None,
    offline: bool | None = None,
) -> ModelFolder:
    """Return the folder that a source stands for, in the names that its tensors have; see `Hub` and `Hub.resolve`."""
    if isinstance(source, ModelFolder):
        return source
    return build_hub(cache_dir, offline).resolve(source, revision, refresh=refresh)


def find_configuration(name: str) -> Configuration:
    """Return what a preset, a folder or a cached model says of itself. Nothing is downloaded."""
    if is_preset(name):
        return load_preset(name)
    return find_folder(name).configuration


def find_folder(name: str) -> ModelFolder:
    """Return the folder of a model that is on this disk.

    Raises:
        OfflineError: it is not.
    """
    try:
        return build_hub(offline=True).resolve(name)
    except OfflineError:
        raise OfflineError(f"{name} is not in the cache. Run segpipe download {name} first.") from None


def build_hub(cache_dir: str | Path | None = None, offline: bool | None = None) -> Hub:
    """Return a hub that opens folders of other libraries, too."""
    return Hub(cache_dir, offline, read_foreign=read_foreign_settings)


class ForeignSettings(NamedTuple):
    """What another library's folder says, in our words."""

    configuration: Configuration
    dialect: Dialect
    """Whose names the tensors in the folder have."""


def read_foreign_settings(folder: Path) -> ForeignSettings | None:
    """Read the settings of another library's folder.

    The documents are read as data: `plugins`, `allow_remote`, `auto_map` and the like are ignored.

    Returns:
        None where the folder is our own, or has no document of a library that segpipe reads.

    Raises:
        ConfigurationError: names the key that asks for something that segpipe does not have.
    """
    own = folder / OWN_FILE
    document = read_json(own) if os.path.isfile(own) else None
    if is_easycv(document):
        return ForeignSettings(configuration_from_easycv(document, origin=str(own)), "easycv")
    if _is_own(document):
        return None
    # ModelScope's mirrors of Hugging Face models have a short configuration.json beside config.json.
    if os.path.isfile(folder / CONFIG_FILE):
        return ForeignSettings(_read_huggingface(folder), "huggingface")
    model_type = _model_type(document)
    if model_type is not None:
        raise ConfigurationError(
            f"{own}: model.type: {model_type!r} is not a model that segpipe reads; allowed are "
            f"{', '.join(MODELS)} in its own folders and Segformer in EasyCV's. Use a SegFormer model."
        )
    return None


def _model_type(document: Any) -> Any:
    model = document.get("model") if isinstance(document, dict) else None
    return model.get("type") if isinstance(model, dict) else None


def _is_own(document: Any) -> bool:
    return isinstance(document, dict) and ("format_version" in document or _model_type(document) in MODELS)


def _read_huggingface(folder: Path) -> Configuration:
    config, preprocessor = folder / CONFIG_FILE, folder / PREPROCESSOR_FILE
    return configuration_from_huggingface(
        read_json(config),
        read_json(preprocessor) if os.path.isfile(preprocessor) else {},
        origin=str(config),
        preprocessor_origin=str(preprocessor),
    )
