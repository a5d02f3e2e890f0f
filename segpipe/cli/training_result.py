"""What `segpipe train` prints at its end: the scores of the best step, and how to use the model."""

from __future__ import annotations

import argparse
import json
import math
import shlex
from typing import TYPE_CHECKING

from segpipe.hub import ModelFolder
from segpipe.text import format_table

from .parsing import parse_options

if TYPE_CHECKING:
    from segpipe.trainers import Trainer


def print_result(trainer: Trainer, result: ModelFolder, options: argparse.Namespace, image: str) -> None:
    """Print the scores of a run and what can be done with its model, in commands and code to copy.

    Args:
        trainer: of the run.
        result: its model.
        options: of the command.
        image: one to try the model on.
    """
    table = _score_table(trainer)
    if table:
        print(f"\n{table}\n")
    folder = shlex.quote(str(result.path))
    print(f"The model is in {result.path}, the run's curves in {trainer.parts.work_dir / 'curves.png'}.\n")
    reading = {key: value for key, value in parse_options(options.option).items() if key in ("alpha", "bit_depth")}
    read = [part for key, value in reading.items() for part in (f"--{key.replace('_', '-')}", str(value))]
    print(f"  {shlex.join(['segpipe', 'predict', image, '--model', str(result.path), *read])}")
    if options.data:
        share = [] if options.val_share is None else [f"val_share={options.val_share}"]
        given = [part for pair in [*options.option, *share] for part in ("--option", pair)]
        print(f"  segpipe eval {folder} --data {shlex.join([*options.data, *given])}")
    print("\nor in Python:\n\n  from segpipe import pipeline")
    named = "".join(f", {key}={json.dumps(value)}" for key, value in reading.items())
    print(
        f'  print(pipeline("{result.configuration.task}", {json.dumps(str(result.path))}{named})({json.dumps(image)}))'
    )


def _score_table(trainer: Trainer) -> str | None:
    """The scores of the best step, whose weights the folder has, from the run's log; None without an evaluation."""
    from segpipe.trainers import LOG, read_log_if_there

    lines = read_log_if_there(trainer.parts.work_dir / LOG)
    found = [line for line in lines if line["event"] == "evaluation" and line["step"] == trainer.progress.best_step]
    if not found:
        return None
    best = found[-1]  # a step that was done again is there twice
    first = trainer.progress.first_score
    began = "" if first is None else f"; training began at {_percent(first)}"
    header = f"Step {best['step']:,}, on the evaluation data{began}"
    if "iou" not in best:
        rows = [(title, _percent(best.get(key, math.nan))) for key, title in (("acc1", "Acc@1"), ("acc5", "Acc@5"))]
        return f"{header}\n{format_table([('score', '%'), *rows], ('left', 'right'))}"
    rows = [(name, _percent(iou)) for name, iou in best["iou"].items()]
    mean = _percent(best.get("miou", math.nan))
    table = format_table([("class", "IoU %"), *rows, ("mean", mean)], ("left", "right"))
    return f"{header}\n{table}"


def _percent(share: float) -> str:
    return "–" if share != share else f"{100 * share:.2f}"
