"""Messages of a run to people: where it goes on, what each evaluation gave, how it is trained longer."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from segpipe import advice
from segpipe.hub import last_weights

from .call_again import unused_folder, write_call
from .facts import RunFacts
from .progress import Progress
from .run_log import TITLES


def opening_line(run: RunFacts, progress: Progress, *, is_over: bool) -> str | None:
    """Return what to say before the first step of a call, or None where there is nothing to say."""
    if is_over:
        return _over_text(run, progress)
    if progress.step:
        return f"Going on from step {progress.step:,} of {run.max_steps:,} in {run.work_dir}"
    return f"Recipe adapted: {'; '.join(run.adaptations)}" if run.adaptations else None


def evaluation_line(run: RunFacts, progress: Progress, score: tuple[str, float], seconds: float) -> str:
    """Return an evaluation's score, how it compares, and how long it took.

    Args:
        progress: after the evaluation.
        score: key and value of the one that chooses the best step.
        seconds: how long the evaluation took.
    """
    name = f"{TITLES[score[0]]} {_percent(score[1])}"
    took = f"{seconds:.2g} s" if seconds < 99 else str(timedelta(seconds=round(seconds)))
    if not progress.step:
        return f"Before the first step: {name}, {took}"
    where = f"Step {progress.step}/{run.max_steps}, epoch {progress.samples / run.num_samples:.1f}"
    return f"{where}: {name}, {_comparison(progress)}, {took}"


def worse_text(run: RunFacts, progress: Progress) -> str:
    """Return the advice for a run whose weights were never as good as those that it began with."""
    rate = run.config.optimizer.lr
    lower = advice.setting("train.optimizer.lr", float(f"{rate / 10:g}"))
    return (
        f"No evaluation reached the {_percent(progress.first_score)} that training began with; the best is "
        f"{_percent(progress.best_score)}. The learning rate, {rate:g}, may be too high for weights that are trained "
        f"already. Try a lower one in another work directory: {lower}{advice.either(python=',', command='')} "
        f"{advice.argument('work_dir', unused_folder(run.work_dir))}"
    )


def stopped_text(run: RunFacts, progress: Progress) -> str:
    """Return what to say of a run that was told to stop."""
    again = advice.either(python="make the same call again", command="run the same command again")
    return (
        f"Stopped at step {progress.step:,} of {run.max_steps:,}, as told; everything is saved in {run.work_dir}. "
        f"To go on, {again}."
    )


def interrupted_text(last: int | None) -> str:
    """Return what to say of a run that was interrupted at once.

    Args:
        last: step of the last checkpoint, or None without one.
    """
    again = advice.either(python="the same call again", command="the same command again")
    if last is None:
        return f"Interrupted before the first checkpoint: {again} begins anew."
    return f"Interrupted without saving: {again} goes on from the last checkpoint, that of step {last:,}."


def longer_text(run: RunFacts, length: dict[str, Any] | None = None) -> str:
    """Return how a run is trained longer: the calls to copy, for the same run and for a new one.

    Args:
        run: as it is called now.
        length: arguments that set a new length. If None, the call has the new one already.
    """
    given, work_dir = run.arguments, run.work_dir
    new_length = length or {}
    lines = ["To go on with this run to a new end:", f"  {write_call(given, {**new_length, 'extend': True})}"]
    weights = last_weights(work_dir)
    if weights is not None:
        begin = {"model": weights, "work_dir": unused_folder(work_dir)}
        fresh = dict.fromkeys(("pretrained", "encoder_weights", "extend"))
        lines += [
            "Or to begin a new run with the best weights of this one:",
            f"  {write_call(given, {**new_length, **begin, **fresh})}",
        ]
    help_text = advice.either(python="help(segpipe.build_trainer)", command="segpipe train --help")
    return "\n".join([*lines, f"{help_text} says more."])


def _over_text(run: RunFacts, progress: Progress) -> str:
    if progress.step < run.max_steps:  # out of patience
        evaluation = run.configuration.evaluation
        patience = 2 * (evaluation.patience or 1) if evaluation else 1
        return (
            f"The run in {run.work_dir} ended early at step {progress.step:,}, since no evaluation was better for "
            f"as long as evaluation.patience says. To go on, {advice.setting('evaluation.patience', patience)}."
        )
    config = run.config
    longer: dict[str, Any] = {"max_steps": 2 * run.max_steps, "max_epochs": None}
    if config.max_epochs:
        longer = {"max_epochs": 2 * config.max_epochs, "max_steps": None}
    done = f"All {run.max_steps:,} steps of the run in {run.work_dir} are done, so nothing is left to train."
    return f"{done} {longer_text(run, longer)}"


def _comparison(progress: Progress) -> str:
    """Return how the last score compares with the best one so far, and that with the one before the first step."""
    if progress.best_score is None:
        return "no best so far"
    began = f" (began at {_percent(progress.first_score)})" if progress.is_worse_than_at_first else ""
    if progress.best_step == progress.step:
        return f"best so far{began}"
    return f"best {_percent(progress.best_score)} at step {progress.best_step}{began}"


def _percent(share: float | None) -> str:
    return "–" if share is None or share != share else f"{100 * share:.2f} %"
