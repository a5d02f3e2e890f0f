"""Progress of long work: a bar where a person watches, a line now and then in a file, each message once and whole."""

import io
import logging
import os
import re
import sys
import threading
from types import SimpleNamespace

import pytest

from segpipe import progress_bars
from segpipe.cli.main import note_interruption
from segpipe.log import get_logger
from segpipe.progress_bars import ProgressBar, tell

logger = get_logger("segpipe.test_of_progress")


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def clock(monkeypatch):
    """A clock that stands still unless a test moves it."""
    now = SimpleNamespace(seconds=0.0)
    monkeypatch.setattr("segpipe.progress_bars.time.monotonic", lambda: now.seconds)
    return now


@pytest.fixture(autouse=True)
def no_switch(monkeypatch):
    monkeypatch.delenv("SEGPIPE_PROGRESS", raising=False)


def use_stderr(monkeypatch, stream):
    """Not a fixture: pytest sets stderr anew between a test's fixtures and the test."""
    monkeypatch.setattr(sys, "stderr", stream)
    return stream


def test_a_file_gets_a_line_now_and_then_with_what_is_left(monkeypatch, clock):
    file = use_stderr(monkeypatch, io.StringIO())
    with ProgressBar("train", 1000, "steps", start=100, stays=True) as bar:
        for _ in range(900):
            clock.seconds += 1.0
            bar.update(note="loss 0.5")
    lines = file.getvalue().splitlines()
    assert lines[0] == "train: 110 of 1,000 steps, 0:14:50 left, loss 0.5"
    assert lines[-1] == "train: 1,000 of 1,000 steps in 0:15:00, loss 0.5"
    # Every 10 seconds up to 100, then after a tenth of the time so far: ln(9) / ln(1.1) = 23 more.
    assert 10 + 20 <= len(lines) <= 10 + 25


def test_a_run_of_a_week_has_a_line_every_five_minutes(monkeypatch, clock):
    file = use_stderr(monkeypatch, io.StringIO())
    with ProgressBar("train", None, "steps") as bar:
        for _ in range(7 * 24 * 12):
            clock.seconds += 300.0
            bar.update()
    assert len(file.getvalue().splitlines()) == 7 * 24 * 12


def test_a_terminal_gets_a_bar_with_the_note_and_what_is_left(monkeypatch):
    terminal = use_stderr(monkeypatch, Terminal())
    with ProgressBar("train", 4, "steps", stays=True) as bar:
        bar.update(note="loss 0.5, lr 6e-05")
        bar._bar.refresh()
    assert re.search(r"train:  25%\|.*\| 1/4 steps \[00:00<00:0\d, loss 0.5, lr 6e-05\]", terminal.getvalue())


@pytest.mark.parametrize("switch", ["argument", "variable"])
def test_it_can_be_switched_off(monkeypatch, clock, switch):
    terminal = use_stderr(monkeypatch, Terminal())
    if switch == "variable":
        monkeypatch.setenv("SEGPIPE_PROGRESS", "0")
    with ProgressBar("train", 4, "steps", is_shown=switch != "argument", stays=True) as bar:
        bar.update()
    tell(logger, "done", is_shown=switch != "argument")
    assert terminal.getvalue() == ""


def test_a_message_of_the_log_does_not_run_into_a_bar(monkeypatch):
    """The bar's line is emptied first; else a message begins behind the bar and its end is broken off."""
    terminal = use_stderr(monkeypatch, Terminal())
    with ProgressBar("train", 4, "steps") as bar:
        bar.update()
        logger.warning("Saving after this step")
    before = terminal.getvalue().partition("Saving")[0]
    assert before.endswith("\r")
    assert before.split("\r")[-2].strip() == ""


def test_an_interruption_does_not_run_into_a_bar(monkeypatch):
    terminal = use_stderr(monkeypatch, Terminal())
    with ProgressBar("evaluate", 4, "images") as bar:
        bar.update()
        note_interruption()
    before = terminal.getvalue().partition("segpipe: interrupted.\n")[0]
    assert before.split("\r")[-2].strip() == ""


def test_a_line_stands_above_the_bar(monkeypatch):
    terminal = use_stderr(monkeypatch, Terminal())
    with ProgressBar("train", 4, "steps") as bar:
        bar.update()
        tell(logger, "Step 1/4: mIoU 50.00 %")
    before, _, after = terminal.getvalue().partition("Step 1/4: mIoU 50.00 %\n")
    assert before.endswith("\r")
    assert "train:  25%" in after


@pytest.mark.parametrize(
    ("handler", "is_written"),
    [(logging.StreamHandler(io.StringIO()), False), (logging.FileHandler(os.devnull, delay=True), True)],
    ids=["to people", "to a file"],
)
def test_what_a_handler_shows_to_people_is_not_written_again(monkeypatch, handler, is_written):
    stderr = use_stderr(monkeypatch, io.StringIO())
    monkeypatch.setattr(logger, "handlers", [handler])
    monkeypatch.setattr(logger, "level", logging.INFO)
    logger.manager._clear_cache()
    monkeypatch.setattr(logger, "propagate", False)
    tell(logger, "half way")
    logger.manager._clear_cache()
    assert (stderr.getvalue() == "half way\n") == is_written


def test_nobody_who_reads_any_more_does_not_end_the_work(monkeypatch, clock):
    class Closed(io.StringIO):
        def write(self, text):
            raise BrokenPipeError

    use_stderr(monkeypatch, Closed())
    with ProgressBar("train", 2, "steps", stays=True) as bar:
        clock.seconds += 100
        bar.update()
    monkeypatch.setattr(sys, "stderr", None)
    with ProgressBar("train", 2, "steps", stays=True) as bar:
        bar.update()


def test_a_notebook_has_a_bar_and_its_lines_on_stdout(monkeypatch, capsys):
    """Its stderr is not a terminal, and is shown as if something were wrong."""
    stderr = use_stderr(monkeypatch, io.StringIO())
    shell = SimpleNamespace(kernel=object())
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: shell, version_info=(9, 0)))
    assert progress_bars.is_watched()
    with ProgressBar("train", 4, "steps") as bar:
        tell(logger, "Step 1/4: mIoU 50.00 %")
        bar.update()
    assert "Step 1/4: mIoU 50.00 %" in capsys.readouterr().out
    assert "Step 1/4" not in stderr.getvalue()
    assert "train:" in stderr.getvalue()


def test_a_message_may_come_while_another_thread_begins_bars(monkeypatch):
    use_stderr(monkeypatch, io.StringIO())
    is_over = threading.Event()

    def begin_bars():
        while not is_over.is_set():
            progress_bars.new_bar(total=1, file=io.StringIO()).close()

    thread = threading.Thread(target=begin_bars)
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    thread.start()
    try:
        for _ in range(30_000):
            progress_bars.clear_bars()
    finally:
        sys.setswitchinterval(before)
        is_over.set()
        thread.join()


def test_escape_sequences_are_shown_as_such(monkeypatch):
    file = use_stderr(monkeypatch, io.StringIO())
    tell(logger, "Looked at a\x1b[2Jb")
    assert file.getvalue() == "Looked at a\\x1b[2Jb\n"
