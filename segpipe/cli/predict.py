"""`segpipe predict`: many pictures through one model, their overlays, label maps and JSON lines."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import perf_counter
from typing import IO, TYPE_CHECKING, cast

from segpipe.errors import InputError, SegpipeError
from segpipe.hub import Hub
from segpipe.names import Tasks

from .opening import add_execution_arguments, open_pipeline
from .parsing import add_json
from .printing import print_json, print_note
from .summary import Summary

if TYPE_CHECKING:
    from segpipe.pipelines import ImageSegmentationPipeline, Segmentation

EXAMPLES = """  segpipe predict street.jpg --model segformer-b0-camvid
  segpipe predict photos/ 'more/**/*.png' --model segformer-b2-ade20k --label-maps
  segpipe predict street.jpg --model segformer-b0-camvid --names
  segpipe predict photos/ --model segformer-b0-camvid --runtime openvino --dtype int8 --calibration photos/
  segpipe predict https://example.org/street.jpg --model segformer-b0-cocostuff
  find . -name '*.jpg' | segpipe predict - --model ./my-model --jsonl -"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "inputs", nargs="+", metavar="INPUT", help="files, folders, patterns, URLs; - reads a list of them from stdin"
    )
    parser.add_argument("--model", required=True, metavar="NAME", help="see segpipe models list; or a folder")
    parser.add_argument("--revision", help="branch, tag or commit of the model")
    _add_output_arguments(parser)
    add_execution_arguments(parser)
    parser.add_argument(
        "--on-error", choices=("raise", "skip"), default="raise", help="at a bad picture: stop (default), or go on"
    )
    add_json(parser)


def _add_output_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--output", type=Path, default=Path("segpipe-results"), metavar="DIR", help="default: segpipe-results"
    )
    parser.add_argument(
        "--overlay",
        action=argparse.BooleanOptionalAction,
        default=None,
        help="write NAME-overlay.png (default, unless there are JSON lines)",
    )
    parser.add_argument("--names", action="store_true", help="an overlay with the classes' names on it")
    parser.add_argument("--label-maps", action="store_true", help="write NAME-label-map.png: palette, class indices")
    parser.add_argument("--jsonl", metavar="FILE", help="write one JSON document a line; - is stdout")
    parser.add_argument("--quiet", action="store_true", help="no progress, no table; errors only")


def run(options: argparse.Namespace) -> int:
    clash = _clash(options)
    if clash is not None:
        print_note(f"segpipe predict: {clash}")
        return 2
    from .gathering import gather_sources

    sources = gather_sources(options.inputs, sys.stdin)
    _check_outputs(sources, options)
    folder = Hub().resolve(options.model, options.revision)
    if folder.configuration.task == Tasks.image_classification:
        from .classifying import classify_pictures

        with _opened(options.jsonl) as lines:
            return classify_pictures(folder, sources, options, lines)
    segment = cast("ImageSegmentationPipeline", open_pipeline(Tasks.image_segmentation, folder, options))
    summary = Summary(options.model, str(segment.model.pixel_mean.device))
    with _opened(options.jsonl) as lines:
        try:
            error = _predict_all(segment, sources, options, summary=summary, lines=lines)
        except KeyboardInterrupt:
            summary.stopped_at = sources[summary.num_pictures + len(summary.skipped)], "interrupted"
            _print(summary, options)
            raise
    _print(summary, options)
    if error is not None:
        raise error
    return 0 if summary.num_pictures else 1


def _clash(options: argparse.Namespace) -> str | None:
    """What is wrong with options that cannot be together."""
    if options.json and options.jsonl == "-":
        return "--json and --jsonl - both want stdout. Choose one, or give --jsonl a file."
    if options.names and options.overlay is False:
        return "--names writes on the overlay, and --no-overlay wants none. Choose one."
    return None


def _check_outputs(sources: list[str], options: argparse.Namespace) -> None:
    """Refuse to write over a picture that is to be read."""
    from .gathering import unique_stems

    inputs = {os.path.realpath(source) for source in sources if len(source) < 4096 and "\0" not in source}
    for stem in unique_stems(sources):
        for path in _paths(options, stem).values():
            if os.path.realpath(path) in inputs:
                raise InputError(f"{path} would be written over a picture of yours. Choose another --output.")


def _paths(options: argparse.Namespace, stem: str) -> dict[str, Path]:
    """What will be written for one picture."""
    has_overlay = options.jsonl is None or options.names if options.overlay is None else options.overlay
    wanted = {"overlay": has_overlay, "label_map": options.label_maps}
    return {
        what: options.output / f"{stem}-{what.replace('_', '-')}.png" for what, is_wanted in wanted.items() if is_wanted
    }


def _predict_all(
    segment: ImageSegmentationPipeline,
    sources: list[str],
    options: argparse.Namespace,
    *,
    summary: Summary,
    lines: IO[str] | None,
) -> SegpipeError | None:
    """Segment and write picture by picture; the error at which it had to stop, if any."""
    from tqdm import tqdm

    from segpipe.pipelines import Failure

    from .gathering import unique_stems

    outcomes = zip(unique_stems(sources), segment.outcomes(sources), strict=True)
    start = perf_counter()
    # None: no bar where stderr is no terminal.
    with tqdm(total=len(sources), unit=" pictures", leave=False, disable=True if options.quiet else None) as bar:
        for stem, outcome in outcomes:
            bar.update()
            if not isinstance(outcome, Failure):
                summary.add(outcome, _write(outcome, stem, options, lines))
                summary.seconds = perf_counter() - start
            elif options.on_error == "raise":
                summary.stopped_at = outcome.source, str(outcome.error)
                return outcome.error
            else:
                summary.skipped.append((outcome.source, str(outcome.error)))
    return None


def _write(result: Segmentation, stem: str, options: argparse.Namespace, lines: IO[str] | None) -> dict[str, str]:
    """Write what was asked for; what was written where."""
    paths = _paths(options, stem)
    files = {what: str(path) for what, path in paths.items()}
    if "overlay" in paths:
        result.save_overlay(paths["overlay"], names=options.names)
    if "label_map" in paths:
        result.save_label_map(paths["label_map"])
    if lines is not None:
        print(
            json.dumps({**result.to_dict(), "files": files}, ensure_ascii=lines is sys.stdout), file=lines, flush=True
        )
    return files


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
