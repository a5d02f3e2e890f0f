"""A quick look at the labels before the first step: what `segpipe data check` calls an error stops a run."""

from __future__ import annotations

from typing import Any

from segpipe import advice, distributed
from segpipe.data import TITLES, Report, SegmentationDataset, image_files, look_at
from segpipe.errors import InputError
from segpipe.log import get_logger
from segpipe.progress_bars import ProgressBar, tell

logger = get_logger(__name__)


def check_data(train: Any, evaluation: Any, *, progress: bool = False) -> None:
    """Look at some labels of both data sets, in the main process, which tells the others what it found.

    Raises:
        InputError: in all processes, labels that cannot be trained or evaluated on.
    """
    error = ""
    if distributed.is_main():
        try:
            error = _look(train, evaluation, progress)
        except Exception as unexpected:  # the others wait for an answer
            error = f"The data cannot be looked at: {type(unexpected).__name__}: {unexpected}. {switch()}"
    error = distributed.gather_texts(error)[0]
    if error:
        raise InputError(error)


def switch() -> str:
    """Return the sentence on how to train all the same."""
    return f"To train on it as it is, leave this look out: {advice.argument('check_data', False)}."


def _look(train: Any, evaluation: Any, progress: bool) -> str:
    """Return what is wrong, or an empty text; warnings are logged."""
    error = _compare_images(train, evaluation)
    if error:
        return error
    seen = []
    for dataset in (train, evaluation):
        if dataset is None:
            continue
        with ProgressBar("check labels", None, "labels", is_shown=progress) as bar:
            report = look_at(dataset, progress=bar.move_to)
        total = len(dataset.pairs) if isinstance(dataset, SegmentationDataset) else len(dataset)
        where = f"{report.name} {report.split}".strip()
        looked = f"{report.num_images:,} of {total:,} labels"
        if not report.is_ok:
            return _text(report, looked, where)
        seen.append(f"{looked} of {where}")
        for group in report.groups:
            first = group.findings[0]
            if group.severity == "warning" and first not in getattr(dataset, "notes", ()):  # said when it was opened
                logger.warning(
                    "%s: %s (%d in %s). %s %s", where, TITLES[group.kind], group.total, looked, first, first.fix
                )
    tell(logger, f"Looked at {' and '.join(seen)}: no errors", is_shown=progress)
    return ""


def _text(report: Report, looked: str, where: str) -> str:
    lines = [f"{where} cannot be right; found in {looked}:"]
    for group in report.groups:
        if group.severity == "error":
            first = group.findings[0]
            more = f" (and {group.total - 1} more)" if group.total > 1 else ""
            lines.append(f"  {TITLES[group.kind]}: {first}{more}\n    → {first.fix}")
    return "\n".join([*lines, f"segpipe data check reads all of it. {switch()}"])


def _compare_images(train: Any, evaluation: Any) -> str:
    """Return why these are one split under two names, or an empty text; single images in both are warned of."""
    if not (isinstance(train, SegmentationDataset) and isinstance(evaluation, SegmentationDataset)):
        return ""
    evaluated = image_files(evaluation)
    shared = evaluated & image_files(train)
    if shared == evaluated and evaluation.split not in train.split.split("+"):
        own = f"{advice.option('train.annotations')} and {advice.option(f'{evaluation.split}.annotations')}"
        return (
            f"All {len(shared):,} images of {evaluation.name} {evaluation.split} are trained on as well, such as "
            f"{min(shared)}, so that the scores would say nothing. An option that names files holds for all splits: "
            f"give each its own, such as {own}, or hold out a share: {advice.argument('val_share', 0.1)}. {switch()}"
        )
    if shared:
        logger.warning(
            "%d of %d images to evaluate on are trained on as well, such as %s: the scores will be too good. Choose "
            "another split or another file of annotations.",
            len(shared),
            len(evaluated),
            min(shared),
        )
    return ""
