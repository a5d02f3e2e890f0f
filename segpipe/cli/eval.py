"""`segpipe eval`: a model's scores on a data set, with overlays and files for benchmarks where they are asked for."""

from __future__ import annotations

import argparse
import json
import logging
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

from segpipe.configuration import Configuration, override
from segpipe.errors import InputError
from segpipe.hub import ModelFolder
from segpipe.names import Tasks
from segpipe.text import format_seconds

from .drawing import add_style_arguments, style_of
from .parsing import add_json, finite_number, parse_options, whole_number
from .printing import print_json, print_message, print_note

if TYPE_CHECKING:
    import numpy as np

    from segpipe.data import SegmentationDataset
    from segpipe.evaluation import AnyScores

BOUNDARY_RATIO = 0.02
SCORES = "scores.json"
OVERLAY_ENDING = "-overlay.png"
EXAMPLES = """  segpipe eval segformer-b0-camvid --data camvid ~/data/camvid --split test
  segpipe eval work_dir/model --data folder ./street --scales 0.75 1 1.25 --flip
  segpipe eval segformer-b2-cityscapes --data cityscapes ~/data/cityscapes --window 1024 1024 --stride 768 768
  segpipe eval work_dir/model --data ade20k ~/data/ade20k --output results --overlays --submission ade20k"""

OnPicture = Callable[[str, "np.ndarray"], None]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", metavar="MODEL", help="a preset, a model's name or a folder")
    parser.add_argument(
        "--data", nargs=2, required=True, metavar=("NAME", "ROOT"), help="kind of data set and its folder"
    )
    parser.add_argument(
        "--option", action="append", default=[], metavar="KEY=VALUE", help="of the data set, e.g. names=sky,road"
    )
    parser.add_argument("--split", default="val", metavar="NAME", help="default: val")
    _add_inference_arguments(parser)
    parser.add_argument(
        "--batch-size", type=whole_number, default=1, metavar="N", help="pictures of one size at once; default 1"
    )
    parser.add_argument("--device", help="cpu, cuda, cuda:1, …; default: a GPU if there is one")
    parser.add_argument("--local-rank", "--local_rank", type=int, help=argparse.SUPPRESS)  # of torch's old launcher
    parser.add_argument("--boundary", action="store_true", help="boundary IoU too")
    parser.add_argument("--output", type=Path, metavar="DIR", help=f"write {SCORES}, and what these two say:")
    parser.add_argument("--overlays", action="store_true", help="each picture under its classes, in DIR/overlays")
    add_style_arguments(parser)
    parser.add_argument(
        "--submission", choices=("cityscapes", "ade20k"), help="the benchmark's PNGs, in DIR/submission-…"
    )
    parser.add_argument(
        "--format",
        choices=("text", "json", "mmseg", "yml"),
        default="text",
        help="what is printed: a table (default), JSON, mmsegmentation's tables or Segmenter's scores.yml",
    )
    add_json(parser)


def _add_inference_arguments(parser: argparse.ArgumentParser) -> None:
    size = ("H", "W")
    parser.add_argument("--scales", type=finite_number, nargs="+", metavar="S", help="see pictures at these scales")
    parser.add_argument("--flip", action="store_true", help="see pictures mirrored too")
    parser.add_argument(
        "--window", type=whole_number, nargs=2, metavar=size, help="slide a window of this size over them"
    )
    parser.add_argument("--stride", type=whole_number, nargs=2, metavar=size, help="step of the window")
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="change the configuration; may be repeated"
    )


def run(options: argparse.Namespace) -> int:
    if options.output is None and (options.overlays or options.submission):
        print_note("segpipe eval: --overlays and --submission write files. Give --output DIR.")
        return 2
    style = style_of(options)
    if style and not options.overlays:
        print_note(f"segpipe eval: --{next(iter(style))} is about overlays. Give --overlays and --output DIR, too.")
        return 2
    if (options.window is None) != (options.stride is None):
        print_note("segpipe eval: A window slides by a stride. Give both, --window H W --stride H W.")
        return 2
    from segpipe.checkpoints import open_folder
    from segpipe.distributed import is_main

    if options.local_rank is not None:
        os.environ.setdefault("LOCAL_RANK", str(options.local_rank))
    device = _join(options.device)
    start = perf_counter()
    folder = open_folder(options.model)
    is_classifier = folder.configuration.task == Tasks.image_classification
    is_foreign_format = options.format in ("mmseg", "yml")
    if is_classifier and (options.overlays or options.submission or options.boundary or is_foreign_format):
        print_note(
            "segpipe eval: --overlays, --submission, --boundary and the formats mmseg and yml are for segmentation. "
            "Leave them out."
        )
        return 2
    scores, dataset = (_evaluate_classifier if is_classifier else _evaluate)(folder, options, device)
    if not is_main():
        return 0
    document = _document(options, scores, dataset, perf_counter() - start)
    if options.output is not None:
        _write_document(options.output / SCORES, document)
    if options.json or options.format == "json":
        print_json(document)
    elif is_foreign_format:
        print(_foreign_text(scores, options.format))
    else:
        print(_text(options, scores, dataset, document["seconds"]))
    return 0


def _foreign_text(scores: AnyScores, text_format: str) -> str:
    from segpipe.evaluation import Scores, mmseg_tables, segmenter_yaml

    assert isinstance(scores, Scores)
    return mmseg_tables(scores) if text_format == "mmseg" else segmenter_yaml(scores)


def _join(device: str | None) -> str | None:
    """Join torchrun's other processes, each with its own GPU; what the first process says is said once."""
    from segpipe.distributed import device_index, join, read_ranks

    ranks = read_ranks()
    if ranks.rank != 0:
        logging.getLogger("segpipe").setLevel(logging.ERROR)
    if device is None and ranks.world_size > 1:
        import torch

        visible = torch.cuda.device_count()
        device = f"cuda:{device_index(ranks, visible)}" if visible else "cpu"
    join((device or "cpu").partition(":")[0])
    return device


def _evaluate(
    folder: ModelFolder, options: argparse.Namespace, device: str | None
) -> tuple[AnyScores, SegmentationDataset]:
    from segpipe.data import load_dataset
    from segpipe.evaluation import evaluate

    name, root = options.data
    dataset = load_dataset(name, root, options.split, **_data_options(folder.configuration, options))
    configuration = override(folder.configuration, _changes(options))
    scores = evaluate(
        folder,
        dataset,
        configuration=configuration,
        device=device,
        batch_size=options.batch_size,
        boundary_ratio=BOUNDARY_RATIO if options.boundary else None,
        progress=True,
        on_picture=_on_picture(options, configuration, dataset),
    )
    return scores, dataset


def _evaluate_classifier(folder: ModelFolder, options: argparse.Namespace, device: str | None) -> tuple[AnyScores, Any]:
    """Acc@1 and Acc@5; pictures are seen once, whole."""
    from segpipe.data import ClassificationDataset, load_dataset
    from segpipe.evaluation import evaluate_classifier

    name, root = options.data
    dataset = load_dataset(name, root, options.split, **_data_options(folder.configuration, options))
    if not isinstance(dataset, ClassificationDataset):
        raise InputError(
            f"{options.model} names one class for a picture, and {name} has label maps. Give pictures in folders of "
            "their classes: --data imagenet ROOT."
        )
    scores = evaluate_classifier(
        folder,
        dataset,
        configuration=override(folder.configuration, _changes(options)),
        device=device,
        batch_size=options.batch_size,
        progress=True,
    )
    return scores, dataset


def _data_options(configuration: Configuration, options: argparse.Namespace) -> dict[str, Any]:
    """Return the data set's options, with the share that the model's run held out where there is no split for it."""
    from segpipe.data import has_own_split
    from segpipe.distributed import is_main

    given, named = parse_options(options.option), configuration.dataset
    name, root = options.data
    if named is None or named.val_share is None or named.type != name or "val_share" in given:
        return given
    if options.split != named.eval.split or has_own_split(name, root, options.split, **given):
        return given
    if is_main():
        print_message(
            f"{root} has no images for {options.split} alone, so the share of {named.val_share:g} is taken that the "
            "model's run held out."
        )
    return {**given, "val_share": named.val_share}


def _changes(options: argparse.Namespace) -> list[str]:
    """How pictures are seen, as changes of the configuration; --set comes last."""
    changes = []
    if options.scales is not None:
        changes.append(f"inference.scales={json.dumps(options.scales)}")
    if options.flip:
        changes.append("inference.flip=true")
    if options.window is not None:
        changes += [f"inference.window={options.window}", f"inference.stride={options.stride}", "inference.mode=slide"]
    return [*changes, *options.set]


def _on_picture(
    options: argparse.Namespace, configuration: Configuration, dataset: SegmentationDataset
) -> OnPicture | None:
    """What is written for each picture, or None."""
    writers = []
    if options.overlays:
        writers.append(_overlay_writer(options, configuration, dataset))
    if options.submission:
        folder = options.output / f"submission-{options.submission}"
        writers.append(_submission_writer(folder, options.submission, configuration, dataset))
    if not writers:
        return None

    def write(name: str, label_map: np.ndarray) -> None:
        for writer in writers:
            writer(name, label_map)

    return write


def _overlay_writer(
    options: argparse.Namespace, configuration: Configuration, dataset: SegmentationDataset
) -> OnPicture:
    from segpipe.pipelines import Segmentation

    from .output_names import output_names

    folder, style = options.output / "overlays", style_of(options)
    pairs = {pair.image: pair for pair in dataset.pairs}
    sources = list(pairs)
    stems = dict(zip(sources, output_names(sources, [OVERLAY_ENDING]), strict=True))
    labels = configuration.labels or dataset.labels

    def write(name: str, label_map: np.ndarray) -> None:
        image = pairs[name].read_image()
        result = Segmentation(label_map, {}, labels.names, palette=labels.palette, image=image, source=name)
        result.save_overlay(folder / f"{stems[name]}{OVERLAY_ENDING}", **style)

    return write


def _submission_writer(
    folder: Path, benchmark: str, configuration: Configuration, dataset: SegmentationDataset
) -> OnPicture:
    from segpipe.evaluation import check_submission_names, submission_values, write_submission

    check_submission_names(pair.image for pair in dataset.pairs)
    values = submission_values(benchmark, configuration.labels, configuration.model.num_classes)

    def write(name: str, label_map: np.ndarray) -> None:
        write_submission(folder, name, label_map, values)

    return write


def _document(
    options: argparse.Namespace, scores: AnyScores, dataset: SegmentationDataset, seconds: float
) -> dict[str, Any]:
    """The scores and what they are the scores of, for JSON."""
    return {
        "model": options.model,
        "dataset": dataset.name,
        "split": dataset.split,
        "pictures": len(dataset),
        "changes": _changes(options),
        "seconds": seconds,
        "scores": scores.to_dict(),
    }


def _write_document(path: Path, document: dict[str, Any]) -> None:
    from segpipe.drawing import write_bytes

    write_bytes(path, f"{json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False)}\n".encode())


def _text(options: argparse.Namespace, scores: AnyScores, dataset: SegmentationDataset, seconds: float) -> str:
    rate = len(dataset) / seconds
    head = (
        f"{options.model} on {dataset.name} {dataset.split}: {len(dataset)} pictures in {format_seconds(seconds)}, "
        f"{rate:.1f} per second"
    )
    return "\n\n".join([head, _indented(scores.table()), *_written(options)])


def _indented(text: str) -> str:
    return "\n".join(f"  {line}" for line in text.splitlines())


def _written(options: argparse.Namespace) -> Sequence[str]:
    if options.output is None:
        return ()
    names = [SCORES]
    names += ["overlays/"] if options.overlays else []
    names += [f"submission-{options.submission}/"] if options.submission else []
    return (f"Written: {', '.join(names)} in {options.output}",)
