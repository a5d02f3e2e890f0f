"""What the commands share: their threads, the line for those who wait, and what becomes of a finished run."""

from __future__ import annotations

import argparse
import datetime
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from .comparison import compare_results
from .results import Result, Row, describe_machine, installed_versions, read_result, write_result
from .tables import disagreements, render_changes, render_result

RESULTS = Path(__file__).parent / "results"
NETWORK_NAMES = ("b0", "b2", "b0-random")


def add_run_options(parser: argparse.ArgumentParser, *, name: str) -> None:
    """What every command takes; `name` is the default of --name."""
    parser.add_argument("--threads", type=int, default=2, help="for both libraries (default 2)")
    parser.add_argument("--name", default=name, help=f"of the file in benchmarks/results (default {name})")
    parser.add_argument("--compare", type=Path, metavar="RESULT.json", help="set the run beside a recorded one")


def add_effort_options(parser: argparse.ArgumentParser) -> None:
    """How long a row may take."""
    parser.add_argument("--rounds", type=int, default=15, help="at most, for each row (default 15)")
    parser.add_argument(
        "--seconds", type=float, default=15.0, help="after which a row begins no new round (default 15)"
    )


def add_network_options(parser: argparse.ArgumentParser, default: Sequence[str]) -> None:
    """Which networks: those made on the spot, and folders."""
    parser.add_argument(
        "--network", nargs="+", choices=NETWORK_NAMES, help=f"default: {' '.join(default)}, none when --model is given"
    )
    parser.add_argument(
        "--model", nargs="+", type=Path, default=[], metavar="FOLDER", help="SegFormers in Hugging Face's format"
    )
    parser.set_defaults(default_network=tuple(default))


def with_networks(options: argparse.Namespace) -> argparse.Namespace:
    """The options of `add_network_options`, with the default where none is named."""
    options.network = options.network or ([] if options.model else list(options.default_network))
    return options


def run_measurement(options: argparse.Namespace, measure: Callable[[argparse.Namespace, Path], Iterable[Row]]) -> int:
    """A whole command: measure with a temporary folder, write, print, compare; its exit status."""
    recorded = read_recorded(options)
    limit_threads(options.threads)
    with tempfile.TemporaryDirectory(prefix="segpipe-benchmark-") as folder:
        rows = tuple(measure(options, Path(folder)))
    return finish_run(rows, options, recorded)


def read_recorded(options: argparse.Namespace) -> Result | None:
    """The run of --compare, if any: to be read before measuring, since it may be missing or about to be overwritten."""
    return read_result(options.compare) if options.compare else None


def finish_run(rows: tuple[Row, ...], options: argparse.Namespace, recorded: Result | None) -> int:
    """Write, print and compare; 1 when label maps disagree or something got worse than recorded."""
    fresh = Result(
        date=datetime.date.today().isoformat(),
        machine=describe_machine(),
        versions=installed_versions(),
        threads=options.threads,
        rows=rows,
    )
    write_result(fresh, RESULTS / f"{options.name}.json")
    print(render_result(fresh))
    changes = compare_results(recorded, fresh) if recorded else []
    if recorded:
        print("\n" + render_changes(changes, recorded, fresh))
    return int(bool(disagreements(rows)) or any(change.verdict == "worse" for change in changes))


def limit_threads(threads: int) -> None:
    """Before torch is imported, and for the processes that measure memory."""
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ[name] = str(threads)


def tell(what: str) -> None:
    """A line for those who wait, which on a terminal the next one replaces."""
    if not sys.stderr.isatty():
        print(what, file=sys.stderr, flush=True)
    else:
        width = shutil.get_terminal_size().columns - 1
        sys.stderr.write(f"\r{what[:width]:<{width}}\r")
        sys.stderr.flush()
