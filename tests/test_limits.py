"""Every limit is documented, and an environment variable replaces it."""

from pathlib import Path

import pytest

from segpipe.errors import InputError
from segpipe.limits import LIMITS, limit

PAGE = Path(__file__).parents[1] / "docs/limits.md"


def table_row(entry):
    return f"| `{entry.variable}` | {entry.default:,} | {entry.unit} | {entry.bounds} |"


def test_the_page_shows_every_limit():
    rows = [line for line in PAGE.read_text(encoding="utf-8").splitlines() if line.startswith("| `SEGPIPE_MAX_")]
    assert rows == [table_row(entry) for entry in LIMITS.values()]


def test_a_variable_replaces_a_limit(monkeypatch):
    monkeypatch.setenv("SEGPIPE_MAX_IMAGE_PIXELS", "1000")
    assert limit("image_pixels") == 1000


@pytest.mark.parametrize("text", ["0", "-1", "1e9", "many", "9" * 30])
def test_a_limit_must_be_a_positive_whole_number(monkeypatch, text):
    monkeypatch.setenv("SEGPIPE_MAX_IMAGE_PIXELS", text)
    with pytest.raises(InputError, match="SEGPIPE_MAX_IMAGE_PIXELS"):
        limit("image_pixels")
