"""Advice in the caller's form: what is rendered is parsed to the same value again."""

import ast
import shlex

import pytest
from hypothesis import given, settings, strategies as st

from segpipe import advice
from segpipe.cli.shared_options import parse_options
from segpipe.configuration import load_preset, override
from segpipe.configuration.values import read_class_names, read_colors

TRAIN = ("--option", "--set", "--work-dir", "--skip-data-check", "--accept-changed-data")


def test_an_option_has_the_callers_form():
    assert advice.option("names", ["bg", "fg"]) == 'names=["bg", "fg"]'
    with advice.on_command_line(TRAIN):
        assert advice.option("names", ["bg", "fg"]) == "--option names=bg,fg"
        assert advice.option("palette", [(255, 0, 0)]) == "--option 'palette=#ff0000'"
    assert advice.option("names") == "names=…"


def test_a_setting_has_the_callers_form():
    assert advice.setting("train.max_epochs", 50) == 'cfg_options={"train.max_epochs": 50}'
    assert advice.setting("model.size_multiple", 32) == 'overrides={"model.size_multiple": 32}'
    with advice.on_command_line(TRAIN):
        assert advice.setting("train.max_epochs", 50) == "--set train.max_epochs=50"


def test_an_argument_has_the_callers_form():
    assert advice.argument("work_dir", "runs/x") == 'work_dir="runs/x"'
    with advice.on_command_line(TRAIN):
        assert advice.argument("work_dir", "runs/x y") == "--work-dir 'runs/x y'"
        assert advice.argument("check_data", False) == "--skip-data-check"
        assert advice.argument("accept_changed_data", True) == "--accept-changed-data"


def test_an_option_is_named_only_where_the_verb_has_it():
    with advice.on_command_line(("--alpha", "--int8")):
        assert advice.option("alpha", "keep") == "--alpha keep"
        assert advice.argument("calibration", "photos") == "--int8 photos"
        assert advice.setting("model.size_multiple", 32) == 'overrides={"model.size_multiple": 32}'
        assert advice.argument("overwrite", True) == "overwrite=True"
    with advice.on_command_line(("--option",)):
        assert advice.option("alpha", "keep") == "--option alpha=keep"
    assert advice.either(python="a", command="b") == "a"


NAME = st.text(min_size=1, max_size=9).filter(lambda name: "\0" not in name and name.isprintable() and name.strip())
NAMES = st.lists(NAME, min_size=1)
COLORS = st.lists(st.tuples(*[st.integers(0, 255)] * 3), min_size=1, max_size=5)


def words_of(text: str) -> dict:
    """The option that a shell makes of an advice."""
    flag, pair = shlex.split(text)
    assert flag == "--option"
    return parse_options([pair])


@settings(max_examples=200, deadline=None)
@given(NAMES, COLORS)
def test_what_is_rendered_is_read_as_the_same_value(names, colors):
    with advice.on_command_line(TRAIN):
        assert read_class_names(words_of(advice.option("names", names))["names"]) == tuple(names)
        assert read_colors(words_of(advice.option("palette", colors))["palette"]) == tuple(colors)
    assert ast.literal_eval(advice.option("names", names).partition("=")[2]) == names


@pytest.mark.parametrize(
    "text", ["train.txt", "2024", "C:\\data\\x", "a, b", "true", "[x", "#1", " x", "", "None", "1e5"]
)
def test_a_text_is_read_as_the_same_text(text):
    with advice.on_command_line(TRAIN):
        assert words_of(advice.option("split_file", text))["split_file"] == text


def test_a_setting_is_read_as_the_same_value():
    with advice.on_command_line(TRAIN):
        pair = shlex.split(advice.setting("inference.scales", [0.75, 1.0, 1.25]))[1]
    assert override(load_preset("segformer-b0-camvid"), [pair]).inference.scales == (0.75, 1.0, 1.25)


def render_in_worker(_: object) -> str:
    return advice.option("names", ["bg", "fg"])


def test_processes_that_a_command_starts_have_its_form(tmp_path):
    from concurrent.futures import ProcessPoolExecutor
    from multiprocessing import get_context

    with (
        advice.on_command_line(TRAIN),
        ProcessPoolExecutor(1, get_context("spawn"), advice.take_form, advice.form()) as pool,
    ):
        assert list(pool.map(render_in_worker, [None])) == ["--option names=bg,fg"]
