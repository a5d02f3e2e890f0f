"""Pair images and labels by their names: x_mask.png belongs to x.jpg, mask_1.png to image_1.png."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import NamedTuple

_LABEL_WORDS = (
    r"(?:color|colour)?masks?|labels?|lbl|msk|gt|gtfine|gtcoarse|seg|segs|segm|semantic|segmentation|annotations?|"
    r"annot|anno|ann|labelids|labeltrainids|trainids|ground[_ -]?truth|targets?|matte"
)
_IMAGE_WORDS = r"images?|imgs?|im|rgb|sat|photos?|pictures?|pic|frame|leftimg8bit|input|orig|original|raw|source|src"
_SEPARATOR = r"[ _.\-]"


class Mark(NamedTuple):
    """What the names of files of one kind begin and end with."""

    prefix: str = ""
    suffix: str = ""

    def take_off(self, key: str) -> str | None:
        """Return a path below a folder without the mark of its name; None where it has another one."""
        folder, slash, name = key.rpartition("/")
        low = name.lower()
        if not (low.startswith(self.prefix.lower()) and low.endswith(self.suffix.lower())):
            return None
        if len(name) < len(self.prefix) + len(self.suffix):
            return None
        return f"{folder}{slash}{name[len(self.prefix) : len(name) - len(self.suffix)]}"

    def put_on(self, core: str) -> str:
        """Return the path that has the mark."""
        folder, slash, name = core.rpartition("/")
        return f"{folder}{slash}{self.prefix}{name}{self.suffix}"

    def __str__(self) -> str:
        parts = (("begin with", self.prefix), ("end in", self.suffix))
        return " and ".join(f"{how} {text!r}" for how, text in parts if text)


NO_MARK = Mark()


def find_marks(images: Collection[str], labels: Collection[str], *, of_labels: bool = True) -> tuple[Mark, Mark]:
    """Return the marks of images and labels that leave the most images with a label; the shortest ones of several.

    A mark is one that all files of its kind have. What labels end in may be anything after a separator, such as
    "_mask"; all else is one of the words that people use for images and labels. Labels may have others beside them,
    as long as only one suffix follows the names of images.

    Args:
        images: paths below the folder of the images, without endings.
        labels: the same of the labels.
        of_labels: whether labels may have a mark.
    """
    if not labels or all(key in labels for key in images):
        return NO_MARK, NO_MARK
    suffixes = other_suffixes(images, labels)
    label_marks = _shared(labels, _label_marks(next(iter(labels))))
    label_marks += [Mark(suffix=suffixes[0])] if len(suffixes) == 1 else []
    candidates = [(mark, other) for mark in _image_marks(images) for other in (label_marks if of_labels else [NO_MARK])]
    candidates.sort(key=lambda pair: sum(len(text) for mark in pair for text in mark))
    return max(candidates, key=lambda pair: _count_pairs(images, labels, *pair))  # the first of several


def apply_mark(files: Mapping[str, str], mark: Mark) -> dict[str, str]:
    """Return the files by their paths without the mark."""
    if mark == NO_MARK:
        return dict(files)
    return {core: path for key, path in files.items() if (core := mark.take_off(key)) is not None}


def other_suffixes(images: Collection[str], labels: Iterable[str]) -> list[str]:
    """Return what names of labels have after an image's, in one spelling, the most frequent one first."""
    known = {core for mark in _image_marks(images) for key in images if (core := mark.take_off(key)) is not None}
    counts: Counter[str] = Counter()
    spellings: dict[str, str] = {}
    for key in labels:
        cut = next((place for place in _cuts(key) if key[:place] in known), None)
        suffix = "" if cut is None else spellings.setdefault(key[cut:].lower(), key[cut:])
        counts.update([suffix] if suffix else [])
    return [suffix for suffix, _ in counts.most_common()]


def tell_apart(files: Mapping[str, Sequence[str]], labels: Mapping[str, Sequence[str]]) -> set[str]:
    """Return which files of one folder are labels: none where neither names nor formats say it.

    They are those with a word for labels in their names or something else behind another file's, x_L.png beside x.png,
    or those of an exact format beside a file of the same name in another one, x.png beside x.jpg: whatever gives the
    most images a label.

    Args:
        files: all that may be images, by their paths without the endings.
        labels: all that may be labels.
    """
    choices: dict[Mark | None, list[str]] = {None: [key for key in labels if len(files.get(key, ())) == 2]}
    for key in labels:
        after_others = [Mark(suffix=key[place:]) for place in _cuts(key) if key[:place] in files]
        for mark in dict.fromkeys([*_word_marks(key, _LABEL_WORDS)[1:], *after_others]):
            choices.setdefault(mark, []).append(key)
    chosen = {mark: {labels[key][0] for key in keys if len(labels[key]) == 1} for mark, keys in choices.items()}
    counts = {mark: _count_apart(files, choices[mark], paths) for mark, paths in chosen.items()}
    best = max(counts, key=lambda mark: counts[mark])
    return chosen[best] if counts[best] else set()


def _count_apart(files: Mapping[str, Sequence[str]], labels: Collection[str], chosen: set[str]) -> int:
    images = [key for key, paths in files.items() if any(path not in chosen for path in paths)]
    return _count_pairs(images, labels, *find_marks(images, labels)) if chosen else 0


def _count_pairs(images: Collection[str], labels: Collection[str], image_mark: Mark, label_mark: Mark) -> int:
    cores = {label_mark.take_off(key) for key in labels}
    return sum(image_mark.take_off(key) in cores for key in images)


def _image_marks(images: Collection[str]) -> list[Mark]:
    """Return the marks that all images have, the first of which is none."""
    return _shared(images, _word_marks(next(iter(images), ""), _IMAGE_WORDS))


def _shared(keys: Iterable[str], marks: Iterable[Mark]) -> list[Mark]:
    """Return the marks that all keys have."""
    return [mark for mark in marks if all(mark.take_off(key) is not None for key in keys)]


def _label_marks(key: str) -> list[Mark]:
    """Return the marks that a label's name may have: none, a word, or anything with a letter after a separator."""
    return list(dict.fromkeys([*_word_marks(key, _LABEL_WORDS), *(Mark(suffix=key[place:]) for place in _cuts(key))]))


def _word_marks(key: str, words: str) -> list[Mark]:
    """Return no mark, and the words that a name begins or ends with.

    A word ends at a separator, at a digit, or where a capital letter begins another one: mask1, 1_mask, streetMask.
    """
    name = key.rpartition("/")[2]
    marks = [NO_MARK]
    end = re.search(rf"(?:(?:{_SEPARATOR}+|(?<=\d)|^)(?:{words}))+$", name, re.IGNORECASE)
    camel = re.search(rf"(?<=[a-z])(?=[A-Z])(?i:{words})$", name)
    begin = re.match(rf"(?:{words})(?:{_SEPARATOR}+|(?=\d))", name, re.IGNORECASE)
    for found in (end, camel):
        marks += [] if found is None else [Mark(suffix=found[0])]
    return marks + ([] if begin is None else [Mark(prefix=begin[0])])


def _cuts(key: str) -> list[int]:
    """Return where a suffix may begin, the last place first: at a separator with a letter somewhere behind it."""
    start = key.rfind("/") + 1
    places = [match.start() for match in re.finditer(rf"{_SEPARATOR}+", key[start:])]
    return [start + place for place in reversed(places) if place and re.search("[^\\W\\d_]", key[start + place :])]
