"""Names in messages, and text for terminals."""

import pytest

from segpipe.names import listing
from segpipe.text import markdown_code, markdown_text, printable, printable_line


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


def test_a_cell_is_one_line():
    assert printable_line("a\nb\tc\x1b") == "a\\nb\\tc\\x1b"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("traffic light", "traffic light"),
        ("coco-stuff164k val", "coco-stuff164k val"),
        ("[x](https://evil.example)", "\\[x\\](https://evil.example)"),
        ("![i](x.png)", "!\\[i\\](x.png)"),
        ("<script>a</script>", "&lt;script>a&lt;/script>"),
        ("a|b\\|c", "a\\|b\\\\\\|c"),
        ("`*_~&$", "\\`\\*\\_\\~\\&\\$"),
        ("# head\n\n- list", "\\# head - list"),
        ("a\x1b[2J\u202e", "a\\\\x1b\\[2J\\\\u202e"),
    ],
)
def test_markdown_shows_a_text_as_it_is(text, shown):
    assert markdown_text(text) == shown


@pytest.mark.parametrize(
    ("text", "shown"),
    [("hf:a/b", "`hf:a/b`"), ("a`b``c", "``` a`b``c ```"), ("a\n\n# b", "`a\\n\\n# b`"), ("[x](y)", "`[x](y)`")],
)
def test_a_code_span_holds_any_text(text, shown):
    assert markdown_code(text) == shown


def test_a_listing_has_the_first_names_and_the_number_of_the_others():
    assert listing([]) == ""
    assert listing(list("abcde")) == "a, b, c, d, e"
    assert listing([str(number) for number in range(1234)], 2) == "0, 1 and 1,232 more"
