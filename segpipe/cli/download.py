"""`segpipe download`: a model into the cache."""

from __future__ import annotations

import argparse
import os

from segpipe.hub import ModelFolder, download
from segpipe.text import format_bytes

from .parsing import add_json
from .printing import print_json

EXAMPLES = """  segpipe download segformer-b2-cocostuff
  segpipe download hf:owner/name --revision main --refresh"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", metavar="NAME", help="a preset, owner/name, modelscope:…, hf:…, https://… or file:///…")
    parser.add_argument("--revision", help="branch, tag or commit")
    parser.add_argument("--refresh", action="store_true", help="ask the source whether the cached one is still current")
    add_json(parser)


def run(options: argparse.Namespace) -> int:
    folder = download(options.name, revision=options.revision, refresh=options.refresh)
    weights = folder.require_weights()
    size = folder_size(folder)
    if options.json:
        print_json({"path": str(folder.path), "size": size, "revision": folder.revision, "weights": str(weights)})
        return 0
    print(f"{folder.path}  {format_bytes(size)}")
    return 0


def folder_size(folder: ModelFolder) -> int:
    """Bytes of the model's files; of the weights alone for a model that came with segpipe."""
    if folder.weights is not None and not os.path.isfile(folder.path / "manifest.json"):
        return folder.weights.stat().st_size
    return sum(path.stat().st_size for path in folder.path.rglob("*") if os.path.isfile(path))
