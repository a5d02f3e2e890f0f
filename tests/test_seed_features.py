"""The page of the seed systems' abilities: every test and every command that it names exists."""

import re
from pathlib import Path

from segpipe.cli.main import VERBS

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "seed-features.md").read_text(encoding="utf-8")
ROWS = [line for line in PAGE.splitlines() if re.match(r"\| (?!ability |---)", line.replace("|---", "| ---"))]


def test_every_test_that_the_page_names_exists():
    named = re.findall(r"`(tests/[\w/]+\.py)::(test_\w+)`", PAGE)
    assert len(named) > 60
    absent = [
        f"{path}::{name}"
        for path, name in named
        if not (ROOT / path).is_file()
        or not re.search(rf"^def {name}\(", (ROOT / path).read_text(encoding="utf-8"), re.MULTILINE)
    ]
    assert absent == []


def test_every_command_that_the_page_names_exists():
    verbs = re.findall(r"`segpipe (\w+)", PAGE)
    assert len(verbs) > 8
    assert set(verbs) <= set(VERBS)


def test_every_ability_names_what_shows_it_or_says_that_it_is_missing():
    assert len(ROWS) > 50
    assert [row for row in ROWS if "::test_" not in row and "**missing**" not in row] == []


def test_every_system_of_a_row_is_one_of_the_five():
    assert {system for row in ROWS for system in row.split("|")[2].split()} == set("12345")
