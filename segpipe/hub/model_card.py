"""Make a model folder of weights: configuration.json, the card with labels, license and scores, the manifest."""

from __future__ import annotations

import fnmatch
import json
import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from segpipe.atomic import MANIFEST_NAME, storage_errors, write_atomically
from segpipe.configuration import (
    describe_inference,
    describe_multiscale,
    describe_preprocessing,
    model_type,
    write_configuration,
)
from segpipe.errors import ModelFolderError
from segpipe.files import absolute_path
from segpipe.text import markdown_code, markdown_text

from .folder import CARD_NAME, CONFIGURATION_NAME, WEIGHTS_NAME, ModelFolder
from .manifest import build_manifest, write_manifest

if TYPE_CHECKING:
    from segpipe.configuration import Configuration, PublishedScores

FOLDER_FILES = (CONFIGURATION_NAME, WEIGHTS_NAME, CARD_NAME, "LICENSE*", "NOTICE*", "log.jsonl", "curves.png")
"""What a model folder consists of, with the log of its training. Other files beside them, say checkpoints, are not."""
LICENSES = {
    *("afl-3.0", "agpl-3.0", "apache-2.0", "bsd", "bsd-2-clause", "bsd-3-clause", "bsl-1.0", "cc0-1.0", "cc-by-3.0"),
    *("cc-by-4.0", "cc-by-nc-4.0", "cc-by-nc-nd-4.0", "cc-by-nc-sa-4.0", "cc-by-sa-4.0", "epl-2.0", "gpl-2.0"),
    *("gpl-3.0", "isc", "lgpl-2.1", "lgpl-3.0", "mit", "mpl-2.0", "openrail", "unlicense"),
}
"""Names that Hugging Face and ModelScope know; Hugging Face refuses a card with another."""
OTHER_LICENSE = "other"
_MAX_LABELS = 200
_TAGS = {"image-segmentation": "semantic-segmentation"}


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
    folder = Path(path)
    if not os.path.isfile(folder / WEIGHTS_NAME):
        raise ModelFolderError(
            f"{folder} has no {WEIGHTS_NAME}. Write the weights first, then seal the folder.", path=folder
        )
    sealed = _with_own_weights(configuration)
    with storage_errors(folder):
        (folder / MANIFEST_NAME).unlink(missing_ok=True)
        write_configuration(sealed, folder / CONFIGURATION_NAME)
        own_name = absolute_path(folder, error=ModelFolderError).name
        if not os.path.exists(folder / CARD_NAME):  # one that is there may be written by hand
            card = card_text(sealed, name or own_name, place or name or place_in_card(folder))
            write_atomically(folder / CARD_NAME, card.encode())
        manifest = build_manifest(folder, folder_files(folder))
        source = sealed.weights.source if sealed.weights else None
        write_manifest(folder, replace(manifest, source=source, revision=revision))
    return ModelFolder.open(folder, name=name, revision=revision)


def folder_files(folder: Path) -> list[str]:
    """Return the names of those files of a folder that are part of the model folder."""
    names = [entry.name for entry in os.scandir(folder) if entry.is_file()]
    return [name for name in names if any(fnmatch.fnmatchcase(name, pattern) for pattern in FOLDER_FILES)]


def card_text(configuration: Configuration, name: str, place: str | None = None) -> str:
    """Return Markdown with the front matter that ModelScope and Hugging Face read.

    Args:
        configuration: of the model.
        name: what the card calls it.
        place: by which its code finds it, see `place_in_card`. If None, by its name.
    """
    sections = (
        _front_matter(configuration),
        f"# {markdown_text(name)}",
        _summary(configuration),
        _usage(configuration, name if place is None else place),
        _scores(configuration),
        _origin(configuration),
        _labels(configuration),
    )
    return "\n\n".join(section for section in sections if section) + "\n"


def place_in_card(folder: str | Path) -> str:
    """Return the path by which the code in a card finds its folder: as it was given, unless it is absolute.

    Absolute paths tell of the machine, and a card is published: then the code is for the folder itself.
    """
    path = Path(folder)
    return "." if path.is_absolute() or ".." in path.parts else path.as_posix()


def license_id(license: str) -> str:
    """Return a license by the name that hubs know it by, or "other"."""
    return license.lower() if license.lower() in LICENSES else OTHER_LICENSE


def _with_own_weights(configuration: Configuration) -> Configuration:
    if configuration.weights is None:
        return configuration
    weights = msgspec.structs.replace(configuration.weights, file=WEIGHTS_NAME, sha256=None, dialect="segpipe")
    return msgspec.structs.replace(configuration, weights=weights)


def _front_matter(configuration: Configuration) -> str:
    lines = [
        f"pipeline_tag: {configuration.task}",
        "library_name: segpipe",
        f"frameworks: [{configuration.framework}]",
        f"tags: [{_TAGS.get(configuration.task, configuration.task)}, segpipe]",
    ]
    license = configuration.weights.licence if configuration.weights else None
    if license:
        known = license_id(license)
        lines.append(f"license: {known}")
        if known == OTHER_LICENSE:
            # A JSON text is a YAML text as well, whatever the license is called.
            lines.append(f"license_name: {json.dumps(license)}")
    return "\n".join(["---", *lines, "---"])


def _summary(configuration: Configuration) -> str:
    model = configuration.model
    kind = model_type(model)
    size = f"{markdown_text(model.variant)} with {model.num_classes} classes"
    return f"{kind} {size}, for {configuration.task}, in segpipe's format."


def _usage(configuration: Configuration, place: str) -> str:
    seen_from = "in this folder" if place == "." else "where the model was made"
    code = (
        "from segpipe import pipeline\n\n"
        f"# {seen_from}; elsewhere give the path of this folder, or the name or URL under which it is published\n"
        f"predict = pipeline({json.dumps(configuration.task)}, {json.dumps(place)})\n"
        'result = predict("image.jpg")\n'
        "print(result)"
    )
    return f"## Use\n\n```python\n{code}\n```"


def _scores(configuration: Configuration) -> str:
    scores = configuration.weights.scores if configuration.weights else None
    if scores is None:
        return ""
    rows = [
        ("mIoU", scores.miou),
        ("mIoU, several scales and mirrored views", scores.miou_multiscale),
        ("pixel accuracy", scores.pixel_accuracy),
    ]
    table = [f"| {label} | {value:.2f} |" for label, value in rows if value is not None]
    return "\n\n".join(
        part
        for part in (
            "## Scores",
            f"On {markdown_text(scores.dataset)}, in percent.",
            "\n".join(["| score | value |", "| --- | --- |", *table]),
            markdown_text(_how_measured(configuration, scores)),
        )
        if part
    )


def _how_measured(configuration: Configuration, scores: PublishedScores) -> str:
    if scores.reported_by is None:
        return scores.how or ""
    several = describe_multiscale(scores.multiscale) if scores.multiscale else ""
    sentences = [
        f"As reported by {scores.reported_by}.",
        f"Preprocessing: {describe_preprocessing(configuration)}.",
        f"Inference: {describe_inference(configuration.inference)}.",
        f"Several scales: {several}." if several else "",
        scores.how or "",
    ]
    return " ".join(sentence for sentence in sentences if sentence)


def _origin(configuration: Configuration) -> str:
    weights = configuration.weights
    if weights is None or weights.source is None:
        return ""
    revision = f" at revision {markdown_code(weights.revision)}" if weights.revision else ""
    license = markdown_text(weights.licence) if weights.licence else "not stated; ask the owner of the source"
    return f"## Source and license\n\nWeights from {markdown_code(weights.source)}{revision}. License: {license}."


def _labels(configuration: Configuration) -> str:
    if configuration.labels is None:
        return ""
    names = configuration.labels.names
    rows = [f"| {index} | {markdown_text(label)} |" for index, label in enumerate(names[:_MAX_LABELS])]
    rest = f"\n\nand {len(names) - _MAX_LABELS} more, see configuration.json." if len(names) > _MAX_LABELS else ""
    ignored = f"Label value {configuration.labels.ignore_index} is ignored."
    return "\n".join([f"## Classes\n\n{ignored}\n\n| index | class |", "| --- | --- |", *rows]) + rest
