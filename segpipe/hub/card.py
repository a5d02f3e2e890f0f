"""The card of a model folder: README.md with labels, licence, scores, source and how to load it."""

from __future__ import annotations

import json
import os
from pathlib import Path

from segpipe.atomic import write_atomically
from segpipe.configuration import (
    Configuration,
    PublishedScores,
    describe_inference,
    describe_multiscale,
    describe_preprocessing,
    model_type,
)
from segpipe.text import markdown_code, markdown_text

from .folder import CARD_NAME

_MAX_LABELS = 200
_TAGS = {"image-segmentation": "semantic-segmentation"}


def write_card(folder: Path, configuration: Configuration, name: str, place: str | None = None) -> None:
    """Write README.md; one that is there already is somebody's work and stays."""
    path = folder / CARD_NAME
    if not os.path.exists(path):
        write_atomically(path, card_text(configuration, name, place).encode())


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


def _front_matter(configuration: Configuration) -> str:
    lines = [
        f"pipeline_tag: {configuration.task}",
        "library_name: segpipe",
        f"frameworks: [{configuration.framework}]",
        f"tags: [{_TAGS.get(configuration.task, configuration.task)}, segpipe]",
    ]
    licence = configuration.weights.licence if configuration.weights else None
    if licence:
        # A JSON text is a YAML text as well, whatever the licence is called.
        lines.append(f"license: {json.dumps(licence.lower() if ' ' not in licence else licence)}")
    return "\n".join(["---", *lines, "---"])


def _summary(configuration: Configuration) -> str:
    model = configuration.model
    kind = model_type(model)
    size = f"{markdown_text(model.variant)} with {model.num_classes} classes"
    return f"{kind} {size}, for {configuration.task}, in segpipe's format."


def place_in_card(folder: str | Path) -> str:
    """Return the path by which the code in a card finds its folder: as it was given, unless it is absolute.

    Absolute paths tell of the machine, and a card is published: then the code is for the folder itself.
    """
    path = Path(folder)
    return "." if path.is_absolute() or ".." in path.parts else path.as_posix()


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
    licence = markdown_text(weights.licence) if weights.licence else "not stated; ask the owner of the source"
    return f"## Source and licence\n\nWeights from {markdown_code(weights.source)}{revision}. Licence: {licence}."


def _labels(configuration: Configuration) -> str:
    if configuration.labels is None:
        return ""
    names = configuration.labels.names
    rows = [f"| {index} | {markdown_text(label)} |" for index, label in enumerate(names[:_MAX_LABELS])]
    rest = f"\n\nand {len(names) - _MAX_LABELS} more, see configuration.json." if len(names) > _MAX_LABELS else ""
    ignored = f"Label value {configuration.labels.ignore_index} is ignored."
    return "\n".join([f"## Classes\n\n{ignored}\n\n| index | class |", "| --- | --- |", *rows]) + rest
