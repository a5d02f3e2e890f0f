"""Train one preset of each family on CamVid by its own recipe, and record whether and how fast it learns.

    python -m benchmarks.families --data FOLDER

from the top of a checkout. benchmarks/README.md explains the figures.
"""

from __future__ import annotations

import argparse
import datetime
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from .family_results import FamiliesResult, FamilyRow, render_families, write_families
from .family_runs import FAMILIES, link_data, train_family
from .results import describe_machine, installed_versions
from .runs import RESULTS, limit_threads, tell


def main(arguments: Sequence[str] | None = None) -> int:
    """Train, write after each family, print; 1 when a loss did not go down."""
    options = parse_arguments(arguments)
    limit_threads(options.threads)
    rows: tuple[FamilyRow, ...] = ()
    with ExitStack() as stack:
        runs = options.runs or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="segpipe-families-")))
        link_data(options.data, runs / "data")
        for family in options.family:
            tell(f"training {family}")
            rows += (train_family(family, runs / "data", runs / family, steps=options.steps),)
            result = _result(rows, options.threads)
            write_families(result, RESULTS / f"{options.name}.json")
    print(render_families(result))
    return int(not all(row.has_learnt for row in rows))


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.families",
        description="Training one preset of each family on CamVid, made small enough for two CPU cores.",
    )
    parser.add_argument("--data", type=Path, required=True, help="CamVid's folder, with train and val; only read")
    parser.add_argument("--family", nargs="+", choices=tuple(FAMILIES), default=list(FAMILIES))
    parser.add_argument("--steps", type=int, help="of each run (default: each family's own, 200 or 250)")
    parser.add_argument("--runs", type=Path, metavar="FOLDER", help="keep the runs here (default: a temporary folder)")
    parser.add_argument("--threads", type=int, default=2, help="default 2")
    parser.add_argument("--name", default="latest-families", help="of the file in benchmarks/results")
    options = parser.parse_args(arguments)
    if options.steps is not None and options.steps < 2:
        parser.error("--steps is 2 or more.")
    if not options.data.is_dir():
        parser.error(f"--data {options.data} is no folder. Name the one that holds CamVid.")
    taken = [family for family in options.family if options.runs and (options.runs / family).exists()]
    if taken:
        parser.error(f"--runs {options.runs} holds a run of {taken[0]} already. Name a new folder.")
    return options


def _result(rows: tuple[FamilyRow, ...], threads: int) -> FamiliesResult:
    return FamiliesResult(
        date=datetime.date.today().isoformat(),
        machine=describe_machine(),
        versions=installed_versions(),
        threads=threads,
        rows=rows,
    )


if __name__ == "__main__":
    raise SystemExit(main())
