"""What older versions wrote: one table of keys that went or changed, and folders and a run of segpipe 0.1.0."""

from __future__ import annotations

import json
from typing import Any

import pytest

from segpipe.configuration import decode_configuration, to_document
from segpipe.configuration.upgrades import UPGRADES, Upgrade, upgrade
from segpipe.errors import ConfigurationError

TABLE = {
    1: (Upgrade("network", lambda value, document: {"model": value}),),
    2: (
        Upgrade("model.old", lambda value, document: {}),
        Upgrade("train.steps", lambda value, document: {"train.max_steps": 2 * value, "evaluation.every": value}),
    ),
}


def test_a_document_passes_the_rows_of_its_version_and_of_all_later_ones_and_stays_unchanged() -> None:
    old = {"format_version": 1, "network": {"type": "mit", "old": 1}, "train": {"steps": 3}}
    before = json.dumps(old)
    assert upgrade(old, origin="test", table=TABLE, target=3) == {
        "format_version": 3,
        "model": {"type": "mit"},
        "train": {"max_steps": 6},
        "evaluation": {"every": 3},
    }
    assert json.dumps(old) == before


def test_a_document_of_the_newest_version_passes_the_rows_of_that_version_alone() -> None:
    document = {"format_version": 2, "network": {}, "model": {"old": 1, "new": 2}}
    assert upgrade(document, origin="test", table=TABLE, target=2) == {**document, "model": {"new": 2}}
    assert upgrade({"format_version": 3}, origin="test", table=TABLE, target=3) == {"format_version": 3}


@pytest.mark.parametrize("document", [{"train": 3}, {"train": {"steps": 1}, "evaluation": [1]}, {"model": None}])
def test_a_section_that_is_none_is_left_to_the_schema(document: dict[str, Any]) -> None:
    assert upgrade(document, origin="test", table=TABLE, target=2).get("evaluation", [1]) == [1]


def test_a_document_without_a_version_is_of_the_newest() -> None:
    assert upgrade({"network": 1, "model": {"old": 1}}, origin="test", table=TABLE, target=2) == {
        "network": 1,
        "model": {},
    }


def recipe(task: str, trainer: Any, schedule: dict[str, Any]) -> dict[str, Any]:
    train = {"trainer": trainer, "max_steps": 1, "batch_size": 1, "optimizer": {"type": "sgd", "lr": 0.1}}
    return {"task": task, "model": {"type": "mit"}, "train": {**train, "schedule": schedule}}


@pytest.mark.parametrize(
    ("task", "trainer", "expected"),
    [
        ("image-classification", "segmentation", "classification"),
        ("image-classification", "mine", "mine"),
        ("image-classification", None, None),
        ("image-segmentation", "segmentation", "segmentation"),
    ],
)
def test_the_trainer_that_0_1_0_wrote_for_every_task_is_the_tasks(task: str, trainer: Any, expected: Any) -> None:
    document = recipe(task, trainer, {"type": "constant"})
    train = decode_configuration(json.dumps(document), origin="test").train
    assert train is not None
    assert train.trainer == expected


def test_the_least_learning_rate_of_a_constant_one_is_passed_over() -> None:
    document = recipe("image-classification", None, {"type": "constant", "min_lr": 0.5})
    written = to_document(decode_configuration(json.dumps(document), origin="test"))
    assert "min_lr" not in written["train"]["schedule"]
    document["train"]["schedule"] = {"type": "cosine", "min_lr": 0.5}
    written = to_document(decode_configuration(json.dumps(document), origin="test"))
    assert written["train"]["schedule"]["min_lr"] == 0.5


def test_no_row_changes_what_todays_segpipe_writes() -> None:
    """Else what is read would differ from what was written."""
    for task, trainer in (("image-classification", "classification"), ("image-segmentation", "segmentation")):
        document = recipe(task, trainer, {"type": "cosine"})
        written = to_document(decode_configuration(json.dumps(document), origin="test"))
        assert upgrade(written, origin="test") == written
    assert set(UPGRADES) == {1}


def test_a_newer_version_is_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"newer than 3.*Upgrade segpipe"):
        upgrade({"format_version": 4}, origin="test", table={}, target=3)
