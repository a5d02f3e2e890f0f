"""Making a folder with weights a whole model folder: configuration.json, card, and the manifest last."""

from __future__ import annotations

import fnmatch
import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from segpipe.atomic import MANIFEST_NAME, storage_errors
from segpipe.errors import ModelFolderError
from segpipe.files import absolute_path

from .card import place_in_card, write_card
from .folder import CARD_NAME, CONFIGURATION_NAME, WEIGHTS_NAME, ModelFolder
from .manifest import build_manifest, write_manifest

if TYPE_CHECKING:
    from segpipe.configuration import Configuration

FOLDER_FILES = (CONFIGURATION_NAME, WEIGHTS_NAME, CARD_NAME, "LICENSE*", "NOTICE*", "log.jsonl", "curves.png")
"""What a model folder consists of, with the log of its training. Other files beside them, say checkpoints, are not."""


def seal_folder(
    path: str | Path,
    configuration: Configuration,
    *,
    name: str | None = None,
    revision: str | None = None,
    place: str | None = None,
) -> ModelFolder:
    """Write configuration.json, a card if there is none, and manifest.json into a folder that has model.safetensors.

    `weights` of the configuration then says where the weights were made from; their dialect is segpipe's.

    Args:
        name: what the card calls the model. If None, the folder's name.
        revision: of the source, for the manifest.
        place: by which the card's code finds the model. If None, `name`, and without one the folder's path.
    """
    from segpipe.configuration import write_configuration

    folder = Path(path)
    if not os.path.isfile(folder / WEIGHTS_NAME):
        raise ModelFolderError(f"{folder} has no {WEIGHTS_NAME}. Write the weights first, then seal the folder.")
    sealed = _with_own_weights(configuration)
    with storage_errors(folder):
        (folder / MANIFEST_NAME).unlink(missing_ok=True)
        write_configuration(sealed, folder / CONFIGURATION_NAME)
        own_name = absolute_path(folder, error=ModelFolderError).name
        write_card(folder, sealed, name or own_name, place or name or place_in_card(folder))
        manifest = build_manifest(folder, folder_files(folder))
        source = sealed.weights.source if sealed.weights else None
        write_manifest(folder, replace(manifest, source=source, revision=revision))
    return ModelFolder.open(folder, name=name, revision=revision)


def folder_files(folder: Path) -> list[str]:
    """The names of those files of a folder that are part of the model folder."""
    names = [entry.name for entry in os.scandir(folder) if entry.is_file()]
    return [name for name in names if any(fnmatch.fnmatchcase(name, pattern) for pattern in FOLDER_FILES)]


def _with_own_weights(configuration: Configuration) -> Configuration:
    import msgspec

    if configuration.weights is None:
        return configuration
    weights = msgspec.structs.replace(configuration.weights, file=WEIGHTS_NAME, sha256=None, dialect="segpipe")
    return msgspec.structs.replace(configuration, weights=weights)
