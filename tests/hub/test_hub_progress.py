"""The progress bar: on a terminal alone, and off when asked."""

from __future__ import annotations

import io

import pytest
from hub_material import NAME

from segpipe import progress_bars
from segpipe.hub import Hub


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def use_terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """Not a fixture: pytest sets stderr anew between a test's fixtures and the test."""
    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    return terminal


def test_bar_shows_the_share_on_a_terminal(monkeypatch: pytest.MonkeyPatch):
    terminal = use_terminal(monkeypatch)
    with progress_bars.byte_bar("street", 200) as count:
        count(150)
        count(-50)
        for bar in progress_bars._bars:
            bar.refresh()
    assert "street" in terminal.getvalue()
    assert "50%" in terminal.getvalue()


def test_no_bar_where_stderr_is_a_file(hub: Hub, monkeypatch: pytest.MonkeyPatch):
    log = io.StringIO()
    monkeypatch.setattr("sys.stderr", log)
    hub.resolve(f"hf:{NAME}")
    assert log.getvalue() == ""


@pytest.mark.parametrize(("value", "is_shown"), [("0", False), ("1", True)])
def test_variable_switches_the_bar(hub: Hub, monkeypatch: pytest.MonkeyPatch, value: str, is_shown: bool):
    terminal = use_terminal(monkeypatch)
    monkeypatch.setenv("SEGPIPE_PROGRESS", value)
    hub.resolve(f"hf:{NAME}")
    assert ("team/street" in terminal.getvalue()) == is_shown
