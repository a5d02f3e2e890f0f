"""Text for terminals."""

import pytest

from segpipe.names import printable


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("street.jpg", "street.jpg"),
        ("Straße 道路.jpg", "Straße 道路.jpg"),
        ("two\nlines\tand a tab", "two\nlines\tand a tab"),
        ("\x1b]0;title\x07.jpg", "\\x1b]0;title\\x07.jpg"),
        ("a\rb\x9bc", "a\\x0db\\x9bc"),
        ("gpj.\u202eexe", "gpj.\\u202eexe"),
        ("\udcff", "\\udcff"),
    ],
)
def test_control_characters_are_escaped(text, shown):
    assert printable(text) == shown
