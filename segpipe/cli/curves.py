"""`segpipe curves`: several runs' losses and scores in one picture."""

from __future__ import annotations

import argparse
from pathlib import Path

from .parsing import add_json
from .printing import print_json

EXAMPLES = """  segpipe curves work_dir
  segpipe curves first second third --output curves.png --keys loss,miou,lr
  segpipe curves runs/* --x time"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("runs", nargs="+", metavar="RUN", help="work directory, model folder or log.jsonl; at most 8")
    parser.add_argument("--output", type=Path, default=Path("curves.png"), metavar="FILE", help="default: curves.png")
    parser.add_argument("--keys", metavar="A,B,C", help="panels, e.g. loss,lr,miou; default: loss and the main score")
    parser.add_argument("--x", choices=("step", "epoch", "time"), default="step", help="the axis; default: step")
    add_json(parser)


def run(options: argparse.Namespace) -> int:
    from segpipe.drawing import write_picture
    from segpipe.trainers import compare_runs, read_runs

    runs = read_runs(options.runs)
    keys = [key.strip() for key in options.keys.split(",")] if options.keys else None
    path = write_picture(options.output, compare_runs(runs, keys, x=options.x))
    if options.json:
        print_json({"path": str(path), "runs": [{"name": run.name, "keys": list(run.keys)} for run in runs]})
    else:
        print(f"{path}  {', '.join(run.name for run in runs)}")
    return 0
