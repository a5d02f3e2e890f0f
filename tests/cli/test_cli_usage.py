"""Wrong usage: a few lines that say what was meant, and help where people look for it."""

import pytest

from segpipe.cli.main import VERBS, main


def said_about(capsys, *arguments: str) -> str:
    """What a command that is used wrongly says."""
    assert main(list(arguments)) == 2
    said = capsys.readouterr()
    assert said.out == ""
    return said.err


@pytest.mark.parametrize("verb", VERBS)
def test_a_usage_error_is_at_most_three_lines(capsys, verb):
    assert said_about(capsys, verb, "--no-such-option").count("\n") <= 3


@pytest.mark.parametrize(
    ("command", "meant"),
    [
        ("predict a.jpg --modle x", "--model"),
        ("eval m --dta camvid x", "--data"),
        ("train --epochs 5", "--max-epochs"),
        ("train --lr 1", "--set train.optimizer.lr=VALUE"),
        ("train --batch-size=8", "--set train.batch_size=VALUE"),
        ("train --names a,b", "--option names=VALUE"),
        ("data check camvid x --split-file a", "--option split_file=VALUE"),
        ("data chek camvid x", "'check'"),
        ("predict a.jpg --model m --dtype float31", "'float32'"),
        ("predct a.jpg", "'predict'"),
    ],
)
def test_a_misspelt_option_is_answered_with_the_right_one(capsys, command, meant):
    assert f"Did you mean {meant}" in said_about(capsys, *command.split())


def test_what_is_missing_is_named_with_the_command_to_write(capsys):
    text = said_about(capsys, "export")
    assert text.startswith("segpipe export: MODEL, PATH are missing. Write segpipe export MODEL PATH [options]\n")
    assert "--max-steps needs a value. Write --max-steps N" in said_about(capsys, "train", "--max-steps")


def test_the_usage_of_a_verb_is_one_line(capsys):
    assert main(["train", "--help"]) == 0
    assert capsys.readouterr().out.startswith("usage: segpipe train [options]\n")


def test_help_is_a_verb(capsys):
    assert main(["help"]) == 0
    overview = capsys.readouterr().out
    assert main(["--help"]) == 0
    assert overview == capsys.readouterr().out
    assert main(["help", "data", "show"]) == 0
    shown = capsys.readouterr().out
    assert main(["data", "show", "--help"]) == 0
    assert shown == capsys.readouterr().out
    assert "no verb 'nothing'" in said_about(capsys, "help", "nothing")


def test_a_misspelt_model_gets_three_suggestions_at_most(capsys):
    assert main(["predict", "a.jpg", "--model", "segformer-b1-camvid"]) == 1
    text = capsys.readouterr().err
    assert "Did you mean 'segformer-b0-camvid'" in text
    assert "segpipe models list lists them" in text
    assert text.count("segformer") <= 4


def test_a_page_of_data_is_named_by_its_place_or_by_an_option(capsys, tmp_path):
    assert main(["data", "prepare", "street-scenes", "streets", "--count", "2", "--size", "64x64", "--quiet"]) == 0
    assert main(["data", "show", "street-scenes", "streets", "page.png"]) == 0
    assert main(["data", "show", "street-scenes", "streets", "--output", "other.png"]) == 0
    capsys.readouterr()
    assert (tmp_path / "page.png").read_bytes() == (tmp_path / "other.png").read_bytes()
    assert "Name the page to write once" in said_about(capsys, "data", "show", "street-scenes", "streets")
