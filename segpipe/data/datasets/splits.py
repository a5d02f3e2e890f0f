"""Know the names that other systems give to train, val and test, and options that are for one split."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from segpipe.errors import InputError
from segpipe.names import nearest_name

ALL = "all"
"""The split that is every image of a folder without splits."""
_SPELLINGS = {
    "train": ("train", "training", "trainset"),
    "val": ("val", "valid", "validation", "dev", "valset"),
    "test": ("test", "testing", "testset"),
}
KNOWN = tuple(_SPELLINGS)
_YEARS = ("2017", "2014", "2012")
"""What COCO and Pascal VOC append: train2017 is train."""


def canonical(split: str) -> str:
    """Return train, val or test for any spelling of it; any other name as it is.

    `canonical("Validation")` and `canonical("val2017")` are "val".
    """
    lowered = split.lower()
    bare = next((lowered.removesuffix(year) for year in _YEARS if lowered.endswith(year)), lowered)
    return next((name for name, spellings in _SPELLINGS.items() if bare in spellings), split)


def names_of(split: str) -> tuple[str, ...]:
    """Return the spellings of a split to look for, the caller's own first, each once.

    `names_of("val")` is val, valid, validation, dev, valset; `names_of("fold3")` is fold3 alone.
    """
    return tuple(dict.fromkeys((split, *_SPELLINGS.get(canonical(split), ()))))


def options_for(split: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options that hold for a split, of options for all splits and options whose names begin with one.

    `options_for("val", {"names": …, "val.split_file": "v.txt", "train.split_file": "t.txt"})` has `names` and
    `split_file` "v.txt". A mapping under the name of a split, {"val": {"split_file": "v.txt"}}, is the same.

    Raises:
        InputError: a name begins with what is nearly a split's name.
    """
    common: dict[str, Any] = {}
    own: dict[str, Any] = {}
    for key, value in options.items():
        prefix, dot, name = key.partition(".")
        is_mapping = not dot and isinstance(value, Mapping) and _is_split(key, split)
        if not dot and not is_mapping:
            common[key] = value
            continue
        _check_prefix(prefix, split, key)
        if canonical(prefix) == canonical(split):
            own |= value if is_mapping else {name: value}
    return {**common, **own}


def _is_split(name: str, split: str) -> bool:
    return name == split or canonical(name) in _SPELLINGS


def _check_prefix(prefix: str, split: str, key: str) -> None:
    known = [spelling for spellings in _SPELLINGS.values() for spelling in spellings]
    nearest = None if _is_split(prefix, split) else nearest_name(prefix, known)
    if nearest is not None:
        raise InputError(
            f"The option {key!r} is for a split {prefix!r}, which is not known. Did you mean {nearest!r}? Options of "
            "one split begin with its name, such as train.split_file and val.split_file."
        )
