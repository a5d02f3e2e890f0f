"""Numbers, ratios and columns as text."""

from __future__ import annotations

from collections.abc import Sequence

from .results import Spread


def align(rows: Sequence[Sequence[str]], *, left: int) -> list[str]:
    """Lines with aligned columns, the first `left` of them to the left, and a rule under the first line."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = [
        "  "
        + "  ".join(
            _pad(cell, width, column < left) for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    ]
    rule = "  " + "  ".join("─" * width for width in widths)
    return [line.rstrip() for line in [lines[0], rule, *lines[1:]]]


def format_number(value: float) -> str:
    """Three significant digits, thousands in full."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def format_ratio(ratio: Spread, pattern: str = "{:.1f}", unit: str = "×") -> str:
    """6.1× (5.2 to 6.9); the quartiles only where there are several rounds."""
    median, low, high = (pattern.format(value) for value in (ratio.median, ratio.low, ratio.high))
    return f"{median}{unit}" if ratio.low == ratio.high else f"{median}{unit} ({low} to {high})"


def _pad(cell: str, width: int, to_the_left: bool) -> str:
    return cell.ljust(width) if to_the_left else cell.rjust(width)
