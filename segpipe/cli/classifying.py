"""`segpipe predict` with a classifier: the likeliest classes of each picture, as a table or as JSON."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from typing import IO, TYPE_CHECKING

from segpipe.hub import ModelFolder
from segpipe.names import Tasks
from segpipe.text import format_table

from .drawing import style_of
from .gathering import exit_code
from .opening import open_pipeline
from .printing import print_json, print_note

if TYPE_CHECKING:
    from segpipe.pipelines import Classification, Failure

SHOWN = 3
"""Classes of a picture in the table; JSON has five."""


def classify_pictures(
    folder: ModelFolder, sources: Sequence[str], options: argparse.Namespace, lines: IO[str] | None
) -> int:
    """Classify and print; the exit code, see `exit_code`.

    Args:
        folder: the classifier.
        sources: the pictures.
        options: of `segpipe predict`.
        lines: where JSON lines go as they come, if they are wished.
    """
    if options.overlay or style_of(options) or options.label_maps:
        print_note(
            f"segpipe predict: {options.model} is a classifier. Leave out what is about overlays and label maps."
        )
        return 2
    from segpipe.pipelines import Failure

    results, skipped, error = [], [], None
    for outcome in open_pipeline(Tasks.image_classification, folder, options).outcomes(sources):
        if not isinstance(outcome, Failure):
            results.append(outcome)
            if lines is not None:
                print(json.dumps(outcome.to_dict(), ensure_ascii=lines is sys.stdout), file=lines, flush=True)
            continue
        if options.on_error == "raise":
            error = outcome.error
            break
        skipped.append(outcome)
    _print(results, skipped, options)
    if error is not None:
        raise error
    return exit_code(len(results), len(skipped), options.on_error)


def _print(results: Sequence[Classification], skipped: Sequence[Failure], options: argparse.Namespace) -> None:
    if options.json:
        failures = [{"source": failure.source, "reason": str(failure.error)} for failure in skipped]
        print_json({"model": options.model, "pictures": [one.to_dict() for one in results], "skipped": failures})
        return
    if results and not options.quiet:
        rows = [(one.source, *_cells(one)) for one in results]
        text = format_table([("picture", "class", "score", "then"), *rows], ("left", "left", "right", "left"))
        print(text, file=sys.stderr if options.jsonl == "-" else sys.stdout)
    for failure in skipped:
        print_note(f"segpipe: skipped: {failure.error}")


def _cells(result: Classification) -> tuple[str, str, str]:
    (label, score), *others = result.top(SHOWN)
    return label, f"{score:.3f}", ", ".join(f"{name} {share:.3f}" for name, share in others)
