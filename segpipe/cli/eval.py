"""`segpipe eval`: a model's scores on a data set, with overlays and files for benchmarks where they are asked for."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

from segpipe import checkpoints, data, drawing, evaluation, pipelines
from segpipe.configuration import Configuration, override
from segpipe.errors import InputError
from segpipe.evaluation import BENCHMARKS, REPORTS
from segpipe.hub import ModelFolder
from segpipe.names import Tasks
from segpipe.text import format_seconds

from .parsing import Command, UsageError, finite_number, whole_number
from .printing import print_json, print_message
from .shared_options import (
    add_dataset_option,
    add_device,
    add_json,
    add_launcher,
    add_set,
    add_style,
    apply_launcher,
    parse_options,
    style_of,
)

if TYPE_CHECKING:
    import numpy as np

BOUNDARY_RATIO = 0.02
SCORES = "scores.json"
EXAMPLES = """  segpipe eval segformer-b0-camvid --data camvid ~/data/camvid --split test
  segpipe eval work_dir/model --data folder ./street --scales 0.75 1 1.25 --flip
  segpipe eval segformer-b2-cityscapes --data cityscapes ~/data/cityscapes --window 1024 1024 --stride 768 768
  segpipe eval work_dir/model --data ade20k ~/data/ade20k --output results --overlays --submission ade20k"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", metavar="MODEL", help="a preset, a model's name or a folder")
    parser.add_argument(
        "--data", nargs=2, required=True, metavar=("NAME", "ROOT"), help="kind of data set and its folder"
    )
    add_dataset_option(parser)
    parser.add_argument("--split", default="val", metavar="NAME", help="default: val")
    _add_inference(parser)
    parser.add_argument(
        "--batch-size", type=whole_number, default=1, metavar="N", help="images of one size at once; default 1"
    )
    add_device(parser)
    add_launcher(parser)
    parser.add_argument("--boundary", action="store_true", help="boundary IoU too")
    parser.add_argument("--output", type=Path, metavar="DIR", help=f"write {SCORES}, and what these two say:")
    parser.add_argument("--overlays", action="store_true", help="each image under its classes, in DIR/overlays")
    add_style(parser)
    parser.add_argument("--submission", choices=BENCHMARKS, help="the benchmark's PNGs, in DIR/submission-…")
    parser.add_argument(
        "--format",
        choices=("text", "json", *REPORTS),
        default="text",
        help="what is printed: a table (default), JSON, mmsegmentation's tables or Segmenter's scores.yml",
    )
    add_json(parser)


def _add_inference(parser: argparse.ArgumentParser) -> None:
    size = ("H", "W")
    parser.add_argument("--scales", type=finite_number, nargs="+", metavar="S", help="see images at these scales")
    parser.add_argument("--flip", action="store_true", help="see images mirrored too")
    parser.add_argument(
        "--window", type=whole_number, nargs=2, metavar=size, help="slide a window of this size over them"
    )
    parser.add_argument("--stride", type=whole_number, nargs=2, metavar=size, help="step of the window")
    add_set(parser)


def run(options: argparse.Namespace) -> int:
    _check_clashes(options)
    from segpipe.devices import join_processes
    from segpipe.distributed import is_main

    apply_launcher(options)
    device = join_processes(options.device)
    start = perf_counter()
    folder = checkpoints.open_folder(options.model)
    is_classifier = folder.configuration.task == Tasks.image_classification
    if is_classifier and (options.overlays or options.submission or options.boundary or options.format in REPORTS):
        raise UsageError(
            "--overlays, --submission, --boundary and the formats mmseg and yml are for segmentation. Leave them out."
        )
    name, root = options.data
    dataset = data.load_dataset(name, root, options.split, **_data_options(folder.configuration, options))
    evaluate = _evaluate_classifier if is_classifier else _evaluate
    scores = evaluate(folder, dataset, override(folder.configuration, _changes(options)), device, options)
    if is_main():
        _print(options, scores, _document(options, scores, dataset, perf_counter() - start))
    return 0


def _check_clashes(options: argparse.Namespace) -> None:
    style = style_of(options)
    if options.output is None and (options.overlays or options.submission):
        raise UsageError("--overlays and --submission write files. Give --output DIR.")
    if style and not options.overlays:
        raise UsageError(f"--{next(iter(style))} is about overlays. Give --overlays and --output DIR, too.")
    if (options.window is None) != (options.stride is None):
        raise UsageError("A window slides by a stride. Give both, --window H W --stride H W.")


def _evaluate(
    folder: ModelFolder, dataset: Any, configuration: Configuration, device: Any, options: argparse.Namespace
) -> evaluation.AnyScores:
    return evaluation.evaluate(
        folder,
        dataset,
        configuration=configuration,
        device=device,
        batch_size=options.batch_size,
        boundary_ratio=BOUNDARY_RATIO if options.boundary else None,
        progress=True,
        on_picture=_on_image(options, configuration, dataset),
    )


def _evaluate_classifier(
    folder: ModelFolder, dataset: Any, configuration: Configuration, device: Any, options: argparse.Namespace
) -> evaluation.AnyScores:
    """Return Acc@1 and Acc@5; each image is seen once, as a whole."""
    if not isinstance(dataset, data.ClassificationDataset):
        raise InputError(
            f"{options.model} names one class for an image, and {options.data[0]} has label maps. Give images in "
            "folders of their classes: --data imagenet ROOT."
        )
    return evaluation.evaluate_classifier(
        folder, dataset, configuration=configuration, device=device, batch_size=options.batch_size, progress=True
    )


def _data_options(configuration: Configuration, options: argparse.Namespace) -> dict[str, Any]:
    """Return the data set's options, with the share that the model's run held out where the split has no images."""
    from segpipe.distributed import is_main

    given, (name, root) = parse_options(options.option), options.data
    share = data.held_out_share(configuration.dataset, name, root, options.split, **given)
    if share is None:
        return given
    if is_main():
        print_message(
            f"{root} has no images for {options.split} alone, so the share of {share:g} is taken that the "
            "model's run held out."
        )
    return {**given, "val_share": share}


def _changes(options: argparse.Namespace) -> list[str]:
    """Return the options of inference as changes of the configuration; --set comes last."""
    changes = []
    if options.scales is not None:
        changes.append(f"inference.scales={json.dumps(options.scales)}")
    if options.flip:
        changes.append("inference.flip=true")
    if options.window is not None:
        changes += [f"inference.window={options.window}", f"inference.stride={options.stride}", "inference.mode=slide"]
    return [*changes, *options.set]


def _on_image(
    options: argparse.Namespace, configuration: Configuration, dataset: data.SegmentationDataset
) -> evaluation.OnPicture | None:
    """Return the function that writes the files of each image, or None where there are none."""
    writers: list[evaluation.OnPicture] = []
    if options.overlays:
        labels = configuration.labels or dataset.labels
        writers.append(pipelines.overlay_writer(options.output / "overlays", dataset, labels, **style_of(options)))
    if options.submission:
        folder = options.output / f"submission-{options.submission}"
        writers.append(evaluation.submission_writer(folder, options.submission, configuration, dataset))
    if not writers:
        return None

    def write_all(name: str, label_map: np.ndarray) -> None:
        for write in writers:
            write(name, label_map)

    return write_all


def _document(
    options: argparse.Namespace, scores: evaluation.AnyScores, dataset: data.SegmentationDataset, seconds: float
) -> dict[str, Any]:
    """Return the scores with their model and data set, for JSON."""
    return {
        "model": options.model,
        "dataset": dataset.name,
        "split": dataset.split,
        "pictures": len(dataset),
        "changes": _changes(options),
        "seconds": seconds,
        "scores": scores.to_dict(),
    }


def _print(options: argparse.Namespace, scores: evaluation.AnyScores, document: dict[str, Any]) -> None:
    if options.output is not None:
        drawing.write_bytes(
            options.output / SCORES, f"{json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False)}\n".encode()
        )
    if options.json or options.format == "json":
        print_json(document)
    elif isinstance(scores, evaluation.Scores) and options.format in REPORTS:
        print(REPORTS[options.format](scores))
    else:
        print(_text(options, scores, document))


def _text(options: argparse.Namespace, scores: evaluation.AnyScores, document: dict[str, Any]) -> str:
    count, seconds = document["pictures"], document["seconds"]
    head = (
        f"{options.model} on {document['dataset']} {document['split']}: {count} images in "
        f"{format_seconds(seconds)}, {count / seconds:.1f} per second"
    )
    table = "\n".join(f"  {line}" for line in scores.table().splitlines())
    return "\n\n".join([head, table, *_written(options)])


def _written(options: argparse.Namespace) -> Sequence[str]:
    if options.output is None:
        return ()
    names = [SCORES]
    names += ["overlays/"] if options.overlays else []
    names += [f"submission-{options.submission}/"] if options.submission else []
    return (f"Written: {', '.join(names)} in {options.output}",)


COMMANDS = {"eval": Command(add_arguments, run, EXAMPLES)}
