"""Text for terminals: tables, named values, sizes and durations; and JSON for machines."""

from __future__ import annotations

import json
import math
import re
import shutil
import sys
import textwrap
from collections.abc import Sequence
from typing import Any, Literal

from segpipe.names import columns_of, printable_line

_NOT_FOR_TERMINALS = re.compile(r"[^\x20-\x7e\n]")
Align = Literal["left", "right"]


def print_json(document: Any) -> None:
    """One JSON document on stdout; numbers that JSON does not have become null."""
    is_unicode = (sys.stdout.encoding or "").lower().startswith("utf")
    print_json_text(json.dumps(_without_nan(document), indent=2, ensure_ascii=not is_unicode, allow_nan=False))


def print_json_text(text: str) -> None:
    """JSON on stdout, as `printable_json` has it."""
    print(printable_json(text))


def printable_json(text: str) -> str:
    """Return JSON where what is not for a terminal is escaped as JSON does it, so that the document stays the same."""
    return _NOT_FOR_TERMINALS.sub(_json_escape, text)


def print_note(text: str) -> None:
    """A line for people, on stderr."""
    print(text, file=sys.stderr)


def print_message(text: str) -> None:
    """What went wrong, on stderr. Further lines are indented, so that none of them looks like another message."""
    print("segpipe: " + text.replace("\n", "\n  "), file=sys.stderr)


def format_table(rows: Sequence[Sequence[str]], aligns: Sequence[Align]) -> str:
    """Indented lines whose columns stand under one another; the first row is the header."""
    rows = [[printable_line(cell) for cell in row] for row in rows]
    widths = [max(columns_of(row[column]) for row in rows) for column in range(len(aligns))]
    lines = []
    for row in rows:
        cells = [_padded(cell, width, align) for cell, width, align in zip(row, widths, aligns, strict=True)]
        lines.append(f"  {'  '.join(cells)}".rstrip())
    return "\n".join(lines)


def format_fields(fields: Sequence[tuple[str, str]]) -> str:
    """Indented names with their values to the right, wrapped at the terminal's width."""
    fields = [(printable_line(name), printable_line(value)) for name, value in fields]
    width = max((columns_of(name) for name, _ in fields), default=0)
    indent = " " * (width + 4)
    lines = []
    for name, value in fields:
        head = f"  {_padded(name, width, 'left')}  "
        lines.append(_wrapped(value, head, indent))
    return "\n".join(lines)


def format_columns(cells: Sequence[str]) -> str:
    """Short texts in as many columns as the terminal holds, ordered downwards."""
    cells = [printable_line(cell) for cell in cells]
    width = max((columns_of(cell) for cell in cells), default=0) + 2
    num_columns = max(1, min(len(cells), (terminal_width() - 2) // width))
    num_rows = math.ceil(len(cells) / num_columns)
    rows = [[_padded(cell, width, "left") for cell in cells[row::num_rows]] for row in range(num_rows)]
    return "\n".join(f"  {''.join(row)}".rstrip() for row in rows)


def terminal_width() -> int:
    """Columns of the terminal, at most 100, since longer lines read badly; 80 where there is none."""
    return min(shutil.get_terminal_size((80, 24)).columns, 100)


def format_bytes(count: int) -> str:
    """15.0 MB, 340 MB: decimal units, as disks have them."""
    value, units = float(count), ["bytes", "kB", "MB", "GB", "TB"]
    while value >= 999.5 and len(units) > 1:
        value, units = value / 1000, units[1:]
    if units[0] == "bytes":
        return f"{count} bytes"
    digits = 1 if value < 99.95 else 0
    return f"{value:.{digits}f} {units[0]}"


def format_seconds(seconds: float) -> str:
    """0.3 ms, 12 ms, 1.25 s."""
    if seconds >= 1.0:
        return f"{seconds:.2f} s"
    return f"{seconds * 1000:.1f} ms" if seconds < 0.00995 else f"{seconds * 1000:.0f} ms"


def _json_escape(match: re.Match[str]) -> str:
    letter = match[0]
    return letter if letter.isprintable() else json.dumps(letter)[1:-1]


def _padded(text: str, width: int, align: Align) -> str:
    padding = " " * (width - columns_of(text))
    return text + padding if align == "left" else padding + text


def _wrapped(text: str, head: str, indent: str) -> str:
    width = max(terminal_width(), len(indent) + 24)
    return textwrap.fill(
        text,
        width=width,
        initial_indent=head,
        subsequent_indent=indent,
        break_long_words=False,
        break_on_hyphens=False,
    )


def _without_nan(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nan(member) for key, member in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(member) for member in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
