"""Values as people write them: one parser for options of a data set and changes of the configuration."""

import numpy as np
import pytest

from segpipe.configuration import load_preset, override
from segpipe.configuration.values import parse_value, read_class_names, read_colors, read_named_values
from segpipe.errors import ConfigurationError, InputError

RED_BLUE = ((255, 0, 0), (0, 0, 255))


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("3", 3),
        ("true", True),
        ("True", True),
        ("null", None),
        ("None", None),
        ("(512, 512)", [512, 512]),
        ("[(1, 2), (3, 4)]", [[1, 2], [3, 4]]),
        ("{'a': (1,)}", {"a": [1]}),
        ('"quoted"', "quoted"),
        ("two words", "two words"),
        (r"C:\new\table", r"C:\new\table"),
        ("(old) photos", "(old) photos"),
        ("[road, sky]", "[road, sky]"),
        ("1e999", "1e999"),
        ("[" * 5000 + "]" * 5000, "[" * 5000 + "]" * 5000),
        ("{1, 2}", "{1, 2}"),
    ],
)
def test_a_value_is_json_or_python_or_a_text(text, value):
    assert parse_value(text) == value


@pytest.mark.parametrize(
    "palette",
    [
        "#ff0000,#0000ff",
        "[(255,0,0),(0,0,255)]",
        "[[255,0,0],[0,0,255]]",
        "[#ff0000, #0000ff]",
        "#f00,#00f",
        "ff0000,0000ff",
        [(255, 0, 0), (0, 0, 255)],
        [[255, 0, 0], "#0000FF"],
        np.array(RED_BLUE, np.uint8),
        [np.array([255, 0, 0]), np.array([0, 0, 255])],
        [(np.uint8(255), 0, 0), (0, 0, np.int64(255))],
    ],
)
def test_colours_have_many_forms(palette):
    assert read_colors(palette) == RED_BLUE


@pytest.mark.parametrize(
    "palette", [3, "red", "[(255,0,0", [(1, 2)], [(0.5, 0.5, 0.5)], {"a": (1, 2, 3)}, [(True, 0, 0)]]
)
def test_what_is_not_a_colour_is_one_sentence_with_an_example(palette):
    with pytest.raises(InputError, match=r"^palette .* Write e\.g\. palette=\[\(0, 0, 0\), \(255, 0, 0\)\]\.$"):
        read_colors(palette)


@pytest.mark.parametrize(
    "names",
    [
        ["road", "sky"],
        ("road", "sky"),
        np.array(["road", "sky"]),
        (name for name in ("road", "sky")),
        "road,sky",
        "[road, sky]",
        "['road', 'sky']",
        {0: "road", 1: "sky"},
        {"1": "sky", "0": "road"},
        {"names": ["road", "sky"]},
    ],
)
def test_names_have_many_forms(names):
    assert read_class_names(names) == ("road", "sky")


def test_a_single_text_is_one_name():
    assert read_class_names("sky") == ("sky",)
    assert read_class_names(["wall, brick", "sky"]) == ("wall, brick", "sky")


@pytest.mark.parametrize(
    "text", ['["wall, brick", "sky"]', "['wall, brick', 'sky']", '{"0": "wall, brick", "1": "sky"}']
)
def test_a_list_that_is_written_as_a_text_keeps_the_commas_in_its_names(text):
    assert read_class_names(text) == ("wall, brick", "sky")


def test_a_mapping_of_values_gives_them():
    assert read_named_values({255: "fire", 0: "background"}) == {0: "background", 255: "fire"}
    with pytest.raises(InputError, match=r"names numbers the classes 0, 255, and not 0, 1"):
        read_class_names({255: "fire", 0: "background"})


@pytest.mark.parametrize(
    "names", [None, 3, b"road", {"road", "sky"}, [], "", [1, 2], [None], {"road": 0}, {-1: "a"}, {70000: "a"}]
)
def test_what_is_not_a_name_is_one_sentence_with_an_example(names):
    with pytest.raises(InputError, match=r'^names .* Write e\.g\. names=\["road", "sky"\]\.$'):
        read_class_names(names)


def test_names_are_read_from_files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "names.txt").write_text("\ufeffroad\n\nsky \n", encoding="utf-8")
    (tmp_path / "names.json").write_text('{"0": "road", "1": "sky"}')
    assert read_class_names("names.txt") == read_class_names(tmp_path / "names.json") == ("road", "sky")
    with pytest.raises(InputError, match=r"names: there is no file other\.txt"):
        read_class_names("other.txt")


@pytest.mark.parametrize(
    ("change", "read"),
    [
        ("inference.scales=0.75,1", lambda c: c.inference.scales == (0.75, 1)),
        ("labels.names=" + ",".join(f"c{k}" for k in range(11)), lambda c: c.labels.names[10] == "c10"),
        ("labels.palette=" + ",".join("#0a0b0c" for _ in range(11)), lambda c: c.labels.palette[10] == (10, 11, 12)),
        ("inference.window=(64,64)", lambda c: c.inference.window == (64, 64)),
        ("inference.flip=True", lambda c: c.inference.flip),
        ("preprocessor.resize=None", lambda c: c.preprocessor.resize is None),
    ],
)
def test_settings_take_the_same_forms(change, read):
    assert read(override(load_preset("segformer-b0-camvid"), change))


def test_a_key_without_its_section_is_answered_with_its_path():
    with pytest.raises(ConfigurationError, match=r"Did you mean 'train\.optimizer\.lr'\?"):
        override(load_preset("segformer-b0-camvid"), ["lr=0.1"])
    with pytest.raises(ConfigurationError, match=r"Did you mean 'train\.batch_size'\?"):
        override(load_preset("segformer-b0-camvid"), {"batch_size": 4})


@pytest.mark.parametrize("text", ["{0: road, 1: sky}", " {0: road", '{"0": road}'])
def test_names_in_braces_that_are_not_json_are_refused(text):
    with pytest.raises(InputError, match=r"which is not JSON\. Put the names in quotes: names="):
        read_named_values(text)
