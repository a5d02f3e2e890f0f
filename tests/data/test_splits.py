"""Names of splits: what other systems call train, val and test."""

import pytest

from segpipe.data.datasets.splits import canonical, names_of


@pytest.mark.parametrize(
    ("spelling", "name"),
    [("training", "train"), ("valid", "val"), ("Validation", "val"), ("dev", "val"), ("testing", "test"),
     ("val2017", "val"), ("TRAIN", "train"), ("trainval", "trainval"), ("fold3", "fold3"), ("all", "all")],
)  # fmt: skip
def test_a_split_is_known_by_any_of_its_spellings(spelling, name):
    assert canonical(spelling) == name


def test_the_callers_own_spelling_is_looked_for_first():
    assert names_of("val") == ("val", "valid", "validation", "dev", "valset")
    assert names_of("validation")[:2] == ("validation", "val")
    assert names_of("fold3") == ("fold3",)
