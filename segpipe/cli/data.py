"""`segpipe data`: preparing a data set, a check of it before training, and a page of its pictures with their labels."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from segpipe.errors import InputError
from segpipe.text import format_bytes, format_table

from .parsing import add_action, add_actions, add_json, parse_options, share
from .prepare import add_prepare
from .printing import print_json, print_note

if TYPE_CHECKING:
    from segpipe.configuration import Configuration
    from segpipe.data import FindingGroup, Report, Sample, SegmentationDataset

EXAMPLES = """  segpipe data prepare cityscapes data/cityscapes --jobs 4
  segpipe data prepare ade20k data/ade --download
  segpipe data prepare boundaries data/CamVid --data camvid
  segpipe data check camvid data/CamVid
  segpipe data check folder my-data --split all --option names=sky,road,car
  segpipe data show camvid data/CamVid grid.png --recipe segformer-b0-camvid"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    actions = add_actions(parser)
    add_prepare(actions)
    check = add_action(actions, "check", "read every picture and label once and say what is wrong", check_data)
    _add_dataset(check)
    check.add_argument("--split", nargs="+", default=["train", "val"], metavar="SPLIT", help="default: train val")
    check.add_argument(
        "--val-share",
        type=share,
        metavar="SHARE",
        help="check this share of the training data as val, held out by the images' names",
    )
    check.add_argument("--limit", type=_positive, default=5, metavar="N", help="findings shown of a kind (default 5)")
    check.add_argument("--quiet", action="store_true", help="no progress bar")
    add_json(check)
    show = add_action(actions, "show", "draw pictures with their labels, and after a recipe's transforms", show_data)
    _add_dataset(show)
    show.add_argument("page", nargs="?", metavar="PAGE", type=Path, help="the page to write: .png, .jpg, .webp")
    show.add_argument("--split", default="train", metavar="SPLIT", help="default: train")
    show.add_argument("--count", type=_positive, default=6, metavar="N", help="pictures (default 6)")
    show.add_argument("--seed", type=_whole, default=0, metavar="N", help="chooses pictures and transforms (default 0)")
    show.add_argument("--recipe", metavar="NAME", help="preset, folder or configuration.json whose transforms to show")
    show.add_argument("--output", metavar="FILE", type=Path, help="the same as PAGE")


def run(options: argparse.Namespace) -> int:
    return int(options.action(options))


def check_data(options: argparse.Namespace) -> int:
    """Check each split and look for pictures that are in two of them; exit code 1 where there are errors."""
    reports = _check(options)
    is_ok = all(report.is_ok for report in reports)
    if options.json:
        print_json({"ok": is_ok, "splits": [*map(_document, reports)]})
    else:
        for report in reports:
            print(f"{_text(report)}\n")
        print(_verdict(reports))
    return 0 if is_ok else 1


def show_data(options: argparse.Namespace) -> int:
    """Write a page of pictures that were chosen by the seed."""
    if (options.page is None) == (options.output is None):
        print_note("segpipe data show: Where to? Name the page to write once, such as page.png.")
        return 2
    configuration = _read_recipe(options.recipe) if options.recipe else None
    dataset = _load(options, options.split)
    from segpipe.drawing import write_picture
    from segpipe.pipelines import draw_label_grid

    rows = [_row(dataset, index, configuration, options.seed) for index in _choose(len(dataset), options)]
    headings = [f"{dataset.name} {dataset.split}", f"after the transforms of {options.recipe}, seed {options.seed}"]
    page = draw_label_grid(rows, dataset.labels, headings=headings[: len(rows[0])])
    path = write_picture(options.page or options.output, page)
    print(f"{path}  {len(rows)} of {len(dataset)} pictures, {format_bytes(path.stat().st_size)}")
    return 0


def _add_dataset(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", metavar="NAME", help="camvid, ade20k, …, or folder for pictures and masks of your own")
    parser.add_argument("root", metavar="ROOT", help="its folder")
    parser.add_argument(
        "--option",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="an option of the data set, e.g. names=sky,road; may be repeated",
    )


def _whole(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of 0 or more")
    return int(text)


def _positive(text: str) -> int:
    if _whole(text) == 0:
        raise argparse.ArgumentTypeError("it must be 1 or more")
    return int(text)


def _load(options: argparse.Namespace, split: str) -> SegmentationDataset:
    from segpipe.data import ClassificationDataset, load_dataset

    dataset = load_dataset(options.name, options.root, split, **parse_options(options.option))
    if isinstance(dataset, ClassificationDataset):
        raise InputError(
            f"{dataset!r} has no label maps, which is what segpipe data looks at. Look at its folders themselves."
        )
    return dataset


def _check(options: argparse.Namespace) -> tuple[Report, ...]:
    from segpipe.data import check_splits
    from segpipe.progress_bars import ProgressBar

    share = {} if options.val_share is None else {"val_share": options.val_share}
    with ProgressBar("check", None, "images", is_shown=not options.quiet) as bar:
        return check_splits(
            options.name,
            options.root,
            options.split,
            limit=options.limit,
            progress=bar.move_to,
            **parse_options(options.option) | share,
        )


def _read_recipe(name: str) -> Configuration:
    from segpipe.configuration import read_configuration

    from .catalogue import find_configuration

    configuration = read_configuration(Path(name)) if name.endswith(".json") else find_configuration(name)
    if configuration.train is None or not configuration.train.transforms:
        raise InputError(f"{name} has no train.transforms, which --recipe shows. Give one that has, or leave it out.")
    return configuration


def _choose(length: int, options: argparse.Namespace) -> list[int]:
    import numpy as np

    if options.count > length:
        print_note(f"segpipe: {options.split} has {length} pictures; all are shown.")
    chosen = np.random.default_rng(options.seed).choice(length, min(options.count, length), replace=False)
    return sorted(int(index) for index in chosen)


def _row(dataset: SegmentationDataset, index: int, recipe: Configuration | None, seed: int) -> list[Sample]:
    """A sample and, with a recipe, what the first epoch of a training with this seed makes of it."""
    sample = dataset[index]
    if recipe is None or recipe.train is None:
        return [sample]
    from segpipe.data import Key, build_transforms, sample_rng

    red, green, blue = (round(value) for value in recipe.model.pixel_mean)
    transform = build_transforms(
        recipe.train.transforms, ignore_index=dataset.labels.ignore_index, fill=(red, green, blue)
    )
    return [sample, transform(sample, sample_rng(seed, Key(0, index)))]


def _text(report: Report) -> str:
    labelled = sum(count.pixels for count in report.classes)
    total = max(1, labelled + report.ignored_pixels)
    rows = [("class", "pixels", "pictures")]
    rows += [(count.name, _percent(count.pixels / total), str(count.pictures)) for count in report.classes]
    rows.append(("(ignored)", _percent(report.ignored_pixels / total), ""))
    lines = [f"{report.name} {report.split}: {_number(report.num_pictures, 'picture')}, {len(report.classes)} classes"]
    lines += [format_table(rows, ("left", "right", "right"))] if report.num_pictures else []
    return "\n\n".join([*lines, *map(_group_text, report.groups)])


def _percent(share: float) -> str:
    return "–" if share == 0 else f"{share:.2%}" if share >= 0.0001 else "<0.01%"


def _group_text(group: FindingGroup) -> str:
    from segpipe.data import TITLES

    lines = [f"{group.severity}: {TITLES[group.kind]} ({group.total})"]
    fixes = list(dict.fromkeys(finding.fix for finding in group.findings))
    for fix in fixes:
        lines += [f"  {finding}" for finding in group.findings if finding.fix == fix]
        lines += [f"  → {fix}"] if fix else []
    if group.total > len(group.findings):
        lines.append(f"  … and {group.total - len(group.findings)} more; --limit {group.total} shows all")
    return "\n".join(lines)


def _verdict(reports: Sequence[Report]) -> str:
    errors = sum(report.count("error") for report in reports)
    warnings = sum(report.count("warning") for report in reports)
    if errors:
        return f"Not ready for training: {_number(errors, 'error')}, {_number(warnings, 'warning')}."
    return f"Ready for training, with {_number(warnings, 'warning')}." if warnings else "Ready for training."


def _number(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def _document(report: Report) -> dict[str, Any]:
    return {
        "dataset": report.name,
        "split": report.split,
        "ok": report.is_ok,
        "pictures": report.num_pictures,
        "ignored_pixels": report.ignored_pixels,
        "classes": [
            {"name": count.name, "pixels": count.pixels, "pictures": count.pictures} for count in report.classes
        ],
        "findings": [
            {
                "kind": group.kind,
                "severity": group.severity,
                "total": group.total,
                "shown": [{"file": each.file, "what": each.what, "fix": each.fix} for each in group.findings],
            }
            for group in report.groups
        ],
    }
