"""Every key of the schema is read by some room: a key that nothing reads promises what nothing does."""

from __future__ import annotations

import types
from pathlib import Path

import pytest
from key_reads import Reads, structs_below
from msgspec import inspect

from segpipe import configuration
from segpipe.configuration import Configuration
from segpipe.configuration.model_section import any_model

ROOT = Path(__file__).parents[2]
STRUCTS = structs_below(inspect.type_info(Configuration)) | structs_below(inspect.type_info(any_model()))
OURS = {"Configuration.format_version": "the table of upgrades reads it, before there is a Configuration"}


def aliases() -> dict[str, frozenset[str]]:
    """What annotations call a union of structs, such as LossConfig."""
    named = {name: getattr(configuration, name) for name in dir(configuration)}
    named["ModelConfig"] = any_model()
    return {
        name: frozenset(member.__name__ for member in value.__args__) & STRUCTS.keys()
        for name, value in named.items()
        if isinstance(value, types.UnionType)
    }


def texts(*folders: str) -> list[str]:
    return [path.read_text(encoding="utf-8") for name in folders for path in sorted((ROOT / name).rglob("*.py"))]


def reads_in(*sources: str) -> set[tuple[str, str]]:
    return Reads(STRUCTS, aliases(), sources).found


def test_every_key_is_read_outside_of_the_room_that_defines_it() -> None:
    found = Reads(STRUCTS, aliases(), texts("segpipe", "trainers"), known=texts("configuration")).found
    keys = {(name, field.name) for name, struct in STRUCTS.items() for field in struct.fields}
    assert {".".join(key) for key in keys - found} == OURS.keys()


@pytest.mark.parametrize(
    "source",
    [
        "def length(config: TrainConfig):\n    return config.max_steps",
        "def length(configuration: Configuration):\n    return configuration.train.max_steps",
        "class Run:\n    def __init__(self, c: Configuration):\n        self.config = c.train\n"
        "    def length(self):\n        return self.config.max_steps",
        "def length(it):\n    match it:\n        case TrainConfig(max_steps=steps):\n            return steps",
        "def length(config: TrainConfig):\n    return getattr(config, 'max_steps', None)",
        "def build(*, max_steps): ...\nFUNCTIONS = {documents.TrainConfig: build}",
    ],
)
def test_a_read_is_attributed_to_its_struct(source: str) -> None:
    assert ("TrainConfig", "max_steps") in reads_in(source)


@pytest.mark.parametrize(
    "source",
    [
        "def length(options):\n    return options.max_steps",  # of whatever
        "def length(config: EvaluationConfig):\n    return config.max_steps",
        "def shorter(config: TrainConfig):\n    config.max_steps = 1\n    return TrainConfig(max_steps=1)",
        "def length(config: TrainConfig):\n    return config.max_epochs",
    ],
)
def test_what_is_no_read_of_a_struct_does_not_count(source: str) -> None:
    assert ("TrainConfig", "max_steps") not in reads_in(source)


def test_equal_names_are_told_apart_by_their_struct() -> None:
    found = reads_in("def size(config: EvaluationConfig):\n    return config.batch_size")
    assert ("EvaluationConfig", "batch_size") in found
    assert ("TrainConfig", "batch_size") not in found
