"""The frame of the command line: verbs, exit codes, one sentence per error, what an import costs."""

import argparse
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from segpipe import __version__
from segpipe.cli.main import VERBS, command_of, imports_end_at_once, main
from segpipe.cli.parsing import new_parser

ROOT = Path(__file__).parents[2]


def run_python(*arguments: str, **options) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, cwd=ROOT, timeout=60, check=False, **options
    )


def test_the_package_runs_as_a_module():
    finished = run_python("-m", "segpipe", "--version")
    assert (finished.returncode, finished.stdout) == (0, f"segpipe {__version__}\n")


@pytest.mark.parametrize("arguments", [["--help"], ["models", "list"], ["predict", "--help"], ["config", "schema"]])
def test_what_needs_no_network_of_its_own_imports_neither_torch_nor_opencv(arguments):
    code = (
        f"import sys; from segpipe.cli.main import main; main({arguments!r});"
        "print('heavy:', {'torch', 'cv2'} & set(sys.modules), file=sys.stderr)"
    )
    assert run_python("-c", code).stderr.splitlines()[-1] == "heavy: set()"


@pytest.mark.parametrize("verb", VERBS)
def test_help_and_usage_errors_wait_for_no_torch(verb):
    code = (
        f"import sys; from segpipe.cli.main import main; main([{verb!r}, '--help']);"
        f"main([{verb!r}, '--no-such-option']);"
        "print('torch' in sys.modules, file=sys.stderr)"
    )
    assert run_python("-c", code).stderr.splitlines()[-1] == "False"


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_explains_itself_with_examples(verb, capsys):
    assert main([verb, "--help"]) == 0
    text = capsys.readouterr().out
    assert text.startswith(f"usage: segpipe {verb}")
    assert f"segpipe {verb}" in text.partition("examples:")[2]


def test_a_misspelt_verb_gets_the_nearest_one(capsys):
    assert main(["predit", "street.jpg"]) == 2
    assert "Did you mean 'predict'?" in capsys.readouterr().err


def test_no_verb_prints_the_verbs_and_is_wrong_usage(capsys):
    assert main([]) == 2
    text = capsys.readouterr().err
    assert [verb for verb in VERBS if f"  {verb} " not in text] == []


@pytest.mark.parametrize("verb", VERBS)
def test_every_number_of_the_command_line_is_bounded(verb):
    """int takes 10**30, and float takes NaN, which many a library answers with an error of its own."""
    parsers = [new_parser(verb, "x", "")]
    command_of(verb).add_arguments(parsers[0])
    for parser in parsers:
        for action in parser._actions:
            parsers.extend((getattr(action, "choices", None) or {}).values() if action.dest == "action_name" else ())
            assert action.type not in (int, float) or action.help == argparse.SUPPRESS, action.option_strings


def test_a_nul_character_in_an_argument_is_refused(capsys):
    assert main(["predict", "a\0b", "--model", "x"]) == 1
    assert "NUL character" in capsys.readouterr().err


def test_wrong_usage_has_exit_code_2(capsys):
    assert main(["predict"]) == 2
    assert "missing" in capsys.readouterr().err


def test_an_error_is_one_sentence_without_traceback(capsys):
    assert main(["models", "info", "segformer-b0-camvd"]) == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("segpipe: There is no preset 'segformer-b0-camvd'. Did you mean 'segformer-b0-camvid'?")
    assert "Traceback" not in said.err


def test_debug_shows_the_traceback(capsys, monkeypatch):
    monkeypatch.setenv("SEGPIPE_DEBUG", "1")
    assert main(["models", "info", "team/street"]) == 1
    assert "Traceback" in capsys.readouterr().err


def test_ctrl_c_ends_with_130(monkeypatch, capsys):
    class Interrupted:
        def __iter__(self):
            raise KeyboardInterrupt

    monkeypatch.setattr(sys, "stdin", Interrupted())
    assert main(["predict", "-", "--model", "segformer-b0-camvid"]) == 130
    assert capsys.readouterr().err == "segpipe: interrupted.\n"


@pytest.mark.parametrize("half", ["raise ImportError('half') from None", "os.abort()", "pass"])
def test_ctrl_c_in_an_import_is_no_error_of_the_package(tmp_path, half):
    """A package that answers an interruption with an error of its own, as numpy does, or aborts, as torch does."""
    text = f"import os, signal\ntry:\n    os.kill(os.getpid(), signal.SIGINT)\nexcept KeyboardInterrupt:\n    {half}\n"
    (tmp_path / "interrupted.py").write_text(text)
    code = (
        f"import sys; sys.path.insert(0, {str(tmp_path)!r}); from segpipe.cli import main, models;"
        "models.locate_weights = lambda *_: __import__('interrupted') and None; sys.exit(main.main(['models', 'list']))"
    )
    finished = run_python("-c", code)
    assert (finished.returncode, finished.stderr) == (130, "segpipe: interrupted.\n")


def test_ctrl_c_is_as_before_when_the_command_is_over():
    before = signal.getsignal(signal.SIGINT)
    with imports_end_at_once(), pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is before


def test_an_ignored_ctrl_c_stays_ignored():
    """So it is in a background process of a shell script."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with imports_end_at_once():
            signal.raise_signal(signal.SIGINT)
            assert signal.getsignal(signal.SIGINT) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)


def test_a_closed_pipe_ends_quietly():
    command = f"{sys.executable} -m segpipe config schema | head -n 1"
    finished = subprocess.run(["bash", "-c", f"set -o pipefail; {command}"], capture_output=True, text=True, cwd=ROOT)
    assert (finished.returncode, finished.stdout, finished.stderr) == (0, "{\n", "")


def test_verbose_shows_the_log_and_the_next_command_is_silent_again(capsys, monkeypatch):
    import logging

    logger = logging.getLogger("segpipe.test")

    class Lines:
        def __iter__(self):
            logger.info("reading the list")
            return iter(())

    monkeypatch.setattr(sys, "stdin", Lines())
    assert main(["-v", "predict", "-", "--model", "segformer-b0-camvid"]) == 1
    assert "segpipe: reading the list\n" in capsys.readouterr().err
    assert main(["predict", "-", "--model", "segformer-b0-camvid"]) == 1
    assert "reading the list" not in capsys.readouterr().err


@pytest.mark.parametrize("number", ["nan", "inf", "-1", "1e300", "36526", "many", ""])
def test_days_are_a_number_of_days(capsys, number):
    assert main(["cache", "prune", f"--unused-for={number}"]) == 2
    assert "is not a number of days from 0 to 36,525" in capsys.readouterr().err


@pytest.mark.parametrize("number", ["nan", "-1", "1.5", "9" * 30, "\u0663"])
def test_a_count_is_a_whole_number(capsys, number):
    assert main(["cache", "prune", f"--keep-last={number}"]) == 2
    assert "is not a whole number from 0 on" in capsys.readouterr().err


@pytest.mark.parametrize("value", ["1e300", "nan", "inf", "0", "-5", "soon"])
def test_a_time_limit_of_the_environment_is_a_time(capsys, monkeypatch, value):
    monkeypatch.setenv("SEGPIPE_DOWNLOAD_TIMEOUT", value)
    assert main(["cache", "list"]) == 1
    assert capsys.readouterr().err.startswith("segpipe: SEGPIPE_DOWNLOAD_TIMEOUT is ")


@pytest.mark.parametrize(
    "arguments",
    [["models", "list"], ["curves", "runs"], ["convert", "a.pth", "to"]],
)
def test_a_deleted_current_folder_is_said_before_anything_is_imported(capsys, tmp_path, monkeypatch, arguments):
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    assert main(arguments) == 1
    assert capsys.readouterr().err.startswith("segpipe: The current folder was deleted")
