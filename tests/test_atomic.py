"""Files and folders appear whole or not at all, and one module alone knows how."""

from __future__ import annotations

import ast
import errno
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from segpipe import atomic
from segpipe.atomic import (
    atomic_file,
    atomic_folder,
    finish_replacements,
    replaced_folder,
    scratch_folder,
    write_atomically,
    write_unless_there,
)
from segpipe.errors import CacheError

ROOT = Path(__file__).parents[1]
SOURCES = sorted(path for room in ("segpipe", "trainers", "configuration") for path in (ROOT / room).rglob("*.py"))
CALLS = {"replace", "rename", "renames", "link", "symlink", "fsync", "fdatasync", "sync"}


def content(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in sorted(folder.iterdir())}


def fill(folder: Path, text: str) -> None:
    (folder / "file").write_text(text)
    (folder / "manifest.json").write_text("{}")


def write_half(path: Path) -> None:
    path.write_text("half")
    raise ZeroDivisionError


def test_one_module_alone_renames_links_and_syncs():
    found = {path.name for path in SOURCES if list(calls_in(path))}
    assert found == {"atomic.py"}


def calls_in(path: Path) -> Iterator[str]:
    """What a file does that segpipe/atomic.py is there for."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        is_of_os = isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "os"
        if is_of_os and node.attr in CALLS:
            yield f"os.{node.attr} in line {node.lineno}"
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = {alias.name for alias in node.names} | {getattr(node, "module", None)}
            yield from [f"tempfile in line {node.lineno}"] * ("tempfile" in names)


def test_a_file_is_replaced_as_a_whole(tmp_path: Path):
    write_atomically(tmp_path / "file", b"old")
    with pytest.raises(ZeroDivisionError), atomic_file(tmp_path / "file") as unfinished:
        write_half(unfinished)
    assert content(tmp_path) == {"file": "old"}
    write_atomically(tmp_path / "file", b"new", sync=False)
    assert content(tmp_path) == {"file": "new"}


def test_a_link_is_replaced_and_not_followed(tmp_path: Path):
    (tmp_path / "precious").write_text("precious")
    (tmp_path / "file").symlink_to(tmp_path / "precious")
    write_atomically(tmp_path / "file", b"new")
    assert content(tmp_path) == {"file": "new", "precious": "precious"}


def test_a_refusal_names_the_file_that_the_caller_knows(tmp_path: Path):
    with pytest.raises(FileNotFoundError) as caught:
        write_atomically(tmp_path / "no folder" / "file", b"new")
    assert caught.value.filename == str(tmp_path / "no folder" / "file")


def test_the_first_of_two_writers_wins_where_it_is_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    write_unless_there(tmp_path / "file", b"first")
    write_unless_there(tmp_path / "file", b"second")
    assert content(tmp_path) == {"file": "first"}
    monkeypatch.setattr(os, "link", lambda *_: (_ for _ in ()).throw(PermissionError("no links here")))
    write_unless_there(tmp_path / "other", b"first")
    assert content(tmp_path) == {"file": "first", "other": "first"}


def test_a_new_folder_never_takes_the_place_of_a_finished_one(tmp_path: Path):
    with atomic_folder(tmp_path / "made") as folder:
        fill(folder, "ours")
        with atomic_folder(tmp_path / "made") as other:
            fill(other, "theirs")
    assert content(tmp_path / "made")["file"] == "theirs"
    assert os.listdir(tmp_path) == ["made"]


@pytest.mark.parametrize("new_folder", [atomic_folder, replaced_folder, scratch_folder])
def test_a_refusal_in_a_folder_in_progress_names_the_place_that_the_caller_knows(tmp_path: Path, new_folder):
    with pytest.raises(FileNotFoundError) as caught, new_folder(tmp_path / "made") as folder:
        (folder / "not there" / "file").write_text("x")
    assert caught.value.filename == str(tmp_path / "made" / "not there" / "file")
    assert str(tmp_path / "made" / "not there" / "file") in str(caught.value)
    with pytest.raises(CacheError) as ours, new_folder(tmp_path / "made") as folder:
        raise CacheError(f"Cannot write {folder}.", path=folder)
    assert (str(ours.value), ours.value.path) == (f"Cannot write {tmp_path / 'made'}.", tmp_path / "made")


def test_a_folder_is_replaced_once_the_new_one_is_whole(tmp_path: Path):
    for text in ("old", "new"):
        with replaced_folder(tmp_path / "made") as folder:
            fill(folder, text)
            assert (tmp_path / "made").exists() == (text == "new")
    assert content(tmp_path / "made")["file"] == "new"
    with pytest.raises(ZeroDivisionError), replaced_folder(tmp_path / "made") as folder:
        write_half(folder / "file")
    assert content(tmp_path / "made")["file"] == "new"
    assert os.listdir(tmp_path) == ["made"]


class Killed(BaseException):
    """As SIGKILL: nothing is cleaned up after it."""


def replace_and_be_killed(place: Path, text: str, monkeypatch: pytest.MonkeyPatch, *, before_move: int) -> None:
    """Fill and replace a folder until a kill before the n-th rename."""
    moves = iter(range(1, 99))

    def move(source: Path, target: Path) -> None:
        if next(moves) == before_move:
            raise Killed
        os.replace(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(atomic.shutil, "rmtree", lambda *_, **__: None)
        patch.setattr(atomic, "move", move)
        with pytest.raises(Killed), replaced_folder(place) as folder:
            fill(folder, text)


@pytest.mark.parametrize(("before_move", "kept"), [(2, "old"), (3, "new")])
def test_a_kill_between_the_two_loses_neither(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, before_move, kept):
    with replaced_folder(tmp_path / "made") as folder:
        fill(folder, "old")
    replace_and_be_killed(tmp_path / "made", "new", monkeypatch, before_move=before_move)
    finish_replacements(tmp_path)
    assert content(tmp_path / "made")["file"] == kept
    assert not list(tmp_path.glob(".fresh-*"))


@pytest.mark.parametrize("before_move", [2, 3])
def test_what_a_kill_left_is_used_and_removed_when_the_folder_is_replaced_again(tmp_path, monkeypatch, before_move):
    with replaced_folder(tmp_path / "made") as folder:
        fill(folder, "old")
    (tmp_path / ".fresh-made").mkdir()  # as version 0.1.0 named it
    (tmp_path / ".fresh-other").mkdir()
    replace_and_be_killed(tmp_path / "made", "killed", monkeypatch, before_move=before_move)
    with pytest.raises(ZeroDivisionError), replaced_folder(tmp_path / "made") as folder:
        write_half(folder / "file")
    assert content(tmp_path / "made")["file"] == ("old" if before_move == 2 else "killed")
    with replaced_folder(tmp_path / "made") as folder:
        fill(folder, "new")
    assert content(tmp_path / "made")["file"] == "new"
    assert [path.name for path in tmp_path.glob(".fresh-*")] == [".fresh-other"]


def test_what_a_kill_left_is_removed_when_a_new_folder_is_made_as_well(tmp_path: Path, monkeypatch):
    with replaced_folder(tmp_path / "made") as folder:
        fill(folder, "old")
    replace_and_be_killed(tmp_path / "made", "killed", monkeypatch, before_move=3)
    with atomic_folder(tmp_path / "made") as folder:
        fill(folder, "new")
    assert content(tmp_path / "made")["file"] == "new"
    assert not list(tmp_path.glob(".fresh-*"))


@pytest.mark.parametrize("refused", [".removed-", "made"])
def test_a_folder_that_cannot_be_replaced_stays_and_nothing_beside_it(tmp_path: Path, monkeypatch, refused):
    with replaced_folder(tmp_path / "made") as folder:
        fill(folder, "old")

    def move(source: Path, target: Path) -> None:
        if target.name.startswith(refused) and source.name.startswith((".fresh", "made")):
            raise OSError(errno.EIO, "refused")
        os.replace(source, target)

    monkeypatch.setattr(atomic, "move", move)
    with pytest.raises(CacheError, match="refused"), replaced_folder(tmp_path / "made") as folder:
        fill(folder, "new")
    assert content(tmp_path / "made")["file"] == "old"
    assert os.listdir(tmp_path) == ["made"]


@pytest.mark.parametrize("before_move", [1, 2, 3])
@pytest.mark.parametrize("new_folder", [atomic_folder, replaced_folder])
@pytest.mark.parametrize("is_old", [False, True])
def test_another_process_may_replace_a_folder_meanwhile(tmp_path, monkeypatch, before_move, new_folder, is_old):
    if is_old:
        with replaced_folder(tmp_path / "made") as folder:
            fill(folder, "old")
    moves = iter(range(1, 99))

    def move_after_the_other(source: Path, target: Path) -> None:
        if next(moves) == before_move:
            with new_folder(tmp_path / "made") as other:
                fill(other, "theirs")
        os.replace(source, target)

    with replaced_folder(tmp_path / "made") as folder:
        fill(folder, "ours")
        monkeypatch.setattr(atomic, "move", move_after_the_other)
    assert content(tmp_path / "made")["file"] in ("ours", "theirs")
    assert os.listdir(tmp_path) == ["made"]


def test_what_version_0_1_0_left_after_a_kill_gets_its_name(tmp_path: Path):
    fresh = tmp_path / ".fresh-step-00000005"
    fresh.mkdir()
    fill(fresh, "whole")
    finish_replacements(tmp_path)
    assert os.listdir(tmp_path) == ["step-00000005"]


def test_a_folder_with_the_longest_name_is_replaced_as_well(tmp_path: Path):
    place = tmp_path / ("x" * 255)
    for text in ("old", "new"):
        with replaced_folder(place) as folder:
            fill(folder, text)
    assert content(place)["file"] == "new"


def test_a_scratch_folder_is_gone_afterwards(tmp_path: Path):
    with pytest.raises(ZeroDivisionError), scratch_folder(tmp_path / "place") as folder:
        write_half(folder / "file")
    assert os.listdir(tmp_path / "place") == []
