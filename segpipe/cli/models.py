"""`segpipe models`: the presets as a table, and one model in detail."""

from __future__ import annotations

import argparse
from itertools import groupby
from pathlib import Path
from typing import Any

from segpipe.configuration import Configuration, ExactResize, ShortSideResize, load_preset, preset_names, to_document
from segpipe.hub import Hub

from .catalogue import find_configuration, find_folder, is_bundled, is_preset, locate, num_parameters
from .parsing import add_action, add_actions, add_json
from .printing import Align, format_columns, format_fields, format_table, print_json

EXAMPLES = """  segpipe models list
  segpipe models info segformer-b0-cocostuff
  segpipe models info ./my-model --json"""
_ALIGNS: tuple[Align, ...] = ("left", "right", "right", "left", "left", "left")
_HEADER = ("", "size", "mIoU", "licence", "source", "here")
_SOURCES = {"modelscope": "ModelScope", "hf": "Hugging Face", "package": "segpipe", "file": "a folder"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    actions = add_actions(parser)
    add_json(add_action(actions, "list", "all models that segpipe knows by name", list_models))
    info = add_action(actions, "info", "what a model is: network, classes, licence, scores", show_model)
    info.add_argument("name", metavar="NAME", help="a preset, a folder, or a model in the cache")
    add_json(info)


def run(options: argparse.Namespace) -> int:
    return int(options.action(options))


def list_models(options: argparse.Namespace) -> int:
    """The presets, by data set."""
    cached = Hub().cached()
    rows = [(name, load_preset(name), locate(load_preset(name), cached)) for name in preset_names()]
    if options.json:
        print_json([_row_document(*row) for row in rows])
        return 0
    rows.sort(key=lambda row: (not is_bundled(row[1]), _dataset(row[1]), row[0]))
    cells = [(name, *_cells(configuration, place)) for name, configuration, place in rows]
    lines = format_table([_HEADER, *cells], _ALIGNS).splitlines()
    print(lines[0])
    table = zip(rows, lines[1:], strict=True)
    for title, members in groupby(table, key=lambda pair: _group_title(pair[0][1])):
        print(title)
        print("\n".join(line for _, line in members))
    print("\nsize: parameters; mIoU: as published, in %; *: see segpipe models info NAME")
    return 0


def show_model(options: argparse.Namespace) -> int:
    """One model in detail."""
    name = options.name
    configuration = find_configuration(name)
    place = locate(configuration, Hub().cached()) if is_preset(name) else find_folder(name).path
    if options.json:
        print_json(_info_document(name, configuration, place))
        return 0
    print(f"{name}\n{format_fields(_info_fields(configuration, place))}")
    if configuration.labels is not None:
        print(f"\n{len(configuration.labels.names)} classes\n{format_columns(_class_cells(configuration))}")
    return 0


def _dataset(configuration: Configuration) -> str:
    """Data set and split of the published score."""
    scores = configuration.weights.scores if configuration.weights else None
    return scores.dataset if scores else configuration.dataset.type if configuration.dataset else "other"


def _group_title(configuration: Configuration) -> str:
    return f"{_dataset(configuration)}, {_num_classes(configuration)} classes"


def _num_classes(configuration: Configuration) -> int:
    return len(configuration.labels.names) if configuration.labels else configuration.model.num_classes


def _cells(configuration: Configuration, place: Path | None) -> tuple[str, str, str, str, str]:
    weights = configuration.weights
    miou = weights.scores.miou if weights and weights.scores else None
    here = "built in" if is_bundled(configuration) else "cached" if place else ""
    return (
        _millions(configuration),
        "" if miou is None else f"{miou:.1f}",
        _short_licence(weights.licence if weights else None),
        _SOURCES.get(weights.source.partition(":")[0], "the web") if weights else "",
        here,
    )


def _millions(configuration: Configuration) -> str:
    return f"{num_parameters(configuration.model) / 1e6:.1f} M"


def _short_licence(licence: str | None) -> str:
    """One word for a table; a star where the text says more about commercial use than the word does."""
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
        "dataset": _dataset(configuration),
        "num_classes": _num_classes(configuration),
        "parameters": num_parameters(configuration.model),
        "miou": scores.miou if scores else None,
        "licence": weights.licence if weights else None,
        "source": weights.source if weights else None,
        "path": str(place) if place else None,
    }


def _info_document(name: str, configuration: Configuration, place: Path | None) -> dict[str, Any]:
    row = _row_document(name, configuration, place)
    return {**row, "configuration": to_document(configuration)}


def _info_fields(configuration: Configuration, place: Path | None) -> list[tuple[str, str]]:
    model, weights = configuration.model, configuration.weights
    kind = f"{type(model).__struct_config__.tag} {model.variant}"
    fields = [
        ("network", f"{kind}, {_millions(configuration)} parameters, {model.num_classes} outputs"),
        ("preprocessing", _preprocessing(configuration)),
        ("inference", _inference(configuration)),
    ]
    if weights is not None:
        revision = f"@{weights.revision}" if weights.revision else ""
        fields += [("source", f"{weights.source}{revision}"), ("licence", weights.licence or "unknown")]
    fields += _score_fields(configuration)
    if weights is not None and weights.note:
        fields.append(("note", weights.note))
    return [*fields, ("on this disk", str(place) if place else "no; it is downloaded when it is first used")]


def _score_fields(configuration: Configuration) -> list[tuple[str, str]]:
    scores = configuration.weights.scores if configuration.weights else None
    if scores is None:
        return []
    figures = [("mIoU", scores.miou), ("pixel accuracy", scores.pixel_accuracy)]
    said = ", ".join(f"{name} {figure:.1f} %" for name, figure in figures if figure is not None)
    return [("scores", f"{said} on {scores.dataset}. {scores.how or ''}".strip())]


def _preprocessing(configuration: Configuration) -> str:
    match configuration.preprocessor.resize:
        case ShortSideResize(size=size, max_long_side=longest, library=library):
            limit = f", long side at most {longest}" if longest else ""
            return f"short side to {size} pixels{limit} ({library})"
        case ExactResize(size=(height, width), library=library):
            return f"resized to {height} × {width} ({library})"
    return "none, pictures keep their size"


def _inference(configuration: Configuration) -> str:
    inference = configuration.inference
    text = "the whole picture at once"
    if inference.mode == "slide" and inference.window and inference.stride:
        text = f"windows of {inference.window[0]} × {inference.window[1]}, step {inference.stride[0]}"
    scales = f", scales {', '.join(f'{scale:g}' for scale in inference.scales)}" if inference.scales != (1.0,) else ""
    return f"{text}{scales}{', also mirrored' if inference.flip else ''}, {inference.upsampling} upsampling"


def _class_cells(configuration: Configuration) -> list[str]:
    """Index, colour (where the model has its own) and name."""
    labels = configuration.labels
    assert labels is not None
    colors = [f"#{red:02x}{green:02x}{blue:02x}" for red, green, blue in labels.palette or ()]
    if not colors:
        return [f"{index:3} {name}" for index, name in enumerate(labels.names)]
    return [f"{index:3} {color} {name}" for index, (color, name) in enumerate(zip(colors, labels.names, strict=True))]
