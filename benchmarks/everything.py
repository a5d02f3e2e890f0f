"""Every command of the benchmark, one after the other, each in a process of its own.

    python -m benchmarks.everything

from the top of a checkout: about 40 minutes on two quiet cores. benchmarks/README.md explains the figures.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Sequence

from .runs import RESULTS

COMMANDS: dict[str, tuple[str, ...]] = {
    "": ("inference", "--seconds", "20"),
    "-memory": ("inference", "--only", "memory", "--network", "b0", "--classes", "150", "--sizes", "2160x3840"),
    "-runtimes": ("runtimes",),
    "-label-maps": ("label_maps",),
    "-stream": ("stream",),
    "-growth": ("growth",),
    "-rates": ("rates",),
    "-mmsegmentation": ("mmsegmentation",),
    "-training": ("training",),
}
"""What a result's name ends with, and what measures it."""
WITH_PICTURES = ("label_maps",)
"""Commands that are given the photographs."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run them; 1 when one of them ended otherwise than well."""
    options = parse_arguments(arguments)
    statuses = {}
    for suffix in COMMANDS:
        command = command_of(suffix, options)
        if command:
            print(f"\n$ python {' '.join(command)}\n", flush=True)
            statuses[suffix] = subprocess.run([sys.executable, *command]).returncode
    failed = [f"{options.name}{suffix}" for suffix, status in statuses.items() if status]
    print(f"\nNot as wanted: {', '.join(failed)}." if failed else "\nEverything was measured, and nothing got worse.")
    return int(bool(failed))


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.everything", description="Every table of benchmarks/README.md."
    )
    parser.add_argument("--name", default="latest", help="with which the files in benchmarks/results begin")
    parser.add_argument("--compare", metavar="NAME", help="with which the recorded files begin, such as cpu-2-threads")
    parser.add_argument("--threads", type=int, default=2, help="for all libraries (default 2)")
    parser.add_argument("--pictures", metavar="FOLDER", help="photographs for the label maps")
    parser.add_argument("--mmsegmentation-python", metavar="PATH", help="without it mmsegmentation is left out")
    return parser.parse_args(arguments)


def command_of(suffix: str, options: argparse.Namespace) -> list[str]:
    """The arguments of python for one command; empty where it is left out."""
    module, *rest = COMMANDS[suffix]
    if module == "mmsegmentation" and not options.mmsegmentation_python:
        return []
    command = ["-m", f"benchmarks.{module}", *rest, "--threads", str(options.threads)]
    command += ["--name", f"{options.name}{suffix}"]
    if module == "mmsegmentation":
        command += ["--mmsegmentation-python", options.mmsegmentation_python]
    if module in WITH_PICTURES and options.pictures:
        command += ["--pictures", options.pictures]
    recorded = RESULTS / f"{options.compare}{suffix}.json"
    if options.compare and recorded.is_file():
        command += ["--compare", str(recorded)]
    return command


if __name__ == "__main__":
    raise SystemExit(main())
