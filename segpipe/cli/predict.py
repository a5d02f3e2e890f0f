"""`segpipe predict`: many pictures through one model, their overlays, label maps and JSON lines."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from time import perf_counter
from typing import IO, TYPE_CHECKING, Any, cast

from segpipe.errors import InputError, SegpipeError
from segpipe.hub import Hub
from segpipe.names import Tasks, listing

from .drawing import add_style_arguments, style_of
from .opening import BUNDLED_MODEL, add_execution_arguments, open_pipeline
from .parsing import add_json
from .printing import print_json, print_message, print_note
from .summary import Summary

if TYPE_CHECKING:
    from segpipe.pipelines import Failure, ImageSegmentationPipeline, Segmentation

    from .outputs import Outputs

EXAMPLES = """  segpipe predict street.jpg
  segpipe predict photos/ 'more/**/*.png' --model segformer-b2-ade20k --label-maps
  segpipe predict photos/ --recursive --names --legend --opacity 0.6 --output overlays
  segpipe predict photos/ --model segformer-b0-camvid --runtime openvino --dtype int8 --calibration photos/
  segpipe predict https://example.org/street.jpg --model segformer-b0-cocostuff
  find . -name '*.jpg' | segpipe predict - --model ./my-model --jsonl -"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "inputs", nargs="+", metavar="INPUT", help="files, folders, patterns, URLs; - reads a list of them from stdin"
    )
    parser.add_argument(
        "--model",
        metavar="NAME",
        help=f"see segpipe models list; or a folder; default: {BUNDLED_MODEL}, which comes with segpipe",
    )
    parser.add_argument("--revision", help="branch, tag or commit of the model")
    _add_output_arguments(parser)
    parser.add_argument("--recursive", action="store_true", help="read the sub-folders of folders, too")
    add_execution_arguments(parser)
    parser.add_argument(
        "--on-error",
        choices=("raise", "skip"),
        help="at a bad image: stop, or leave it out; default: leave it out and exit with 1 in the end, "
        "or stop where INPUT is one image",
    )
    add_json(parser)


def _add_output_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--output",
        type=Path,
        default=Path("segpipe-results"),
        metavar="DIR",
        help="for the files and results.csv, their index, which keeps earlier rows; default: segpipe-results",
    )
    parser.add_argument(
        "--overlay",
        action=argparse.BooleanOptionalAction,
        default=None,
        help="write NAME-overlay.png (default, unless there are JSON lines)",
    )
    add_style_arguments(parser)
    parser.add_argument("--label-maps", action="store_true", help="write NAME-label-map.png: palette, class indices")
    parser.add_argument("--jsonl", metavar="FILE", help="write one JSON document a line; - is stdout")
    parser.add_argument("--quiet", action="store_true", help="no progress, no table; errors only")


def run(options: argparse.Namespace) -> int:
    clash = _clash(options)
    if clash is not None:
        print_note(f"segpipe predict: {clash}")
        return 2
    from .gathering import REPORT, exit_code, gather_sources, is_one_image
    from .outputs import Outputs

    sources = gather_sources(options.inputs, sys.stdin, recursive=options.recursive, output=options.output)
    options.on_error = options.on_error or ("raise" if is_one_image(options.inputs) else REPORT)
    outputs = Outputs(sources, options)
    options.model = options.model or _bundled_model(options.quiet)
    folder = Hub().resolve(options.model, options.revision)
    if folder.configuration.task == Tasks.image_classification:
        from .classifying import classify_pictures

        with _opened(options.jsonl) as lines:
            return classify_pictures(folder, sources, options, lines)
    segment = cast("ImageSegmentationPipeline", open_pipeline(Tasks.image_segmentation, folder, options))
    summary = Summary(options.model, str(segment.model.pixel_mean.device))
    with _opened(options.jsonl) as lines, outputs:
        summary.index = outputs.index
        try:
            error = _predict_all(segment.outcomes(sources), outputs, options, summary=summary, lines=lines)
        except KeyboardInterrupt:
            summary.stopped_at = sources[summary.num_pictures + len(summary.skipped)], "interrupted"
            _print(summary, options)
            raise
    _print(summary, options)
    if error is not None:
        raise error
    return exit_code(summary.num_pictures, len(summary.skipped), options.on_error)


def _clash(options: argparse.Namespace) -> str | None:
    """What is wrong with options that cannot be together."""
    if options.json and options.jsonl == "-":
        return "--json and --jsonl - both want stdout. Choose one, or give --jsonl a file."
    style = style_of(options)
    if style and options.overlay is False:
        return f"--{next(iter(style))} is about the overlay, and --no-overlay wants none. Choose one."
    return None


def _bundled_model(is_quiet: bool) -> str:
    """Return the model that is there without a download, and say so."""
    from segpipe.configuration import load_preset

    labels = load_preset(BUNDLED_MODEL).labels
    names = labels.names if labels is not None else ()
    if not is_quiet:
        print_message(
            f"no --model is given, so it is {BUNDLED_MODEL}, which comes with segpipe and knows streets: "
            f"{listing(names)}. For others see segpipe models list."
        )
    return BUNDLED_MODEL


def _predict_all(
    outcomes: Iterable[Segmentation | Failure],
    outputs: Outputs,
    options: argparse.Namespace,
    *,
    summary: Summary,
    lines: IO[str] | None,
) -> SegpipeError | None:
    """Write image by image what was asked for; the error at which it had to stop, if any."""
    from segpipe.pipelines import Failure
    from segpipe.progress_bars import ProgressBar

    start = perf_counter()
    with ProgressBar("predict", len(outputs.names), "images", is_shown=not options.quiet) as bar:
        for name, outcome in zip(outputs.names, outcomes, strict=True):
            bar.update()
            written = outputs.write(outcome, name)
            if not isinstance(written, Failure):
                if lines is not None:
                    _print_line({**written.result.to_dict(), "files": written.files}, lines)
                summary.add(written.result, written.files)
                summary.seconds = perf_counter() - start
            elif options.on_error == "raise":
                summary.stopped_at = written.source, str(written.error)
                return written.error
            else:
                summary.skipped.append((written.source, str(written.error)))
    return None


def _print_line(document: dict[str, Any], lines: IO[str]) -> None:
    print(json.dumps(document, ensure_ascii=lines is sys.stdout), file=lines, flush=True)


def _print(summary: Summary, options: argparse.Namespace) -> None:
    if options.json:
        print_json(summary.document())
    elif options.quiet:
        for _, reason in summary.skipped:
            print_note(f"segpipe: skipped: {reason}")
    elif summary.num_pictures or summary.skipped:
        print(summary.text(), file=sys.stderr if options.jsonl == "-" else sys.stdout)


@contextmanager
def _opened(name: str | None) -> Iterator[IO[str] | None]:
    """The file for JSON lines; they are written as they come, so that nothing is lost when a later picture fails."""
    if name is None:
        yield None
    elif name == "-":
        yield sys.stdout
    else:
        path = Path(name)
        if os.path.isdir(path):
            raise InputError(f"--jsonl {name} is a folder; a file is needed. Write --jsonl {path / 'results.jsonl'}.")
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with open(path, "w", encoding="utf-8") as file:
                yield file
        except OSError as error:
            if isinstance(error, SegpipeError | BrokenPipeError) or error.filename is not None:
                raise
            raise InputError(f"{path} cannot be written: {error.strerror or error}. Free some space there.") from None
