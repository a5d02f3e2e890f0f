"""The part of a trained model's card on its training: the command, the versions, the run in a table, the scores."""

from __future__ import annotations

import platform
import re
import shlex
import sys
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch

import segpipe
from segpipe.evaluation import AnyScores
from segpipe.text import format_percent, markdown_text, printable_line

from .curves import CURVES
from .facts import RunFacts
from .progress import Progress
from .run_log import TITLES, main_score

MOST_ROWS = 20
"""Of the table of the run; longer runs show this many of their evaluations."""
_CREDENTIALS = re.compile(r"(?<=://)[^/@\s]*@")
_ABSOLUTE_PATH = re.compile(
    r"(?P<before>^|[=\s\"'\[,])(?:file://|[A-Za-z]:)?[/\\](?:[^\"'\],]*[/\\])?(?P<name>[^/\\\"'\],]+)[/\\]?"
)


def training_text(run: RunFacts, progress: Progress, scores: AnyScores | None, log: Sequence[Mapping[str, Any]]) -> str:
    """Return the part of the card that says how the model came to be and how good it is.

    Args:
        scores: of the folder's weights, or None where nothing was evaluated.
        log: the lines of the run's log, see `read_log`.
    """
    config = run.configuration
    taken = progress.best_step if progress.best_step is not None else progress.step
    sections = [
        "\n## Training",
        f"{progress.step} steps, {progress.samples} samples of {run.num_samples} images"
        f"{f' of {markdown_text(config.dataset.type)}' if config.dataset else ''}; "
        f"the weights are those of step {taken}.\n"
        f"The recipe is the section `train` of configuration.json.{_extended_text(log)}"
        f"{_first_text(run, progress, scores)}",
        f"    {printable_line(command(sys.argv))}",
        f"segpipe {segpipe.__version__}, torch {torch.__version__}, numpy {np.__version__}, "
        f"Python {platform.python_version()}.",
        run_table(
            [line for line in log if line.get("step", 0) <= progress.step]
        ),  # a longer run may have begun here before
        _scores_text(scores) if scores else "",
    ]
    return "\n\n".join(section for section in sections if section) + "\n"


def _extended_text(log: Sequence[Mapping[str, Any]]) -> str:
    """Return sentences about the lengths that the run had before; empty where it kept its first one."""
    lengths: list[tuple[int, int]] = []  # from which step on, how many steps
    for line in log:
        if line["event"] == "start" and isinstance(line.get("max_steps"), int):
            lengths = [pair for pair in lengths if pair[0] < line["step"]]
            if not lengths or lengths[-1][1] != line["max_steps"]:
                lengths.append((line["step"], line["max_steps"]))
    changes = [f"from {before} to {now} steps at step {step}" for (_, before), (step, now) in pairwise(lengths)]
    if not changes:
        return ""
    return (
        f"\nIt was extended {', then '.join(changes)}; each step has the learning rate of a run of the length that the "
        "run had then."
    )


def _first_text(run: RunFacts, progress: Progress, scores: AnyScores | None) -> str:
    """Return a sentence about the score before the first step; empty without one."""
    if progress.first_score is None or scores is None:
        return ""
    evaluation = run.configuration.evaluation
    title = TITLES[evaluation.best if evaluation else next(iter(scores.means))]
    worse = ", which no step reached" if progress.is_worse_than_at_first else ""
    return (
        f"\nIt began at {title} {format_percent(progress.first_score)} %, with the weights that were taken over{worse}."
    )


def command(arguments: Sequence[str]) -> str:
    """Return a process's arguments, the program first, as one would type them.

    Of absolute paths only the last name is left and of URLs no credentials, since a card is published.
    """
    program = Path(arguments[0]).name if arguments else ""
    program = {"__main__.py": "segpipe", "": "python", "-c": "python -c"}.get(program, program)
    return " ".join([program, *(shlex.quote(_without_folders(argument)) for argument in arguments[1:])])


def run_table(log: Sequence[Mapping[str, Any]]) -> str:
    """Return Markdown with a row for each evaluation, or for logged steps where there was none; empty without any.

    The loss is the mean of those logged since the row before. Of steps that were done again the last line counts.
    """
    steps = {line["step"]: line for line in log if line["event"] == "step"}
    key = main_score(log)
    scores = {line["step"]: line[key] for line in log if line["event"] == "evaluation" and key in line}
    best = max((score for score in scores.values() if score == score), default=None)
    chosen = _spread(sorted(scores or steps), [step for step, score in scores.items() if score == best])
    if not chosen:
        return ""
    rows = [
        f"| {step} | {_loss(steps, before, step)} | {_rate(steps, step)} | {format_percent(scores.get(step))} |"
        for before, step in zip([0, *chosen], chosen, strict=False)
    ]
    head = "The run, of which log.jsonl has all lines; losses are means since the row before:"
    table = [f"| step | loss | learning rate | {TITLES[key]} % |", "| --- | --- | --- | --- |", *rows]
    return "\n".join([head, "", *table, "", f"![Loss, learning rate and {TITLES[key]} over the steps]({CURVES})"])


def _without_folders(argument: str) -> str:
    return _ABSOLUTE_PATH.sub(r"\g<before>\g<name>", _CREDENTIALS.sub("", argument))


def _spread(steps: Sequence[int], best: Sequence[int]) -> list[int]:
    """Return at most `MOST_ROWS` of the steps, evenly, with the last one and the best."""
    if len(steps) <= MOST_ROWS:
        return list(steps)
    places = np.linspace(0, len(steps) - 1, MOST_ROWS - 1).round().astype(int)
    return sorted({steps[place] for place in places} | set(best[:1]))


def _loss(steps: Mapping[int, Mapping[str, Any]], before: int, step: int) -> str:
    losses = [line["loss"] for number, line in steps.items() if before < number <= step and "loss" in line]
    known = [loss for loss in losses if loss == loss]
    return f"{sum(known) / len(known):.4f}" if known else "–"


def _rate(steps: Mapping[int, Mapping[str, Any]], step: int) -> str:
    """Return the learning rate of the last logged step up to this one."""
    last = max((number for number, line in steps.items() if number <= step and "lr" in line), default=None)
    return "–" if last is None else f"{steps[last]['lr']:.3g}"


def _scores_text(scores: AnyScores) -> str:
    means = ", ".join(f"{TITLES[key]} {format_percent(share)} %" for key, share in scores.means.items())
    iou = scores.by_class.get("iou")
    rows = [f"| {markdown_text(name)} | {format_percent(share)} |" for name, share in (iou or {}).items()]
    table = ["", "| class | IoU % |", "| --- | --- |", *rows] if iou else []
    return "\n".join(["## Scores on the evaluation data", "", f"{means}.", *table])
