"""`segpipe download`, `convert`, `publish` and `cache`: model folders from, to and in other places."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from datetime import datetime, timedelta, timezone
from pathlib import Path

from segpipe import checkpoints
from segpipe.checkpoints import ARCHITECTURES, WRITTEN_DIALECTS, download
from segpipe.hub import CachedModel, Hub, Pruned, folder_bytes, publish
from segpipe.text import format_bytes, format_fields, format_table

from .parsing import Command, UsageError, add_action, add_actions, days, run_action, whole_number
from .printing import print_result
from .shared_options import add_json, add_overwrite

DOWNLOAD_EXAMPLES = """  segpipe download segformer-b2-cocostuff
  segpipe download hf:owner/name --revision main --refresh"""
CONVERT_EXAMPLES = """  segpipe convert iter_160000.pth my-model --labels classes.txt
  segpipe convert hf:owner/name my-model
  segpipe convert weights.safetensors my-model --architecture segformer-b2 --labels road,car
  segpipe convert my-model libai.pth --to-dialect libai"""
PUBLISH_EXAMPLES = """  SEGPIPE_HUB=/srv/models segpipe publish runs/street team/street
  segpipe publish my-model file:///srv/models/team/street --revision v2
  segpipe publish my-model hf:owner/name"""
CACHE_EXAMPLES = """  segpipe cache list
  segpipe cache prune --unused-for 30
  segpipe cache remove segformer-b0-cocostuff"""


def add_download_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", metavar="NAME", help="a preset, owner/name, modelscope:…, hf:…, https://… or file:///…")
    parser.add_argument("--revision", help="branch, tag or commit")
    parser.add_argument("--refresh", action="store_true", help="ask the source whether the cached one is still current")
    add_json(parser)


def run_download(options: argparse.Namespace) -> int:
    folder = download(options.name, revision=options.revision, refresh=options.refresh)
    weights = folder.require_weights()
    size = folder_bytes(folder)
    document = {"path": str(folder.path), "size": size, "revision": folder.revision, "weights": str(weights)}
    print_result(options, document, f"{folder.path}  {format_bytes(size)}")
    return 0


def add_convert_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "source",
        metavar="SOURCE",
        help=".pth, .pt, .ckpt, .bin or .safetensors file, index of several (.index.json), folder or model's name",
    )
    parser.add_argument("to", metavar="TO", type=Path, help="the folder to make; with --to-dialect the file")
    parser.add_argument(
        "--architecture",
        metavar="NAME",
        help=f"default: what the tensors say; else one of {', '.join(ARCHITECTURES)}",
    )
    parser.add_argument("--num-classes", type=whole_number, metavar="K", help="checked against the weights")
    parser.add_argument("--labels", metavar="FILE|A,B,C", help="names: a list, or a file with one a line or JSON")
    parser.add_argument("--preset", metavar="NAME", help="take the whole configuration from this preset")
    parser.add_argument(
        "--to-dialect",
        metavar="NAME",
        help=f"write a .pth or .safetensors file, for huggingface also a folder, in the names of another "
        f"implementation: {', '.join(WRITTEN_DIALECTS)}, of which vit and resnet have the encoder alone",
    )
    add_overwrite(parser)
    add_json(parser)


def run_convert(options: argparse.Namespace) -> int:
    if options.to_dialect is not None:
        return _convert_back(options)
    folder = checkpoints.convert(
        options.source,
        options.to,
        architecture=options.architecture,
        num_classes=options.num_classes,
        labels=options.labels or None,
        preset=options.preset,
        overwrite=options.overwrite,
    )
    model, size = folder.configuration.model, folder_bytes(folder)
    document = {"path": str(folder.path), "size": size, "num_classes": model.num_classes}
    what = f"{model.variant}, {model.num_classes} classes, {format_bytes(size)}"
    print_result(options, document, f"{folder.path}  {what}")
    return 0


def _convert_back(options: argparse.Namespace) -> int:
    if options.architecture or options.num_classes or options.labels or options.preset:
        raise UsageError("With --to-dialect the source says itself what it is. Leave the other options out.")
    path = checkpoints.convert_back(options.source, options.to, dialect=options.to_dialect, overwrite=options.overwrite)
    beside = checkpoints.sidecar_of(path)
    files = [path] if os.path.isfile(path) else list(path.iterdir())
    size = sum(file.stat().st_size for file in files)
    text = f"{path}  in the names of {options.to_dialect}, {format_bytes(size)}"
    if os.path.isfile(path) and os.path.isfile(beside):
        text += f"\n{beside}  its configuration, from which convert makes the same model again"
    print_result(options, {"path": str(path), "size": size, "dialect": options.to_dialect}, text)
    return 0


def add_publish_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folder", metavar="FOLDER", type=Path, help="what training or segpipe convert wrote")
    parser.add_argument(
        "name",
        metavar="NAME",
        help="hf:owner/name, modelscope:owner/name, owner/name on the hub SEGPIPE_HUB, or a directory: "
        "./models/owner/name, file:///…",
    )
    parser.add_argument("--revision", help="default: main, on ModelScope master")
    add_json(parser)


def run_publish(options: argparse.Namespace) -> int:
    name = publish(options.folder, options.name, revision=options.revision)
    print_result(options, {"name": name}, name)
    return 0


def add_cache_arguments(parser: argparse.ArgumentParser) -> None:
    actions = add_actions(parser)
    add_json(add_action(actions, "list", "what is there, the most recently used first", list_cache))
    add_json(add_action(actions, "verify", "hash every file again; exit code 1 when one differs", verify_cache))
    prune = add_action(actions, "prune", "remove what dead downloads left, and more if asked", prune_cache)
    prune.add_argument("--unused-for", type=days, metavar="DAYS", help="remove what was not used for so long")
    prune.add_argument("--keep-last", type=whole_number, metavar="N", help="keep only the N most recently used")
    add_json(prune)
    remove = add_action(actions, "remove", "remove one model", remove_model)
    remove.add_argument("name", metavar="NAME", help="as it was downloaded")
    remove.add_argument("--revision", help="only this one")
    add_json(remove)
    add_json(add_action(actions, "path", "where the cache is", print_path))


def list_cache(options: argparse.Namespace) -> int:
    home, models = Hub().cache.home, Hub().cached()
    rows = [("model", "revision", "size", "used"), *map(_cached_row, models)]
    table = format_table(rows, ("left", "left", "right", "right"))
    listing = f"{home}: {format_bytes(sum(model.size for model in models))}\n{table}"
    print_result(options, [*map(_cached_document, models)], listing if models else f"The cache {home} is empty.")
    return 0


def verify_cache(options: argparse.Namespace) -> int:
    checked = Hub().verify()
    damaged = [check for check in checked if check.problems]
    documents = [{**_cached_document(each.model), "problems": [*map(str, each.problems)]} for each in checked]
    lines = []
    for check in damaged:
        fields = [("path", str(check.model.path)), ("problem", "; ".join(map(str, check.problems)))]
        lines.append(f"{check.model.source}\n{format_fields(fields)}")
    advice = _mend_advice(damaged[0].model) if damaged else ""
    lines.append(f"{len(checked) - len(damaged)} of {len(checked)} intact.{advice}")
    print_result(options, documents, "\n".join(lines))
    return 1 if damaged else 0


def prune_cache(options: argparse.Namespace) -> int:
    unused_for = None if options.unused_for is None else timedelta(days=options.unused_for)
    return _print_pruned(Hub().prune(unused_for=unused_for, keep_last=options.keep_last), options)


def remove_model(options: argparse.Namespace) -> int:
    return _print_pruned(Hub().remove(options.name, options.revision), options)


def print_path(options: argparse.Namespace) -> int:
    home = str(Hub().cache.home)
    print_result(options, {"path": home}, home)
    return 0


def _cached_document(model: CachedModel) -> dict[str, object]:
    return {
        "source": model.source,
        "kind": model.kind,
        "revisions": list(model.revisions),
        "size": model.size,
        "last_used": model.last_used.isoformat(timespec="seconds"),
        "path": str(model.path),
    }


def _cached_row(model: CachedModel) -> Sequence[str]:
    revisions = ", ".join(model.revisions) or ("converted" if model.kind == "converted" else "none")
    return (model.source, revisions, format_bytes(model.size), _age(model.last_used))


def _age(moment: datetime) -> str:
    days = (datetime.now(timezone.utc) - moment).days
    return "today" if days < 1 else "yesterday" if days == 1 else f"{days} days ago"


def _mend_advice(model: CachedModel) -> str:
    if model.kind == "converted":
        return f" Remove {model.path}; it is converted again when it is next used."
    return f" Run segpipe cache remove {model.source}; it is downloaded again when it is next used."


def _print_pruned(pruned: Pruned, options: argparse.Namespace) -> int:
    paths = [str(path) for path in pruned.paths]
    text = "\n".join([*paths, f"Removed {format_bytes(pruned.size)}."]) if paths else "There was nothing to remove."
    print_result(options, {"paths": paths, "size": pruned.size}, text)
    return 0


COMMANDS = {
    "download": Command(add_download_arguments, run_download, DOWNLOAD_EXAMPLES),
    "convert": Command(add_convert_arguments, run_convert, CONVERT_EXAMPLES),
    "publish": Command(add_publish_arguments, run_publish, PUBLISH_EXAMPLES),
    "cache": Command(add_cache_arguments, run_action, CACHE_EXAMPLES),
}
