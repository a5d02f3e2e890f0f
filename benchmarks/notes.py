"""The lines under a table: rounds, agreement of label maps, the best runtime, the machine's own rate."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from .formatting import format_number, format_ratio
from .results import OURS, Row, ratio_of, spread_of

RIVALS_ON_GRAPH = ("ONNX Runtime", "OpenVINO", "OpenVINO bfloat16")
"""Runtimes on the graph that transformers' network is exported to."""


def notes_of(rows: Sequence[Row]) -> Iterator[str]:
    """What stands under the table of these rows."""
    yield from _rounds(rows)
    if rows[0].table == "runtimes":
        yield from _runtime_notes(rows)
    if rows[0].table == "rate":
        yield from map(_rate_note, rows)
    yield from map(_agreement_note, (row for row in rows if row.agreement is not None))
    yield from dict.fromkeys(f"  {note}" for row in rows for note in row.notes)


def _rounds(rows: Sequence[Row]) -> Iterator[str]:
    rounds = sorted({len(values) for row in rows for values in row.runs.values()})
    if rounds[-1] == 1:
        return
    count = f"{rounds[0]}" if len(rounds) == 1 else f"{rounds[0]} to {rounds[-1]}"
    in_turn = "one number of workers after the other" if rows[0].table == "loading" else "in turn"
    yield f"  {count} rounds {in_turn}; in brackets the quartiles of the rounds' own ratios."


def _agreement_note(row: Row) -> str:
    wanted = row.agreement_wanted
    warning = "" if row.agreement is None or row.agreement >= wanted else f"   BELOW {wanted:.1%}"
    facts = [] if row.classes is None else [f"{row.classes} classes"]
    facts += [] if row.boundary_share is None else [f"boundaries at {row.boundary_share:.0%} of the grid"]
    what = f", {row.what}" if row.table in ("runtimes", "label map") else ""
    return (
        f"  {row.network} {row.size[0]}×{row.size[1]}{what}: the label maps agree on {row.agreement:.4%} of the pixels"
        + (f" ({', '.join(facts)})" if facts else "")
        + warning
    )


def _runtime_notes(rows: Sequence[Row]) -> Iterator[str]:
    """For each network and size: what the others took, and how far ahead the fastest of ours is."""
    for key in dict.fromkeys((row.network, row.size) for row in rows):
        members = [row for row in rows if (row.network, row.size) == key]
        name = f"{key[0]} {key[1][0]}×{key[1][1]}"
        others = {other: spread_of(values).median for other, values in members[0].runs.items() if other != OURS}
        yield f"  {name}: " + ", ".join(f"{other} {format_number(value)} ms" for other, value in others.items())
        yield from (f"  {name}: {line}" for line in _best_lines(members))


def _best_lines(rows: Sequence[Row]) -> Iterator[str]:
    best = min(rows, key=_ours)
    float32 = [row for row in rows if row.what.endswith("float32")]
    yield f"best is {best.what}, {_ahead_of(best, ('transformers',))}; {_ahead_of(best, RIVALS_ON_GRAPH)}"
    if float32 and best not in float32:
        best = min(float32, key=_ours)
        yield f"best in float32 is {best.what}, {_ahead_of(best, ('transformers',))}; " + _ahead_of(
            best, RIVALS_ON_GRAPH[:2]
        )


def _ours(row: Row) -> float:
    return spread_of(row.runs[OURS]).median


def _ahead_of(row: Row, names: Sequence[str]) -> str:
    """How many times faster than the fastest of those."""
    found = {name: ratio for name in names if (ratio := ratio_of(row, name)) is not None}
    if not found:
        return "nothing else ran"
    name = min(found, key=lambda name: found[name].median)
    called = "transformers' pipeline" if name == "transformers" else f"{name} on transformers' graph"
    return f"{format_ratio(found[name])} faster than {called}"


def _rate_note(row: Row) -> str:
    """Multiply-adds count as two operations."""
    operations = 2 * (row.multiply_adds or 0.0) / 1e6  # over milliseconds: GFLOP/s
    ours, product = (operations / spread_of(row.runs[name]).median for name in (OURS, "matrix product"))
    return (
        f"  {row.network} {row.size[0]}×{row.size[1]}, {row.what}: {operations / 2e3:.2f} G multiply-adds, "
        f"{ours:,.0f} of {product:,.0f} GFLOP/s"
    )
