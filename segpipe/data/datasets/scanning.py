"""Finding the files of a data set: folders that may hold them, pairs by name, lists of names."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from segpipe.configuration import LabelSet
from segpipe.errors import InputError, UnknownNameError
from segpipe.files import read_file
from segpipe.limits import limit
from segpipe.log import get_logger
from segpipe.names import listing, unknown_name_message

from ..label_files import LABEL_SUFFIXES, read_label
from ..sources import PICTURE_SUFFIXES, list_formats, split_readable
from .dataset import LabelReader, Pair, SegmentationDataset

logger = get_logger(__name__)

AnyPath = str | os.PathLike[str]

_ALIASES = {
    "training": "train",
    "train2017": "train",
    "validation": "val",
    "valid": "val",
    "val2017": "val",
    "testing": "test",
}


@dataclass(frozen=True)
class Layout:
    """One way in which the files of a split may lie below the root.

    Files are paired by their path below the two folders, without the ending.

    Attributes:
        images: folder of the pictures; sub-folders are searched too.
        labels: folder of the labels.
        label_set: what the values in these label files mean.
        image_endings: what names of pictures end in.
        label_endings: what names of labels end in.
        read: what reads a label. `read_label` alone also compares palettes with the label set's.
        lists: text files that name the pictures of the split, one a line; the first that exists counts.
        needs_list: whether the layout holds only where there is such a file, because its folders mix the splits.
        needs_all: whether a later layout counts where pictures have no label here, because labels of this kind may be
            there in part.
    """

    images: str
    labels: str
    label_set: LabelSet
    image_endings: tuple[str, ...] = PICTURE_SUFFIXES
    label_endings: tuple[str, ...] = LABEL_SUFFIXES
    read: LabelReader = read_label
    lists: tuple[str, ...] = ()
    needs_list: bool = False
    needs_all: bool = False


def build_from_layouts(
    name: str, root: AnyPath, split: str, layouts: Sequence[Layout], *, split_file: AnyPath | None = None
) -> SegmentationDataset:
    """The data set of the first layout that has pictures and labels below the root.

    Args:
        name: of the data set.
        root: its folder.
        split: for messages.
        layouts: the ways in which its files may lie, the usual one first.
        split_file: a text file with a picture a line, which counts instead of the layout's own; absolute, or below
            the current folder or the root.

    Raises:
        InputError: no layout fits, a picture has no label, or two files have one name.
    """
    folder = existing_folder(root)
    reasons: list[str] = []
    refusals: list[InputError] = []
    for layout in layouts:
        reason = _missing(folder, layout, split_file)
        if reason is not None:
            reasons.append(reason)
            continue
        try:
            pairs = _pairs_of(folder, layout, split_file)
        except InputError as error:
            refusals.append(error)
            if layout.needs_all:
                continue
            break
        logger.info("%s %s: %d pictures in %s", name, split, len(pairs), folder / layout.images)
        return SegmentationDataset(name, split, layout.label_set, pairs)
    if refusals:
        raise refusals[0]
    raise InputError(_nothing_found(name, folder, split, layouts[0], reasons))


def resolve_split(dataset: str, split: str, known: Sequence[str]) -> str:
    """The data set's own name of a split: "validation" is val; UnknownNameError has the list."""
    resolved = _ALIASES.get(split, split)
    if resolved not in known:
        raise UnknownNameError(unknown_name_message(f"split of {dataset}", split, known))
    return resolved


def existing_folder(root: AnyPath) -> Path:
    """The root as a path; InputError unless it is a folder."""
    folder = Path(os.path.expanduser(root))
    if not os.path.isdir(folder):
        raise InputError(
            f"There is no folder {folder}; the root of a data set is one. Check the path; the current folder is "
            f"{Path.cwd()}."
        )
    return folder


def walk(folder: Path) -> Iterator[tuple[str, list[str], list[str]]]:
    """Yield what os.walk does, sorted, through links to folders too, without hidden folders.

    A link to a folder that the way down to it has passed is left out: two of them in one folder would never end.
    """
    passed = {str(folder): frozenset({_identity(str(folder))})}
    for parent, folders, files in os.walk(folder, followlinks=True):
        above = passed.pop(parent)
        below = {name: _identity(os.path.join(parent, name)) for name in sorted(folders) if not name.startswith(".")}
        folders[:] = [name for name, identity in below.items() if identity not in above]
        passed.update({os.path.join(parent, name): above | {below[name]} for name in folders})
        yield parent, folders, files


def _identity(folder: str) -> tuple[int, int]:
    try:
        status = os.stat(folder)
    except OSError:
        return (0, 0)
    return status.st_dev, status.st_ino


def find_files(folder: Path, endings: Sequence[str]) -> dict[str, Path]:
    """Files whose names have one of the endings, in any case: path below the folder without its ending → path.

    Sorted, with sub-folders, without hidden files. InputError where two files have one name, such as a.jpg and a.png.
    """
    found: dict[str, Path] = {}
    for parent, _, files in walk(folder):
        below = Path(parent).relative_to(folder).as_posix()
        prefix = "" if below == "." else f"{below}/"
        for name in sorted(files):
            ending = next((ending for ending in endings if name.lower().endswith(ending.lower())), None)
            if ending is None or name.startswith("."):
                continue
            path = Path(parent, name)
            key = f"{prefix}{name[: -len(ending)]}"
            if key in found:
                raise InputError(
                    f"{found[key]} and {path} have the same name; pictures and labels are paired by it. "
                    "Keep one of the two."
                )
            found[key] = path
    return dict(sorted(found.items()))


def pair_files(
    images: Mapping[str, Path], labels: Mapping[str, Path], layout: Layout, folder: Path
) -> tuple[Pair, ...]:
    """Each picture with the label of its name; InputError lists pictures without one. Other labels are left out."""
    missing = [key for key in images if key not in labels]
    if missing:
        expected = folder / layout.labels / f"{missing[0]}{layout.label_endings[0]}"
        raise InputError(
            f"{len(missing)} of {len(images)} pictures in {folder / layout.images} have no label: {listing(missing)}. "
            f"Each needs one of its name, such as {expected}. Add the labels, or name the pictures in split_file."
        )
    read = layout.read
    if read is read_label:
        read = partial(read_label, classes=layout.label_set)
    return tuple(Pair(str(path), str(labels[key]), read) for key, path in images.items())


def read_names(path: Path) -> tuple[str, ...]:
    """The lines of a text file without blank ones; InputError where a name is there twice, or there is none."""
    data = read_file(path, max_bytes=limit("annotation_bytes"), error=InputError)
    try:
        lines = [line.strip() for line in data.decode("utf-8-sig").splitlines()]
    except UnicodeDecodeError as error:
        raise InputError(f"The list {path} cannot be read: {error}. It is a text with one picture a line.") from error
    names = tuple(line for line in lines if line)
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise InputError(f"The list {path} names {len(twice)} pictures twice: {listing(twice)}. Name each one once.")
    if not names:
        raise InputError(f"The list {path} is empty; it has one picture a line. Fill it.")
    return names


def select(images: Mapping[str, Path], names: Sequence[str], origin: Path) -> dict[str, Path]:
    """The named pictures, in the list's order. A name is a path below the folder, with or without its ending."""
    by_file = {f"{key}{path.name[len(Path(key).name) :]}": key for key, path in images.items()}
    keys = [name if name in images else by_file.get(name) for name in names]
    missing = [name for name, key in zip(names, keys, strict=True) if key is None]
    if missing:
        raise InputError(
            f"{origin} names {len(missing)} pictures that are not there: {listing(missing)}. Names are like "
            f"{next(iter(images))!r}. Correct the list or add the pictures."
        )
    selected = {key: images[key] for key in keys if key is not None}
    if len(selected) < len(names):
        raise InputError(f"{origin} names a picture with and without its ending. Name each one once.")
    return selected


def _missing(folder: Path, layout: Layout, split_file: AnyPath | None) -> str | None:
    """Why there is nothing of this layout, or None."""
    for part, endings in ((layout.images, layout.image_endings), (layout.labels, layout.label_endings)):
        if not os.path.isdir(folder / part):
            return f"{part} (no such folder)"
        if not _has_files(folder / part, endings):
            return f"{part} (no files *{endings[0]})"
    if layout.needs_list and split_file is None and _list_of(folder, layout) is None:
        return f"{' or '.join(layout.lists)} (no such list)"
    return None


def _has_files(folder: Path, endings: Sequence[str]) -> bool:
    lowered = tuple(ending.lower() for ending in endings)
    return any(name.lower().endswith(lowered) and name[0] != "." for _, _, files in walk(folder) for name in files)


def _pairs_of(folder: Path, layout: Layout, split_file: AnyPath | None) -> tuple[Pair, ...]:
    images = find_files(folder / layout.images, layout.image_endings)
    labels = find_files(folder / layout.labels, layout.label_endings)
    listing = _list_of(folder, layout) if split_file is None else _resolve_list(split_file, folder)
    if listing is not None:
        images = select(images, read_names(listing), listing)
    pairs = pair_files(images, labels, layout, folder)
    unused = [key for key in labels if key not in images]
    if unused and listing is None:
        _warn_of_unused(unused, layout, folder)
    return pairs


def _warn_of_unused(unused: Sequence[str], layout: Layout, folder: Path) -> None:
    """Say which labels no picture was found for, and which files of other formats lie where their pictures would."""
    place = folder / layout.images
    files = (os.path.join(parent, name) for parent, _, names in os.walk(place, followlinks=True) for name in names)
    passed_by = split_readable(files)[1]
    others = (
        f", beside which {list_formats(passed_by)} are passed by, since segpipe does not read them" if passed_by else ""
    )
    logger.warning(
        "%d labels in %s belong to no picture in %s%s, and are left out: %s",
        len(unused),
        folder / layout.labels,
        place,
        others,
        listing(unused),
    )


def _list_of(folder: Path, layout: Layout) -> Path | None:
    return next((folder / name for name in layout.lists if os.path.isfile(folder / name)), None)


def _resolve_list(split_file: AnyPath, folder: Path) -> Path:
    path = Path(os.path.expanduser(split_file))
    return path if os.path.isfile(path) else folder / path


def _nothing_found(name: str, folder: Path, split: str, usual: Layout, reasons: Sequence[str]) -> str:
    looked = "; ".join(dict.fromkeys(reasons))
    listed = f" and the list {usual.lists[0]}" if usual.needs_list else ""
    return (
        f"There are no pictures of {name} {split} in {folder}. Looked into: {looked}. Right would be pictures in "
        f"{usual.images} (*{usual.image_endings[0]}) and labels in {usual.labels} (*{usual.label_endings[0]}){listed}. "
        "Give the folder that holds these as the root."
    )
