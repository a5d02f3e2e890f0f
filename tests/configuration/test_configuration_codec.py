"""Reading and writing configuration.json: strict in, stable out, every fault with its JSON path."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from segpipe.configuration import (
    Configuration,
    LabelSet,
    decode_configuration,
    encode_configuration,
    read_configuration,
    write_configuration,
)
from segpipe.configuration.strict_json import parse_json
from segpipe.errors import ConfigurationError
from segpipe.models import SegformerConfig

RECIPE = {
    "max_steps": 10,
    "batch_size": 2,
    "transforms": [{"type": "random_flip"}, {"type": "random_crop", "size": [64, 64]}],
    "optimizer": {"type": "adamw", "lr": 1e-3, "groups": [{"match": "norm", "weight_decay": 0}]},
}


def make_document() -> dict[str, Any]:
    return {
        "format_version": 1,
        "model": {"type": "segformer", "num_classes": 2, "head": {"type": "mlp"}},
        "labels": {"names": ["road", "sky"], "palette": [[1, 2, 3], [4, 5, 6]], "raw_ids": [7, 8]},
        "preprocessor": {"resize": {"mode": "short_side", "size": 512, "max_long_side": 2048}},
        "train": json.loads(json.dumps(RECIPE)),
    }


def message_of(text: Any) -> str:
    source = text if isinstance(text, str | bytes) else json.dumps(text)
    with pytest.raises(ConfigurationError) as caught:
        decode_configuration(source, origin="run.json")
    return str(caught.value)


def message_with(path: list[Any], value: Any) -> str:
    document = make_document()
    place: Any = document
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    return message_of(document)


def test_written_configuration_is_read_back_equal_and_byte_stable(tmp_path: Path) -> None:
    configuration = decode_configuration(json.dumps(make_document()), origin="test")
    write_configuration(configuration, tmp_path / "configuration.json")
    assert read_configuration(tmp_path / "configuration.json") == configuration
    text = (tmp_path / "configuration.json").read_bytes()
    assert encode_configuration(decode_configuration(text, origin="again")) == text
    assert [path.name for path in tmp_path.iterdir()] == ["configuration.json"]


def test_written_configuration_is_for_whom_the_umask_says(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        write_configuration(Configuration(model=SegformerConfig(num_classes=2)), tmp_path / "configuration.json")
    finally:
        os.umask(before)
    assert (tmp_path / "configuration.json").stat().st_mode & 0o777 == 0o600
    assert [path.name for path in tmp_path.iterdir()] == ["configuration.json"]


@pytest.mark.parametrize("key", ["x` - at `$[", "x` - at `$.model", "$[", "`"])
def test_key_that_looks_like_the_end_of_a_message_is_refused_as_any_other(key: str) -> None:
    with pytest.raises(ConfigurationError, match=r"^doc: "):
        decode_configuration(json.dumps({**make_document(), key: 1}), origin="doc")


def test_written_text_leaves_null_sections_out_and_keeps_palettes_on_one_line() -> None:
    text = encode_configuration(decode_configuration(json.dumps(make_document()), origin="test")).decode()
    assert '    "palette": [[1, 2, 3], [4, 5, 6]],\n' in text
    assert '"parallel"' not in text
    assert text.endswith("}\n")


def test_names_outside_ascii_are_written_as_they_are() -> None:
    labels = LabelSet(names=("Straße", "空"))
    configuration = Configuration(model=SegformerConfig(num_classes=2), labels=labels)
    text = encode_configuration(configuration)
    assert "Straße".encode() in text
    assert decode_configuration(text, origin="test").labels == labels


def test_configuration_built_with_wrong_values_is_not_written(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"model\.num_classes: -3"):
        write_configuration(Configuration(model=SegformerConfig(num_classes=-3)), tmp_path / "configuration.json")
    assert not list(tmp_path.iterdir())


def test_failed_write_leaves_the_old_file_and_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "configuration.json"
    target.write_text("old")

    def fail(source: str, destination: str) -> None:
        raise OSError("no space left")

    monkeypatch.setattr("os.replace", fail)
    with pytest.raises(OSError, match="no space left"):
        write_configuration(Configuration(model=SegformerConfig(num_classes=2)), target)
    assert target.read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["configuration.json"]


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ('{"model": 1,\n "a" 2}', ["line 2, column 6"]),
        ('{"model": {"pixel_mean": [NaN]}}', ["model.pixel_mean[0]", "NaN is not a finite number"]),
        ('{"model": {"lr": -Infinity}}', ["model.lr", "-Infinity"]),
        ('{"train": {"lr": 1e999}}', ["train.lr", "1e999"]),
        (f'{{"a": {"9" * 5000}}}', ["a: 999", "not a finite number"]),
        ('{"model": {"type": "mit", "type": "mit"}}', ["model.type", "twice"]),
        ("{}".encode("utf-16") + b"\xd8", ["byte", "UTF-8"]),
        (b'{"a": "\xff"}', ["byte 7", "UTF-8"]),
        ('{"a": "\\ud800"}', ["a:", "surrogate"]),
        ("[" * 10_000 + "]" * 10_000, ["deeper than 64"]),
        ('{"a":' * 65 + "1" + "}" * 65, ["deeper than 64"]),
        (" " * (4 * 2**20 + 1), [f"at most {4 * 2**20}"]),
        ('"' + '\\"' * 500_000, ["not JSON"]),
        ("", ["line 1, column 1"]),
        ("[1]", ["the document is a list", "JSON object"]),
        ("null", ["the document is null"]),
    ],
)
def test_text_that_is_not_a_plain_json_object_is_refused(text: Any, parts: list[str]) -> None:
    message = message_of(text)
    assert message.startswith("run.json: ")
    assert all(part in message for part in parts), message


def test_brackets_inside_strings_do_not_count_as_nesting() -> None:
    document = make_document()
    document["labels"]["names"][0] = "[{" * 90 + '"'
    assert decode_configuration(json.dumps(document), origin="test").labels is not None


def test_file_over_the_limit_is_refused_before_it_is_read(tmp_path: Path) -> None:
    huge = tmp_path / "configuration.json"
    with huge.open("wb") as stream:
        stream.truncate(500 * 2**20)
    with pytest.raises(ConfigurationError, match="524,288,000 bytes"):
        read_configuration(huge)


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"no file .*nothing\.json"):
        read_configuration(tmp_path / "nothing.json")


@pytest.mark.parametrize(
    ("path", "value", "parts"),
    [
        (["model", "head", "type"], "conw", ['"conw"', '"conv", "mlp"', "Did you mean 'conv'?"]),
        (
            ["model", "head", "typ"],
            "conv",
            ["there is no key 'typ'", "type, channels, dropout", "Did you mean 'type'?"],
        ),
        (["model", "type"], "os.system", ['"os.system"', '"mit", "segformer"']),
        (["model", "type"], "segfromer", ["Did you mean 'segformer'?"]),
        (["model", "num_classes"], -1, ["-1", "an integer from 1 to 65534"]),
        (["model", "num_classes"], 70000, ["70000", "from 1 to 65534"]),
        (["model", "num_classes"], 2.5, ["2.5", "an integer"]),
        (["model", "num_classes"], "2", ['"2"', "an integer"]),
        (["model", "num_classes"], 10**200, ["1000", "an integer"]),
        (["model", "variant"], "b7", ['"b7"', '"b0", "b1", "b2"']),
        (["model", "encoder"], {"depths": [2, 2, 2]}, ["model.encoder.depths", "a list of 4", "or null"]),
        (["model", "pixel_std"], [0, 1, 1], ["model.pixel_std[0]", "a number above 0"]),
        (["labels", "palette", 1, 2], 256, ["256", "from 0 to 255"]),
        (["labels", "palette"], [[1, 2, 3]], ["labels: `palette` has 1 entries for 2 names"]),
        (["labels", "names"], ["a", "a"], ["'a' 2 times"]),
        (["labels", "names"], ["a", "b", "c"], ["labels: `palette`"]),
        (["labels", "raw_ids"], [7, 7], ["`raw_ids` names a value twice"]),
        (["labels", "ignore_index"], 1, ["also the class 'sky'"]),
        (["task"], "image-segmentatoin", ["Did you mean 'image-segmentation'?"]),
        (["framework"], "tensorflow", ['"pytorch"']),
        (["preprocessor", "resize"], 512, ["512", "an object whose 'mode' is one of", '"exact"']),
        (["preprocessor", "resize", "mode"], "shortside", ["Did you mean 'short_side'?"]),
        (["preprocessor", "resize", "max_long_side"], 100, ["`max_long_side` 100 is less"]),
        (["train", "transforms", 1, "size", 0], -64, ["train.transforms[1].size[0]", "-64", "from 1 to 65536"]),
        (["train", "transforms", 1, "type"], "random_corp", ["Did you mean 'random_crop'?"]),
        (["train", "transforms", 0], {"type": "random_resize", "size": [1, 2], "ratio": [2, 1]}, ["wrong order"]),
        (["train", "optimizer", "groups", 0, "matches"], "x", ["train.optimizer.groups[0].matches", "'match'"]),
        (["train", "optimizer", "lr"], -0.1, ["-0.1 is not allowed", "a number of at least 0"]),
        (["train", "max_epochs"], 3, ["train: exactly one of `max_steps` and `max_epochs`"]),
        (["train", "loss"], "dice", ["train.loss", "an object whose 'type' is"]),
        (["inference"], {"mode": "slide"}, ["`window` and `stride` are needed"]),
        (["inference"], {"mode": "slide", "window": [4, 4], "stride": [5, 4]}, ["`stride` [5, 4] exceeds"]),
        (["inference"], {"flip": 1}, ["inference.flip", "true or false"]),
        (["plugins"], ["x"], ["plugins", "cannot ask for code", "Remove 'plugins'"]),
        (["trust_remote_code"], True, ["trust_remote_code", "cannot ask for code"]),
        (["model", "trust_remote_code"], True, ["model.trust_remote_code", "cannot ask for code"]),
        (["modle"], {}, ["modle", "Did you mean 'model'?"]),
        (["format_version"], 2, ["newer than 1", "Upgrade segpipe"]),
        (["format_version"], 0, ["an integer of at least 1"]),
        (["format_version"], "1", ['"1"', "an integer"]),
    ],
)
def test_wrong_value_is_refused_with_its_path_and_what_is_right(path: list[Any], value: Any, parts: list[str]) -> None:
    message = message_with(path, value)
    assert message.startswith(f"run.json: {path[0]}")
    assert all(part in message for part in parts), message


def test_missing_key_says_what_belongs_there() -> None:
    assert "run.json: model: this key is missing" in message_of({"format_version": 1})
    message = message_of({"model": {"type": "segformer"}})
    assert message == "run.json: model.num_classes: this key is missing; an integer from 1 to 65534 is needed. Add it."


def test_more_names_than_outputs_are_refused_and_fewer_are_void_outputs() -> None:
    document = make_document()
    document["model"]["num_classes"] = 3
    assert decode_configuration(json.dumps(document), origin="test").model.num_classes == 3
    document["model"]["num_classes"] = 1
    assert "`labels.names` has 2 names and `model.num_classes` is 1" in message_of(document)


def test_configurations_are_immutable() -> None:
    configuration = decode_configuration(json.dumps(make_document()), origin="test")
    with pytest.raises(AttributeError):
        configuration.task = "image-classification"  # type: ignore[misc]


@pytest.mark.shared
def test_the_example_document_is_read_and_keeps_all_its_key_paths() -> None:
    example = Path(__file__).parents[3] / "shared" / "configuration.example.json"
    if not example.is_file():
        pytest.skip("needs ../shared")
    document = json.loads(example.read_text(encoding="utf-8"))
    written = json.loads(encode_configuration(decode_configuration(json.dumps(document), origin="example")))
    assert not key_paths(document) - key_paths(written)


def key_paths(value: Any, path: str = "") -> set[str]:
    if isinstance(value, dict):
        return {path}.union(*(key_paths(member, f"{path}.{key}") for key, member in value.items()))
    return {path}


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-32"])
def test_a_byte_order_mark_is_passed_over(encoding: str) -> None:
    text = json.dumps({"names": ["Bäume"]}, ensure_ascii=False)
    assert parse_json(text.encode(encoding), origin="labels.json") == {"names": ["Bäume"]}


def test_an_error_has_the_key_and_the_file_beside_its_sentence(tmp_path: Path) -> None:
    path = tmp_path / "configuration.json"
    path.write_text(json.dumps(make_document() | {"task": "image-painting"}))
    with pytest.raises(ConfigurationError) as caught:
        read_configuration(path)
    assert (caught.value.path, caught.value.key) == (path, "task")
