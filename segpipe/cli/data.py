"""`segpipe data`: preparing a data set, a check of it before training, and a page of its images with their labels."""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args

from segpipe import data, pipelines
from segpipe.progress_bars import ProgressBar
from segpipe.text import format_bytes, format_count, format_fields, format_table

from .parsing import Command, UsageError, add_action, add_actions, positive_number, run_action, share, whole_number
from .printing import print_message, print_result
from .shared_options import add_dataset_option, add_json, parse_options

EXAMPLES = """  segpipe data prepare cityscapes data/cityscapes --jobs 4
  segpipe data prepare ade20k data/ade --download
  segpipe data prepare boundaries data/CamVid --data camvid
  segpipe data check camvid data/CamVid
  segpipe data check folder my-data --split all --option names=sky,road,car
  segpipe data show camvid data/CamVid grid.png --recipe segformer-b0-camvid"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    actions = add_actions(parser)
    _add_prepare(actions)
    check = add_action(actions, "check", "read every image and label once and say what is wrong", check_data)
    _add_dataset(check)
    check.add_argument("--split", nargs="+", default=["train", "val"], metavar="SPLIT", help="default: train val")
    check.add_argument(
        "--val-share",
        type=share,
        metavar="SHARE",
        help="check this share of the training data as val, held out by the images' names",
    )
    check.add_argument(
        "--limit", type=positive_number, default=5, metavar="N", help="findings shown of a kind (default 5)"
    )
    check.add_argument("--quiet", action="store_true", help="no progress bar")
    add_json(check)
    show = add_action(actions, "show", "draw images with their labels, and after a recipe's transforms", show_data)
    _add_dataset(show)
    show.add_argument("page", nargs="?", metavar="PAGE", type=Path, help="the page to write: .png, .jpg, .webp")
    show.add_argument("--split", default="train", metavar="SPLIT", help="default: train")
    show.add_argument("--count", type=positive_number, default=6, metavar="N", help="images (default 6)")
    show.add_argument(
        "--seed", type=whole_number, default=0, metavar="N", help="chooses images and transforms (default 0)"
    )
    show.add_argument("--recipe", metavar="NAME", help="preset, folder or configuration.json whose transforms to show")
    show.add_argument("--output", metavar="FILE", type=Path, help="the same as PAGE")


def check_data(options: argparse.Namespace) -> int:
    reports = _check(options)
    is_ok = all(report.is_ok for report in reports)
    text = "\n\n".join([*map(_text, reports), _verdict(reports)])
    print_result(options, {"ok": is_ok, "splits": [*map(_document, reports)]}, text)
    return 0 if is_ok else 1


def show_data(options: argparse.Namespace) -> int:
    if (options.page is None) == (options.output is None):
        raise UsageError("Where to? Name the page to write once, such as page.png.")
    page = pipelines.draw_samples(
        options.name,
        options.root,
        options.page or options.output,
        split=options.split,
        count=options.count,
        seed=options.seed,
        recipe=options.recipe,
        **parse_options(options.option),
    )
    if page.num_shown < options.count:
        print_message(f"{options.split} has {page.num_images} images; all are shown.")
    size = format_bytes(page.path.stat().st_size)
    print(f"{page.path}  {page.num_shown} of {page.num_images} images, {size}")
    return 0


def _add_dataset(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", metavar="NAME", help="camvid, ade20k, …, or folder for images and masks of your own")
    parser.add_argument("root", metavar="ROOT", help="its folder")
    add_dataset_option(parser, "an option of the data set, e.g. names=sky,road; may be repeated")


def _check(options: argparse.Namespace) -> tuple[data.Report, ...]:
    share = {} if options.val_share is None else {"val_share": options.val_share}
    with ProgressBar("check", None, "images", is_shown=not options.quiet) as bar:
        return data.check_splits(
            options.name,
            options.root,
            options.split,
            limit=options.limit,
            progress=bar.move_to,
            **parse_options(options.option) | share,
        )


def _text(report: data.Report) -> str:
    labeled = sum(count.pixels for count in report.classes)
    total = max(1, labeled + report.ignored_pixels)
    rows = [("class", "pixels", "images")]
    rows += [(count.name, _percent(count.pixels / total), str(count.images)) for count in report.classes]
    rows.append(("(ignored)", _percent(report.ignored_pixels / total), ""))
    lines = [f"{report.name} {report.split}: {format_count(report.num_images, 'image')}, {len(report.classes)} classes"]
    lines += [format_table(rows, ("left", "right", "right"))] if report.num_images else []
    return "\n\n".join([*lines, *map(_group_text, report.groups)])


def _percent(share: float) -> str:
    return "–" if share == 0 else f"{share:.2%}" if share >= 0.0001 else "<0.01%"


def _group_text(group: data.FindingGroup) -> str:
    lines = [f"{group.severity}: {data.TITLES[group.kind]} ({group.total})"]
    fixes = list(dict.fromkeys(finding.fix for finding in group.findings))
    for fix in fixes:
        lines += [f"  {finding}" for finding in group.findings if finding.fix == fix]
        lines += [f"  → {fix}"] if fix else []
    if group.total > len(group.findings):
        lines.append(f"  … and {group.total - len(group.findings)} more; --limit {group.total} shows all")
    return "\n".join(lines)


def _verdict(reports: Sequence[data.Report]) -> str:
    errors = sum(report.count("error") for report in reports)
    warnings = sum(report.count("warning") for report in reports)
    if errors:
        return f"Not ready for training: {format_count(errors, 'error')}, {format_count(warnings, 'warning')}."
    return f"Ready for training, with {format_count(warnings, 'warning')}." if warnings else "Ready for training."


def _document(report: data.Report) -> dict[str, Any]:
    return {
        "dataset": report.name,
        "split": report.split,
        "ok": report.is_ok,
        "pictures": report.num_images,
        "ignored_pixels": report.ignored_pixels,
        "classes": [{"name": count.name, "pixels": count.pixels, "pictures": count.images} for count in report.classes],
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


def _add_prepare(actions: Any) -> None:
    parser = add_action(actions, "prepare", "make what a data set needs before training", prepare_data)
    parser.describe, parser.formatter_class = _describe_needs, argparse.RawDescriptionHelpFormatter
    parser.add_argument("name", metavar="NAME", help="cityscapes, camvid, …; see below")
    parser.add_argument("root", metavar="ROOT", help="its folder")
    parser.add_argument("--jobs", type=whole_number, default=1, metavar="N", help="processes (default 1)")
    parser.add_argument("--download", action="store_true", help="first fetch and unpack what is missing")
    parser.add_argument("--keep-archive", action="store_true", help="with --download: leave the archives in ROOT")
    parser.add_argument("--annotations", metavar="KIND", help="cityscapes: gtFine (default) or gtCoarse")
    parser.add_argument("--count", type=whole_number, metavar="N", help="street-scenes: how many (default 150)")
    parser.add_argument(
        "--first-seed", type=whole_number, metavar="N", help="street-scenes: seed of the first (default 1000)"
    )
    parser.add_argument("--size", type=_size, metavar="HxW", help="street-scenes: height and width (default 360x480)")
    parser.add_argument("--split", metavar="SPLIT", help="street-scenes, boundaries: train (default), val or test")
    parser.add_argument("--data", metavar="NAME", help="boundaries: the data set in ROOT, as camvid or folder")
    parser.add_argument("--metric", choices=get_args(data.Metric), help="boundaries: euclidean (default) or taxicab")
    add_dataset_option(parser, "boundaries: an option of the data set, e.g. names=sky,road; may be repeated")
    parser.add_argument("--quiet", action="store_true", help="no progress bar")
    add_json(parser)


def _describe_needs() -> str:
    preparers = {name: data.PREPARERS.get(name) for name in data.PREPARERS}
    fetched = ", ".join(name for name, preparer in preparers.items() if preparer.archives)
    return (
        f"what each needs:\n{format_fields([(name, preparer.makes) for name, preparer in preparers.items()])}\n\n"
        f"--download fetches archives of {fetched};\nit goes on where it stopped, and checks the digests."
    )


def prepare_data(options: argparse.Namespace) -> int:
    fetched: tuple[str, ...] = ()
    if options.download:
        fetched = data.download_dataset(
            options.name, options.root, keep_archives=options.keep_archive, has_progress=not options.quiet
        )
    elif options.keep_archive:
        print_message("--keep-archive means something with --download only.")
    prepared = _prepare(options)
    print_result(options, _prepared_document(prepared, fetched), _prepared_text(prepared, fetched))
    return 0


def _size(text: str) -> tuple[int, int]:
    match = re.fullmatch(r"([0-9]{1,5})x([0-9]{1,5})", text)
    if match is None:
        raise argparse.ArgumentTypeError(f"{text!r} is not a size; height and width such as 360x480 are needed")
    return int(match[1]), int(match[2])


def _prepare(options: argparse.Namespace) -> data.Prepared:
    names = ("annotations", "count", "first_seed", "size", "split", "data", "metric")
    given = {name: getattr(options, name) for name in names if getattr(options, name) is not None}
    if options.option:
        given["options"] = parse_options(options.option)
    with ProgressBar("prepare", None, "files", is_shown=not options.quiet) as bar:
        return data.prepare_dataset(options.name, options.root, jobs=options.jobs, progress=bar.move_to, **given)


def _prepared_text(prepared: data.Prepared, fetched: tuple[str, ...]) -> str:
    lines = [f"{prepared.name} in {prepared.root}", f"  {prepared.note}"]
    lines += [f"  fetched {url}" for url in fetched]
    lines += [f"  {folder}/: {count} written" for folder, count in prepared.written.items()]
    if prepared.kept:
        lines.append(f"  {prepared.kept} {'file was' if prepared.kept == 1 else 'files were'} there already")
    return "\n".join(lines)


def _prepared_document(prepared: data.Prepared, fetched: tuple[str, ...]) -> dict[str, Any]:
    return {
        "dataset": prepared.name,
        "root": str(prepared.root),
        "note": prepared.note,
        "fetched": list(fetched),
        "written": prepared.written,
        "num_written": prepared.num_written,
        "kept": prepared.kept,
    }


COMMANDS = {"data": Command(add_arguments, run_action, EXAMPLES)}
