"""The progress of a run: how it goes on after an evaluation, and how it is read back from a file."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields, replace
from typing import Any, Literal

import msgspec

from segpipe import __version__, advice
from segpipe.configuration import decode_document
from segpipe.errors import ConfigurationError, CorruptWeightsError

MOST_STEPS = 2**53
"""The greatest count of a run: up to here, every whole number is a float as well."""
XAxis = Literal["step", "epoch", "time"]
"""What curves are drawn over."""


@dataclass(frozen=True)
class Progress:
    """The state of a run in numbers.

    Attributes:
        step: optimizer steps done.
        samples: samples consumed over all processes; the loader goes on from there.
        best_score: the best evaluation so far, None before the first.
        best_step: when it was.
        worse_evaluations: evaluations in a row since then without a better score.
        is_evaluation_due: whether the run was stopped during this step's evaluation, which then comes first.
        first_score: the score before the first step, of the weights that the run took over; None without such an
            evaluation.
    """

    step: int = 0
    samples: int = 0
    best_score: float | None = None
    best_step: int | None = None
    worse_evaluations: int = 0
    is_evaluation_due: bool = False
    first_score: float | None = None

    @property
    def is_worse_than_at_first(self) -> bool:
        """Whether every evaluation stayed below the score that the run began with."""
        return self.first_score is not None and self.best_score is not None and self.best_score < self.first_score


def with_score(progress: Progress, score: float) -> Progress:
    """Return the progress after an evaluation. A score that is not a number is never the best."""
    is_best = score == score and (progress.best_score is None or score > progress.best_score)
    if not is_best:
        return replace(progress, worse_evaluations=progress.worse_evaluations + 1)
    return replace(progress, best_score=score, best_step=progress.step, worse_evaluations=0)


def decode_progress(data: bytes, *, origin: str) -> Progress:
    """Read a progress.json as if a stranger had written it.

    Raises:
        CorruptWeightsError: it is not JSON, or holds numbers that no run comes to.
        ConfigurationError: it has keys or types of another version of segpipe.
    """
    try:
        document: Any = decode_document(data, object)
    except ValueError as error:
        raise CorruptWeightsError(f"{origin} is not JSON: {error}. Use an older checkpoint.", path=origin) from None
    progress = _typed(document, origin)
    problem = _implausible(progress)
    if problem:
        message = f"{origin} says {problem}, which no run comes to. Use an older checkpoint."
        raise CorruptWeightsError(message, path=origin)
    return progress


def _typed(document: Any, origin: str) -> Progress:
    try:
        progress = msgspec.convert(document, Progress)
    except msgspec.ValidationError as error:
        raise ConfigurationError(_other_version(origin, str(error)), path=origin) from None
    unknown = sorted(document.keys() - {field.name for field in fields(Progress)})
    if unknown:
        raise ConfigurationError(_other_version(origin, f"it has the key {unknown[0]!r}"), path=origin)
    missing = [key for key in ("step", "samples") if key not in document]
    if missing:
        raise ConfigurationError(_other_version(origin, f"it lacks the key {missing[0]!r}"), path=origin)
    return progress


def _implausible(progress: Progress) -> str | None:
    """Return what cannot be, as a phrase, or None."""
    for name in ("step", "samples", "worse_evaluations", "best_step"):
        count = getattr(progress, name)
        if count is not None and not 0 <= count <= MOST_STEPS:
            return f"{name} is {str(count)[:40]}"
    for name in ("best_score", "first_score"):
        score = getattr(progress, name)
        if score is not None and not math.isfinite(score):
            return f"{name} is {score}"
    if (progress.best_step is None) != (progress.best_score is None):
        return "best_step and best_score are not there together"
    if progress.best_step is not None and progress.best_step > progress.step:
        return f"the best step is {progress.best_step} and the last {progress.step}"
    return None


def _other_version(origin: str, reason: str) -> str:
    return (
        f"{origin} was written by another version of segpipe: {reason}, which this version, {__version__}, does not "
        "know. Upgrade segpipe: pip install --upgrade segpipe; or give another work directory: "
        f"{advice.argument('work_dir')}."
    )
