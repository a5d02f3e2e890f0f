"""Text for terminals: tables, named values, sizes and durations; and JSON for machines."""

from __future__ import annotations

import json
import math
import sys
from typing import Any

from segpipe.text import printable_json


def print_json(document: Any) -> None:
    """One JSON document on stdout; numbers that JSON does not have become null."""
    is_unicode = (sys.stdout.encoding or "").lower().startswith("utf")
    print_json_text(json.dumps(_without_nan(document), indent=2, ensure_ascii=not is_unicode, allow_nan=False))


def print_json_text(text: str) -> None:
    """JSON on stdout, as `printable_json` has it."""
    print(printable_json(text))


def print_note(text: str) -> None:
    """A line for people, on stderr."""
    print(text, file=sys.stderr)


def print_message(text: str) -> None:
    """What went wrong, on stderr. Further lines are indented, so that none of them looks like another message."""
    print("segpipe: " + text.replace("\n", "\n  "), file=sys.stderr)


def _without_nan(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nan(member) for key, member in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(member) for member in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
