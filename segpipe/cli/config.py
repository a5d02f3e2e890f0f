"""`segpipe config`: the schema of configuration.json, whole documents, and a check of one."""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path

from segpipe.configuration import (
    Configuration,
    encode_configuration,
    json_schema,
    override,
    read_configuration,
    to_document,
)
from segpipe.hub import trained_model

from .catalogue import find_configuration
from .parsing import add_action, add_actions, add_json
from .printing import print_json, print_json_text

EXAMPLES = """  segpipe config schema > segpipe.schema.json
  segpipe config show segformer-b0-camvid --set train.batch_size=4 > my.json
  segpipe config check my.json"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    actions = add_actions(parser)
    add_action(actions, "schema", "the JSON Schema, for editors", print_schema)
    show = add_action(actions, "show", "a model's whole configuration", show_configuration)
    show.add_argument("name", metavar="NAME", help="a preset, a folder, or a model in the cache")
    show.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="change a value; may be repeated")
    check = add_action(actions, "check", "read a file strictly and say what is wrong", check_file)
    check.add_argument("file", metavar="FILE", type=Path, help="a configuration.json, or its folder")
    add_json(check)


def run(options: argparse.Namespace) -> int:
    return int(options.action(options))


def print_schema(options: argparse.Namespace) -> int:
    """The JSON Schema of configuration.json."""
    print(json.dumps(json_schema(), indent=2))
    return 0


def show_configuration(options: argparse.Namespace) -> int:
    """A whole document, with changes."""
    configuration = override(find_configuration(options.name), options.set)
    print_json_text(encode_configuration(configuration).decode().rstrip("\n"))
    return 0


def check_file(options: argparse.Namespace) -> int:
    """Read a file; what is wrong is the error's sentence."""
    path = trained_model(options.file) / "configuration.json" if os.path.isdir(options.file) else options.file
    configuration = read_configuration(path)
    if options.json:
        print_json({"path": str(path), "sections": sorted(to_document(configuration))})
        return 0
    print(f"{path} is right: {_described(configuration)}.")
    return 0


def _described(configuration: Configuration) -> str:
    model = configuration.model
    names = f", {len(configuration.labels.names)} names" if configuration.labels else ""
    recipe = ", with a training recipe" if configuration.train else ""
    return f"{type(model).__struct_config__.tag} {model.variant}, {model.num_classes} classes{names}{recipe}"
