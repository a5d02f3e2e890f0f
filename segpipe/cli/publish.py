"""`segpipe publish`: a model folder to a hub."""

from __future__ import annotations

import argparse
from pathlib import Path

from segpipe.hub import publish

from .parsing import add_json
from .printing import print_json

EXAMPLES = """  SEGPIPE_HUB=/srv/models segpipe publish runs/street/best team/street
  segpipe publish my-model file:///srv/models/team/street --revision v2"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folder", metavar="FOLDER", type=Path, help="what training or segpipe convert wrote")
    parser.add_argument(
        "name", metavar="NAME", help="owner/name on the hub SEGPIPE_HUB, or a directory: ./models/owner/name, file:///…"
    )
    parser.add_argument("--revision", help="default: main")
    add_json(parser)


def run(options: argparse.Namespace) -> int:
    name = publish(options.folder, options.name, revision=options.revision)
    if options.json:
        print_json({"name": name})
        return 0
    print(name)
    return 0
