"""Names of splits: what other systems call train, val and test."""

from __future__ import annotations

_SPELLINGS = {
    "train": ("train", "training", "trainset"),
    "val": ("val", "valid", "validation", "dev", "valset"),
    "test": ("test", "testing", "testset"),
}
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
