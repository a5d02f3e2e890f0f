"""`segpipe models`, the presets as a table and one model in detail, and `segpipe config`, configuration.json."""

from __future__ import annotations

import argparse
import json
import os
from itertools import groupby
from pathlib import Path
from typing import Any

from segpipe.checkpoints import find_configuration, find_folder
from segpipe.configuration import (
    Configuration,
    LabelSet,
    TrainConfig,
    describe_inference,
    describe_preprocessing,
    describe_scores,
    encode_configuration,
    json_schema,
    load_preset,
    model_type,
    override,
    preset_names,
    read_configuration,
    to_document,
)
from segpipe.hub import Hub, has_weights, is_bundled, is_preset, locate_weights, trained_model
from segpipe.models import num_parameters
from segpipe.names import Tasks
from segpipe.text import Align, format_columns, format_fields, format_table

from .parsing import Command, add_action, add_actions, run_action
from .printing import print_json_text, print_result
from .shared_options import add_json, add_set

MODELS_EXAMPLES = """  segpipe models list
  segpipe models info segformer-b0-cocostuff
  segpipe models info ./my-model --json"""
CONFIG_EXAMPLES = """  segpipe config schema > segpipe.schema.json
  segpipe config show segformer-b0-camvid --set train.batch_size=4 > my.json
  segpipe config check my.json"""
_ALIGNS: tuple[Align, ...] = ("left", "right", "right", "right", "left", "left")
_HEADER = ("", "size", "mIoU", "mIoU+", "licence", "from")
_SOURCES = {"modelscope": "MS", "hf": "HF", "package": "own", "file": "disk"}
_LEGEND = """size: millions of parameters; mIoU: as published, in %; mIoU+: the same with
several scales and mirrored views; licence: of the weights, *: see models info
from: HF Hugging Face, MS ModelScope, web an address, +: on this disk;
own: comes with segpipe; none: no public weights, it is trained from scratch"""


def add_models_arguments(parser: argparse.ArgumentParser) -> None:
    actions = add_actions(parser)
    add_json(add_action(actions, "list", "all models that segpipe knows by name", list_models))
    info = add_action(actions, "info", "what a model is: network, classes, licence, scores", show_model)
    info.add_argument("name", metavar="NAME", help="a preset, a folder, or a model in the cache")
    add_json(info)


def list_models(options: argparse.Namespace) -> int:
    cached = Hub().cached()
    rows = [(name, load_preset(name), locate_weights(load_preset(name), cached)) for name in preset_names()]
    documents = [_row_document(*row) for row in rows]
    rows.sort(key=lambda row: (not is_bundled(row[1]), *_rank(row[1]), row[0]))
    cells = [(name, *_cells(configuration, place)) for name, configuration, place in rows]
    header, *lines = format_table([_HEADER, *cells], _ALIGNS).splitlines()
    text = [header]
    for title, members in groupby(zip(rows, lines, strict=True), key=lambda pair: _group_title(pair[0][1])):
        text += [title, *(line for _, line in members)]
    print_result(options, documents, "\n".join([*text, "", _LEGEND]))
    return 0


def show_model(options: argparse.Namespace) -> int:
    name = options.name
    configuration = find_configuration(name)
    place = locate_weights(configuration, Hub().cached()) if is_preset(name) else find_folder(name).path
    text = f"{name}\n{format_fields(_info_fields(configuration, place))}"
    if configuration.labels is not None:
        cells = format_columns(_class_cells(configuration.labels))
        text += f"\n\n{len(configuration.labels.names)} classes\n{cells}"
    document = {**_row_document(name, configuration, place), "configuration": to_document(configuration)}
    print_result(options, document, text)
    return 0


def _dataset(configuration: Configuration) -> str:
    """Return data set and split of the published score."""
    scores = configuration.weights.scores if configuration.weights else None
    return scores.dataset if scores else configuration.dataset.type if configuration.dataset else "other"


def _rank(configuration: Configuration) -> tuple[bool, str, str, float]:
    """Return the key of the list's order: segmentation first, then family, data set, and the best score first."""
    is_other = configuration.task != Tasks.image_segmentation
    return is_other, model_type(configuration.model), _dataset(configuration), -(_best_miou(configuration) or 0.0)


def _best_miou(configuration: Configuration) -> float | None:
    """Return the published mIoU at one scale, else that with several."""
    scores = configuration.weights.scores if configuration.weights else None
    if scores is None:
        return None
    return scores.miou_multiscale if scores.miou is None else scores.miou


def _group_title(configuration: Configuration) -> str:
    return f"{model_type(configuration.model)}, {_dataset(configuration)}, {_num_classes(configuration)} classes"


def _num_classes(configuration: Configuration) -> int:
    return len(configuration.labels.names) if configuration.labels else configuration.model.num_classes


def _cells(configuration: Configuration, place: Path | None) -> tuple[str, str, str, str, str]:
    weights = configuration.weights
    scores = weights.scores if weights else None
    return (
        _short_size(configuration),
        _percent(scores.miou if scores else None),
        _percent(scores.miou_multiscale if scores else None),
        _short_licence(weights.licence if weights else None),
        _source_cell(configuration, place),
    )


def _percent(figure: float | None) -> str:
    return "" if figure is None else f"{figure:.1f}"


def _source_cell(configuration: Configuration, place: Path | None) -> str:
    if configuration.weights is None or configuration.weights.source is None:
        return "none"
    source = _SOURCES.get(configuration.weights.source.partition(":")[0], "web")
    return source if place is None or is_bundled(configuration) else f"{source} +"


def _short_size(configuration: Configuration) -> str:
    millions = num_parameters(configuration.model) / 1e6
    return f"{millions:.1f}" if millions < 100 else f"{millions:.0f}"


def _short_licence(licence: str | None) -> str:
    """Return one word for a table; a star where the text says more about commercial use than the word does."""
    if not licence:
        return "unknown"
    if "(non-commercial)" in licence:
        return "non-commercial"
    name = licence.replace(";", ",").partition(",")[0]
    return f"{name}*" if name != licence else name


def _row_document(name: str, configuration: Configuration, place: Path | None) -> dict[str, Any]:
    weights = configuration.weights
    scores = weights.scores if weights else None
    return {
        "name": name,
        "family": model_type(configuration.model),
        "dataset": _dataset(configuration),
        "num_classes": _num_classes(configuration),
        "parameters": num_parameters(configuration.model),
        "miou": scores.miou if scores else None,
        "miou_multiscale": scores.miou_multiscale if scores else None,
        "licence": weights.licence if weights else None,
        "source": weights.source if weights else None,
        "path": str(place) if place else None,
    }


def _info_fields(configuration: Configuration, place: Path | None) -> list[tuple[str, str]]:
    model, weights = configuration.model, configuration.weights
    kind = f"{model_type(model)} {model.variant}, {num_parameters(model) / 1e6:.1f} M parameters"
    fields = [
        ("network", f"{kind}, {model.num_classes} outputs"),
        ("preprocessing", describe_preprocessing(configuration)),
    ]
    if configuration.task == Tasks.image_segmentation:
        fields.append(("inference", describe_inference(configuration.inference)))
    if weights is not None:
        revision = f"@{weights.revision}" if weights.revision else ""
        source = f"{weights.source}{revision}" if weights.source else "none; it is trained from scratch"
        fields += [("source", source), ("licence", weights.licence or "unknown")]
    if weights is not None and weights.scores is not None:
        fields.append(("scores", describe_scores(weights.scores)))
    if weights is not None and weights.note:
        fields.append(("note", weights.note))
    if configuration.train is not None:
        fields.append(("recipe", _recipe(configuration.train)))
    if place is None and not has_weights(configuration):
        return fields
    return [*fields, ("on this disk", str(place) if place else "no; it is downloaded when it is first used")]


def _recipe(train: TrainConfig) -> str:
    length = f"{train.max_steps} steps" if train.max_steps else f"{train.max_epochs} epochs"
    parts = (train.optimizer, train.schedule, train.loss)
    optimizer, schedule, loss = (str(part.__struct_config__.tag).replace("_", " ") for part in parts)
    return (
        f"{length}, batches of {train.batch_size}, {optimizer} with a learning rate of {train.optimizer.lr:g}, "
        f"{schedule} schedule, {loss}, {train.precision}"
    )


def _class_cells(labels: LabelSet) -> list[str]:
    """Return index, color (where the model has its own) and name of each class."""
    colors = [f"#{red:02x}{green:02x}{blue:02x}" for red, green, blue in labels.palette or ()]
    if not colors:
        return [f"{index:3} {name}" for index, name in enumerate(labels.names)]
    return [f"{index:3} {color} {name}" for index, (color, name) in enumerate(zip(colors, labels.names, strict=True))]


def add_config_arguments(parser: argparse.ArgumentParser) -> None:
    actions = add_actions(parser)
    add_action(actions, "schema", "the JSON Schema, for editors", print_schema)
    show = add_action(actions, "show", "a model's whole configuration", show_configuration)
    show.add_argument("name", metavar="NAME", help="a preset, a folder, or a model in the cache")
    add_set(show)
    check = add_action(actions, "check", "read a file strictly and say what is wrong", check_file)
    check.add_argument("file", metavar="FILE", type=Path, help="a configuration.json, or its folder")
    add_json(check)


def print_schema(options: argparse.Namespace) -> int:
    print(json.dumps(json_schema(), indent=2))
    return 0


def show_configuration(options: argparse.Namespace) -> int:
    configuration = override(find_configuration(options.name), options.set)
    print_json_text(encode_configuration(configuration).decode().rstrip("\n"))
    return 0


def check_file(options: argparse.Namespace) -> int:
    path = trained_model(options.file) / "configuration.json" if os.path.isdir(options.file) else options.file
    configuration = read_configuration(path)
    document = {"path": str(path), "sections": sorted(to_document(configuration))}
    print_result(options, document, f"{path} is right: {_description(configuration)}.")
    return 0


def _description(configuration: Configuration) -> str:
    model = configuration.model
    names = f", {len(configuration.labels.names)} names" if configuration.labels else ""
    recipe = ", with a training recipe" if configuration.train else ""
    return f"{model_type(model)} {model.variant}, {model.num_classes} classes{names}{recipe}"


COMMANDS = {
    "models": Command(add_models_arguments, run_action, MODELS_EXAMPLES),
    "config": Command(add_config_arguments, run_action, CONFIG_EXAMPLES),
}
