"""`segpipe predict`, many images through one model, and `segpipe demo`, one image with all its outputs."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from time import perf_counter
from typing import IO, Any, get_args

from segpipe import data, evaluation, pipelines
from segpipe.checkpoints import resolve_folder
from segpipe.configuration import load_preset
from segpipe.errors import InputError, SegpipeError
from segpipe.hub import BUNDLED_MODEL, ModelFolder
from segpipe.names import Tasks, listing
from segpipe.pipelines import OnError
from segpipe.progress_bars import track
from segpipe.text import format_fields, format_seconds, format_table

from .parsing import Command, UsageError
from .printing import print_json, print_message, print_note
from .shared_options import add_execution, add_json, add_style, pipeline_options, style_of

REPORT = "report"
"""At a bad image, where --on-error is not given: like skip, but the command fails in the end."""
SHOWN_CLASSES = 3
"""Classes of an image in the table; JSON has five."""
PREDICT_EXAMPLES = """  segpipe predict street.jpg
  segpipe predict photos/ 'more/**/*.png' --model segformer-b2-ade20k --label-maps
  segpipe predict photos/ --recursive --names --legend --opacity 0.6 --output overlays
  segpipe predict photos/ --model segformer-b0-camvid --runtime openvino --dtype int8 --calibration photos/
  segpipe predict https://example.org/street.jpg --model segformer-b0-cocostuff
  find . -name '*.jpg' | segpipe predict - --model ./my-model --jsonl -"""
DEMO_EXAMPLES = """  segpipe demo
  segpipe demo holiday.jpg
  segpipe demo holiday.jpg --model segformer-b0-ade20k   (downloads the model once)"""


def add_predict_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "inputs", nargs="+", metavar="INPUT", help="files, folders, patterns, URLs; - reads a list of them from stdin"
    )
    parser.add_argument(
        "--model",
        metavar="NAME",
        help=f"see segpipe models list; or a folder; default: {BUNDLED_MODEL}, which comes with segpipe",
    )
    parser.add_argument("--revision", help="branch, tag or commit of the model")
    _add_outputs(parser)
    parser.add_argument("--recursive", action="store_true", help="read the sub-folders of folders, too")
    add_execution(parser)
    parser.add_argument(
        "--on-error",
        choices=get_args(OnError),
        help="at a bad image: stop, or leave it out; default: leave it out and exit with 1 in the end, "
        "or stop where INPUT is one image",
    )
    add_json(parser)


def _add_outputs(parser: argparse.ArgumentParser) -> None:
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
    add_style(parser)
    parser.add_argument("--label-maps", action="store_true", help="write NAME-label-map.png: palette, class indices")
    parser.add_argument("--jsonl", metavar="FILE", help="write one JSON document a line; - is stdout")
    parser.add_argument("--quiet", action="store_true", help="no progress, no table; errors only")


def run_predict(options: argparse.Namespace) -> int:
    _check_clashes(options)
    sources = data.gather_sources(options.inputs, sys.stdin, recursive=options.recursive, output=options.output)
    options.on_error = options.on_error or ("raise" if data.names_one_image(options.inputs) else REPORT)
    outputs = _open_outputs(sources, options)
    options.model = options.model or _bundled_model(options.quiet)
    folder = resolve_folder(options.model, options.revision)
    if folder.configuration.task == Tasks.image_classification:
        return _classify(folder, sources, options)
    return _segment(folder, sources, outputs, options)


def _check_clashes(options: argparse.Namespace) -> None:
    if options.json and options.jsonl == "-":
        raise UsageError("--json and --jsonl - both want stdout. Choose one, or give --jsonl a file.")
    style = style_of(options)
    if style and options.overlay is False:
        raise UsageError(f"--{next(iter(style))} is about the overlay, and --no-overlay wants none. Choose one.")


def _open_outputs(sources: Sequence[str], options: argparse.Namespace) -> pipelines.OutputFolder:
    style = style_of(options)
    has_overlays = options.jsonl is None or bool(style) if options.overlay is None else options.overlay
    kinds = [*(["overlay"] if has_overlays else []), *(["label_map"] if options.label_maps else [])]
    return pipelines.OutputFolder(
        options.output, sources, kinds, style=style, keeps_failures=options.on_error != "raise"
    )


def _bundled_model(is_quiet: bool) -> str:
    """Return the model that is there without a download, and say so."""
    labels = load_preset(BUNDLED_MODEL).labels
    names = labels.names if labels is not None else ()
    if not is_quiet:
        print_message(
            f"no --model is given, so it is {BUNDLED_MODEL}, which comes with segpipe and knows streets: "
            f"{listing(names)}. For others see segpipe models list."
        )
    return BUNDLED_MODEL


def _segment(
    folder: ModelFolder, sources: Sequence[str], outputs: pipelines.OutputFolder, options: argparse.Namespace
) -> int:
    segment: Any = pipelines.pipeline(Tasks.image_segmentation, folder, **pipeline_options(options))
    summary = pipelines.Summary(options.model, str(segment.model.pixel_mean.device))
    error = None
    with _opened(options.jsonl) as lines, outputs:
        summary.index = outputs.index
        written = outputs.write_all(segment.outcomes(sources))
        try:
            for each in track(written, "predict", len(sources), "images", is_shown=not options.quiet):
                if not isinstance(each, pipelines.Failure):
                    _print_line(each.to_dict(), lines)
                    summary.add(each)
                elif options.on_error == "raise":
                    error = summary.stop(each)
                    break
                else:
                    summary.skip(each)
        except KeyboardInterrupt:
            summary.stopped_at = sources[summary.num_done], "interrupted"
            _print_summary(summary, options)
            raise
    _print_summary(summary, options)
    if error is not None:
        raise error
    return _exit_code(summary.num_images, len(summary.skipped), options.on_error)


def _print_summary(summary: pipelines.Summary, options: argparse.Namespace) -> None:
    if options.json:
        print_json(summary.to_dict())
    elif options.quiet:
        for _, reason in summary.skipped:
            print_message(f"skipped: {reason}")
    elif summary.num_images or summary.skipped:
        print(summary, file=sys.stderr if options.jsonl == "-" else sys.stdout)


def _classify(folder: ModelFolder, sources: Sequence[str], options: argparse.Namespace) -> int:
    if options.overlay or style_of(options) or options.label_maps:
        raise UsageError(f"{options.model} is a classifier. Leave out what is about overlays and label maps.")
    classify = pipelines.pipeline(Tasks.image_classification, folder, **pipeline_options(options))
    results, skipped, error = [], [], None
    with _opened(options.jsonl) as lines:
        for outcome in classify.outcomes(sources):
            if not isinstance(outcome, pipelines.Failure):
                _print_line(outcome.to_dict(), lines)
                results.append(outcome)
            elif options.on_error == "raise":
                error = outcome.error
                break
            else:
                skipped.append(outcome)
    _print_classes(results, skipped, options)
    if error is not None:
        raise error
    return _exit_code(len(results), len(skipped), options.on_error)


def _print_classes(
    results: Sequence[pipelines.Classification], skipped: Sequence[pipelines.Failure], options: argparse.Namespace
) -> None:
    if options.json:
        failures = [{"source": failure.source, "reason": str(failure.error)} for failure in skipped]
        print_json({"model": options.model, "pictures": [one.to_dict() for one in results], "skipped": failures})
        return
    if results and not options.quiet:
        rows = [(one.source, *_class_cells(one)) for one in results]
        text = format_table([("image", "class", "score", "then"), *rows], ("left", "left", "right", "left"))
        print(text, file=sys.stderr if options.jsonl == "-" else sys.stdout)
    for failure in skipped:
        print_message(f"skipped: {failure.error}")


def _class_cells(result: pipelines.Classification) -> tuple[str, str, str]:
    (label, score), *others = result.top(SHOWN_CLASSES)
    return label, f"{score:.3f}", ", ".join(f"{name} {share:.3f}" for name, share in others)


def _exit_code(num_done: int, num_skipped: int, on_error: str) -> int:
    """Return 0 if some images were done and the others, if any, may be skipped, else 1."""
    return 0 if num_done and (on_error == "skip" or not num_skipped) else 1


def _print_line(document: dict[str, Any], lines: IO[str] | None) -> None:
    if lines is not None:
        print(json.dumps(document, ensure_ascii=lines is sys.stdout), file=lines, flush=True)


@contextmanager
def _opened(name: str | None) -> Iterator[IO[str] | None]:
    """Open the file for JSON lines, which are written as they come: nothing is lost when a later image fails."""
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


def add_demo_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("image", nargs="?", metavar="IMAGE", help="a file or a URL; without it a street is drawn")
    parser.add_argument(
        "--model", default=BUNDLED_MODEL, metavar="NAME", help=f"default: {BUNDLED_MODEL}, which comes with segpipe"
    )
    parser.add_argument(
        "--output", type=Path, default=Path("segpipe-demo"), metavar="DIR", help="default: segpipe-demo"
    )
    add_json(parser)


def run_demo(options: argparse.Namespace) -> int:
    if sys.stderr.isatty():
        print_note("Starting PyTorch …")
    start = perf_counter()
    show_demo = pipelines.show_demo  # whose module imports torch
    seconds = {"start PyTorch": perf_counter() - start}
    demo = show_demo(options.image, options.model, options.output)
    seconds |= demo.seconds
    if options.json:
        print_json(_demo_document(demo, seconds, options.model))
    else:
        _print_demo(demo, seconds, options.model)
    return 0


def _print_demo(demo: pipelines.Demo, seconds: dict[str, float], model: str) -> None:
    print(f"{model} finds in {demo.result}\n")
    if demo.truth is not None:
        print(f"Against the truth, which is known because segpipe drew this street:\n{_truth_text(demo.truth)}\n")
    before = [(step, format_seconds(time)) for step, time in seconds.items() if step not in pipelines.CALL_STEPS]
    call = [(step, format_seconds(seconds[step])) for step in pipelines.CALL_STEPS]
    total = sum(seconds[step] for step in pipelines.CALL_STEPS)
    print(f"Once, at the start (the first call warms up):\n{format_fields(before)}\n")
    print(f"Each further image of this size, {format_seconds(total)}:\n{format_fields(call)}\n")
    print(f"Written:\n{format_fields([(what, str(path)) for what, path in demo.files.items()])}\n")
    print("The same in Python:\n  from segpipe import pipeline\n")
    print(f'  segment = pipeline("{Tasks.image_segmentation}", {json.dumps(model)})')
    print(f"  print(segment({json.dumps(demo.result.source, ensure_ascii=False)}))")


def _truth_text(truth: evaluation.Scores) -> str:
    counted = sum(iou == iou for iou in truth.iou.values())
    fields = [
        ("pixel accuracy", f"{truth.pixel_accuracy:.1%}".replace("%", " %")),
        ("mIoU", f"{truth.miou:.1%}".replace("%", " %") + f" over the {counted} classes present"),
    ]
    return format_fields(fields)


def _demo_document(demo: pipelines.Demo, seconds: dict[str, float], model: str) -> dict[str, Any]:
    truth = demo.truth
    scores = None
    if truth is not None:
        scores = {"pixel_accuracy": truth.pixel_accuracy, "miou": truth.miou, "iou": truth.iou}
    segments = zip(demo.result.labels, demo.result.areas, demo.result.scores, strict=True)
    pixels = demo.result.label_map.size
    return {
        "model": model,
        "source": demo.result.source,
        "size": list(demo.result.size),
        "classes": [{"label": name, "share": area / pixels, "score": score} for name, area, score in segments],
        "truth": scores,
        "seconds": seconds,
        "files": {what.replace(" ", "_"): str(path) for what, path in demo.files.items()},
    }


COMMANDS = {
    "predict": Command(add_predict_arguments, run_predict, PREDICT_EXAMPLES),
    "demo": Command(add_demo_arguments, run_demo, DEMO_EXAMPLES),
}
