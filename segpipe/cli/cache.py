"""`segpipe cache`: what the cache holds, whether it is intact, and making it smaller."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from datetime import datetime, timedelta, timezone

from segpipe.hub import CachedModel, Hub, Pruned
from segpipe.text import format_bytes, format_fields, format_table

from .parsing import add_action, add_actions, add_json, days, whole_number
from .printing import print_json

EXAMPLES = """  segpipe cache list
  segpipe cache prune --unused-for 30
  segpipe cache remove segformer-b0-cocostuff"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
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


def run(options: argparse.Namespace) -> int:
    return int(options.action(options))


def list_cache(options: argparse.Namespace) -> int:
    """Every folder in the cache."""
    models = Hub().cached()
    if options.json:
        print_json([_document(model) for model in models])
        return 0
    home = Hub().cache.home
    if not models:
        print(f"The cache {home} is empty.")
        return 0
    total = sum(model.size for model in models)
    print(f"{home}: {format_bytes(total)}")
    rows = [("model", "revision", "size", "used"), *map(_row, models)]
    print(format_table(rows, ("left", "left", "right", "right")))
    return 0


def verify_cache(options: argparse.Namespace) -> int:
    """Hash everything again."""
    checked = Hub().verify()
    damaged = [check for check in checked if check.problems]
    if options.json:
        print_json(
            [{**_document(check.model), "problems": [str(problem) for problem in check.problems]} for check in checked]
        )
        return 1 if damaged else 0
    for check in damaged:
        problems = "; ".join(str(problem) for problem in check.problems)
        print(f"{check.model.source}\n{format_fields([('path', str(check.model.path)), ('problem', problems)])}")
    intact = len(checked) - len(damaged)
    print(f"{intact} of {len(checked)} intact.{_advice(damaged[0].model) if damaged else ''}")
    return 1 if damaged else 0


def prune_cache(options: argparse.Namespace) -> int:
    """Remove leftovers and what the arguments say."""
    unused_for = None if options.unused_for is None else timedelta(days=options.unused_for)
    return _print_pruned(Hub().prune(unused_for=unused_for, keep_last=options.keep_last), options)


def remove_model(options: argparse.Namespace) -> int:
    """Remove one model."""
    return _print_pruned(Hub().remove(options.name, options.revision), options)


def print_path(options: argparse.Namespace) -> int:
    """The cache folder."""
    home = str(Hub().cache.home)
    if options.json:
        print_json({"path": home})
    else:
        print(home)
    return 0


def _document(model: CachedModel) -> dict[str, object]:
    return {
        "source": model.source,
        "kind": model.kind,
        "revisions": list(model.revisions),
        "size": model.size,
        "last_used": model.last_used.isoformat(timespec="seconds"),
        "path": str(model.path),
    }


def _row(model: CachedModel) -> Sequence[str]:
    revisions = ", ".join(model.revisions) or ("converted" if model.kind == "converted" else "none")
    return (model.source, revisions, format_bytes(model.size), _age(model.last_used))


def _age(moment: datetime) -> str:
    days = (datetime.now(timezone.utc) - moment).days
    return "today" if days < 1 else "yesterday" if days == 1 else f"{days} days ago"


def _advice(model: CachedModel) -> str:
    if model.kind == "converted":
        return f" Remove {model.path}; it is converted again when it is next used."
    return f" Run segpipe cache remove {model.source}; it is downloaded again when it is next used."


def _print_pruned(pruned: Pruned, options: argparse.Namespace) -> int:
    if options.json:
        print_json({"paths": [str(path) for path in pruned.paths], "size": pruned.size})
        return 0
    for path in pruned.paths:
        print(path)
    print(f"Removed {format_bytes(pruned.size)}." if pruned.paths else "There was nothing to remove.")
    return 0
