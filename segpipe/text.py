"""Text for people: escaped for terminals, HTML and Markdown; tables, sizes, durations and errors."""

from __future__ import annotations

import html
import json
import math
import re
import shutil
import textwrap
import unicodedata
from collections.abc import Sequence
from typing import Literal

_MARKDOWN = re.compile(r"[\\`*_\[\]|~&$]|^[#>+\-=]")
"""What has a meaning in Markdown anywhere, or as the first character of a line."""
_NOT_FOR_TERMINALS = re.compile(r"[^\x20-\x7e\n]")
Align = Literal["left", "right"]


def printable(text: str) -> str:
    """Return text for a terminal: control characters and invalid Unicode as escapes, line breaks and tabs as they are.

    A file name or a class name may hold escape sequences, with which a terminal can be made to do nearly anything.
    """
    if text.isprintable():
        return text
    return "".join(letter if letter.isprintable() or letter in "\n\t" else _escaped(letter) for letter in text)


def printable_line(text: str) -> str:
    """Return text for a table or a list: like `printable`, with line breaks and tabs as escapes, too."""
    return printable(text).replace("\n", "\\n").replace("\t", "\\t")


def printable_json(text: str) -> str:
    """Return JSON where what is not for a terminal is escaped as JSON does it, so that the document stays the same."""
    return _NOT_FOR_TERMINALS.sub(_json_escape, text)


def markdown_text(text: str) -> str:
    """Return text for one paragraph or one table cell of a Markdown file, where it is shown as it is.

    It cannot hold a link, an image, HTML, emphasis or code, nor end its line.
    """
    return _MARKDOWN.sub(r"\\\g<0>", " ".join(printable(text).split())).replace("<", "&lt;")


def markdown_code(text: str) -> str:
    """Return text as a code span of a Markdown file, whose fence is longer than any in the text."""
    line = printable_line(text)
    fence = "`" * (1 + max(map(len, re.findall("`+", line)), default=0))
    return f"{fence} {line} {fence}" if "`" in line else f"`{line}`"


def html_text(text: str) -> str:
    """Return text for an HTML element or a quoted attribute, where it is shown as it is."""
    return html.escape(printable(text))


def html_table(rows: Sequence[Sequence[str]]) -> str:
    """Return an HTML table of texts, its first row the header, all columns but the first aligned to the right."""
    lines = []
    for number, row in enumerate(rows):
        tag = "td" if number else "th"
        cells = (
            f"<{tag} style='text-align:{'right' if column else 'left'}'>{html_text(cell)}</{tag}>"
            for column, cell in enumerate(row)
        )
        lines.append(f"<tr>{''.join(cells)}</tr>")
    return f"<table>{''.join(lines)}</table>"


def format_table(rows: Sequence[Sequence[str]], aligns: Sequence[Align]) -> str:
    """Return indented lines whose columns stand under one another; the first row is the header."""
    rows = [[printable_line(cell) for cell in row] for row in rows]
    widths = [max(columns_of(row[column]) for row in rows) for column in range(len(aligns))]
    lines = []
    for row in rows:
        cells = [_padded(cell, width, align) for cell, width, align in zip(row, widths, aligns, strict=True)]
        lines.append(f"  {'  '.join(cells)}".rstrip())
    return "\n".join(lines)


def format_fields(fields: Sequence[tuple[str, str]]) -> str:
    """Return indented names with their values to the right, wrapped at the terminal's width."""
    fields = [(printable_line(name), printable_line(value)) for name, value in fields]
    width = max((columns_of(name) for name, _ in fields), default=0)
    indent = " " * (width + 4)
    lines = []
    for name, value in fields:
        head = f"  {_padded(name, width, 'left')}  "
        lines.append(
            textwrap.fill(
                value,
                width=max(terminal_width(), len(indent) + 24),
                initial_indent=head,
                subsequent_indent=indent,
                break_long_words=False,
                break_on_hyphens=False,
            )
        )
    return "\n".join(lines)


def format_columns(cells: Sequence[str]) -> str:
    """Return short texts in as many columns as the terminal holds, ordered downwards."""
    cells = [printable_line(cell) for cell in cells]
    width = max((columns_of(cell) for cell in cells), default=0) + 2
    num_columns = max(1, min(len(cells), (terminal_width() - 2) // width))
    num_rows = math.ceil(len(cells) / num_columns)
    rows = [[_padded(cell, width, "left") for cell in cells[row::num_rows]] for row in range(num_rows)]
    return "\n".join(f"  {''.join(row)}".rstrip() for row in rows)


def format_percent(fraction: float | None) -> str:
    """Return a fraction in percent, with two digits and without the sign; a dash for None and NaN."""
    return "–" if fraction is None or fraction != fraction else f"{100 * fraction:.2f}"


def format_count(count: int, noun: str) -> str:
    """Return a number with its noun: 1 image, 2 images."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def format_bytes(count: int) -> str:
    """Return a size in decimal units, as disks have them: 15.0 MB, 340 MB."""
    value, units = float(count), ["bytes", "kB", "MB", "GB", "TB"]
    while value >= 999.5 and len(units) > 1:
        value, units = value / 1000, units[1:]
    if units[0] == "bytes":
        return f"{count} bytes"
    digits = 1 if value < 99.95 else 0
    return f"{value:.{digits}f} {units[0]}"


def format_seconds(seconds: float) -> str:
    """Return a duration: 0.3 ms, 12 ms, 1.25 s."""
    if seconds >= 1.0:
        return f"{seconds:.2f} s"
    return f"{seconds * 1000:.1f} ms" if seconds < 0.00995 else f"{seconds * 1000:.0f} ms"


def first_line(error: BaseException) -> str:
    """Return the first line of an error's message without its full stop, or the error's kind where it is empty."""
    return (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")[:300]


def columns_of(text: str) -> int:
    """Return how many columns a terminal gives a text: East Asian letters take two, combining marks none."""
    return sum(
        0 if unicodedata.combining(letter) else 2 if unicodedata.east_asian_width(letter) in "WF" else 1
        for letter in text
    )


def terminal_width() -> int:
    """Return the columns of the terminal, at most 100, since longer lines read badly; 80 where there is none."""
    return min(shutil.get_terminal_size((80, 24)).columns, 100)


def _escaped(letter: str) -> str:
    code = ord(letter)
    if letter.isspace() and code >= 0xA0:  # a no-break or an ideographic space
        return letter
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def _json_escape(match: re.Match[str]) -> str:
    letter = match[0]
    return letter if letter.isprintable() else json.dumps(letter)[1:-1]


def _padded(text: str, width: int, align: Align) -> str:
    padding = " " * (width - columns_of(text))
    return text + padding if align == "left" else padding + text
