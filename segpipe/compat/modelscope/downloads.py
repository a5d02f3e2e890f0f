"""ModelScope's ways to a model's files: a folder on this disk, one file of it, its configuration."""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from segpipe.checkpoints import resolve_folder
from segpipe.configuration import preset_names, to_document
from segpipe.data import modelscope_data
from segpipe.errors import InputError, ModelNotFoundError, UnknownNameError
from segpipe.hub import ModelFolder
from segpipe.log import get_logger as own_logger
from segpipe.names import listing

from .constants import DEFAULT_DATASET_REVISION, ModelFile
from .documents import Config
from .modules import INSTEAD

logger = own_logger(__name__)


def snapshot_download(
    model_id: str | None = None,
    revision: str | None = None,
    cache_dir: str | Path | None = None,
    *,
    repo_id: str | None = None,
    repo_type: str = "model",
    local_dir: str | Path | None = None,
    local_files_only: bool = False,
    **without_effect: Any,
) -> str:
    """Return the folder of a model, fetched on its first use; see `segpipe.download`.

    It holds what a model needs: configuration, card, license and one file of weights. Code is not fetched.

    Args:
        model_id: owner/name on ModelScope, or any other name that `segpipe.download` takes.
        revision: branch, tag or commit.
        cache_dir: instead of SEGPIPE_HOME.
        repo_id: another name for `model_id`.
        repo_type: "model", or "dataset" for the folder of a data set, unpacked.
        local_dir: a folder to copy the files to; it comes back then.
        local_files_only: use what is in the cache, without a request.
        without_effect: ModelScope's other arguments.
    """
    name = model_id or repo_id
    if name is None:
        raise InputError("There is no model_id. Give owner/name.")
    say_ignored("snapshot_download", without_effect)
    offline = True if local_files_only else None
    if repo_type == "dataset":
        folder = modelscope_data(name, revision or DEFAULT_DATASET_REVISION, cache_dir=cache_dir, offline=offline)
    else:
        folder = resolve_folder(name, revision, cache_dir=cache_dir, offline=offline).path
    if local_dir is None:
        return str(folder)
    shutil.copytree(folder, local_dir, dirs_exist_ok=True)
    return str(local_dir)


def model_file_download(
    model_id: str,
    file_path: str,
    revision: str | None = None,
    cache_dir: str | Path | None = None,
    *,
    local_dir: str | Path | None = None,
    local_files_only: bool = False,
    **without_effect: Any,
) -> str:
    """Return the path of one of the files that `snapshot_download` fetches."""
    say_ignored("model_file_download", without_effect)
    folder = snapshot_download(model_id, revision, cache_dir, local_dir=local_dir, local_files_only=local_files_only)
    path = Path(folder, file_path)
    if not os.path.isfile(path):
        held = sorted(each.name for each in Path(folder).iterdir() if os.path.isfile(each))
        raise ModelNotFoundError(
            f"{model_id} has no {file_path!r} that segpipe fetches; it has {listing(held, 8)}. Fetch it by a browser."
        )
    return str(path)


def normalize_model_input(model: Any, model_revision: str | None = None, **_: Any) -> Any:
    """Return the folder of a model that is named, those of a list of names, and anything else as it is."""
    if isinstance(model, str):
        return model if os.path.exists(model) else snapshot_download(model, model_revision)
    if isinstance(model, list):
        return [normalize_model_input(each, model_revision) for each in model]
    return model


def read_config(model_id_or_path: str | Path, revision: str | None = None, **_: Any) -> Config:
    """Return the configuration.json of a model, as its owner wrote it."""
    return configuration_of(resolve_folder(model_id_or_path, revision))


def configuration_of(folder: ModelFolder) -> Config:
    """Return a folder's configuration.json; of a preset and of Hugging Face's, the configuration in ours."""
    path = folder.path / ModelFile.CONFIGURATION
    if folder.name in preset_names() or not os.path.isfile(path):
        return Config(to_document(folder.configuration))
    return Config.from_file(path)


def get_logger(*_: Any, **__: Any) -> logging.Logger:
    """Return segpipe's logger. It has no handler or level of its own; ModelScope's arguments have no effect."""
    return logging.getLogger("segpipe")


def say_ignored(what: str, options: Mapping[str, Any]) -> None:
    """Warn of those of ModelScope's options that were given to a function and have no effect."""
    ignored = sorted(name for name, value in options.items() if value)
    if ignored:
        logger.warning("%s: %s has no effect in segpipe", what, ", ".join(ignored))


def without_ignored(what: str, options: Mapping[str, Any], ignored: Collection[str]) -> dict[str, Any]:
    """Return the options that have an effect; `say_ignored` tells of the others."""
    say_ignored(what, {name: value for name, value in options.items() if name in ignored})
    return {name: value for name, value in options.items() if name not in ignored}


class Model:
    """ModelScope's way to a model by name."""

    @staticmethod
    def from_pretrained(
        model_name_or_path: str | Path, revision: str | None = None, **without_effect: Any
    ) -> ModelFolder:
        """Return the folder of a model, which `pipeline` and `build_trainer` take as their `model`.

        The network is what `segpipe.load_model` gives.
        """
        say_ignored("Model.from_pretrained", without_effect)
        return resolve_folder(model_name_or_path, revision)


class HubApi:
    """ModelScope's client, of which segpipe has `login` alone."""

    def __init__(self, *_: Any, **without_effect: Any) -> None:
        say_ignored("HubApi", without_effect)

    def login(self, access_token: str | None = None, **_: Any) -> None:
        """Use a token from now on in this process, as MODELSCOPE_API_TOKEN does."""
        if access_token:
            os.environ["MODELSCOPE_API_TOKEN"] = access_token

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(f"HubApi has no attribute {name!r}")
        instead = INSTEAD.get(name, "snapshot_download and MsDataset.load fetch models and data sets")
        raise UnknownNameError(f"segpipe's HubApi has no {name!r}; {instead}.")
