"""Tables that are pleasant to read, of a run and of its comparison with an earlier one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from .comparison import Change, Result
from .results import OURS, Row, ratio_of, spread_of

AGREEMENT_WANTED = 0.999
MISSING = "–"
TITLES = {
    "latency": "Latency: one decoded picture in, label map out. Milliseconds, median of the rounds",
    "throughput": "Throughput: a list of decoded pictures. Milliseconds per picture, median of the rounds",
    "parts": "Part by part: milliseconds, median of the rounds",
    "memory": "Memory: peak of one call beyond the loaded, warm library. MiB",
    "training": "Training: one step on a fixed batch. Pictures a second, median of the rounds",
    "training memory": "Training memory: peak of one step beyond weights, gradients and the optimiser's state. MiB",
    "loading": "Data loading alone: the ADE20K recipe's transforms. Pictures a second, median of the rounds",
}
CONTESTANTS = {
    "latency": ("segpipe", "segpipe with masks", "transformers", "transformers lean"),
    "throughput": ("segpipe", "transformers"),
    "parts": ("segpipe", "transformers"),
    "memory": ("segpipe", "transformers", "transformers lean"),
    "training": ("segpipe", "transformers"),
    "training memory": ("segpipe", "transformers"),
    "loading": ("segpipe", "training step"),
}
RATES = ("training", "loading")
"""Tables that show pictures a second; their rows hold milliseconds per picture like all others."""


def render_result(result: Result) -> str:
    """Machine, then one table after the other."""
    blocks = [_render_heading(result)]
    for table in TITLES:
        rows = [row for row in result.rows if row.table == table]
        if rows:
            blocks.append(render_rows(table, rows))
    return "\n\n".join(blocks)


def render_rows(table: str, rows: Sequence[Row]) -> str:
    """One table with its title and its notes."""
    names = CONTESTANTS[table]
    ratios = [name for name in names if not name.startswith(OURS)]
    word = "less" if rows[0].unit == "MiB" else "faster"
    header = ["network", "picture", *([] if table in ("latency", "memory") else ["what"]), *names]
    header += [f"{word} than {name}" for name in ratios]
    cells = [[*_labels(row, table), *_values(row, names), *_ratios(row, ratios)] for row in rows]
    numeric = len(names) + len(ratios)
    lines = [TITLES[table], *align([header, *cells], left=len(header) - numeric), *_notes(rows)]
    return "\n".join(lines)


def render_changes(changes: Sequence[Change], recorded: Result, fresh: Result) -> str:
    """What both runs measured, side by side, and a last line with the verdict."""
    if not changes:
        return "The two runs have no measurement in common. Repeat the recorded one's --network and --sizes."
    header = ["network", "picture", "what", "recorded", "fresh", "change", "noise", ""]
    rows = [header, *(_change_cells(change) for change in changes)]
    worse = sum(change.verdict == "worse" for change in changes)
    verdict = (
        f"{worse} of {len(changes)} got worse by more than the noise."
        if worse
        else "Nothing got worse by more than the noise."
    )
    notes = ["× says how many times faster than transformers; the change is ours, positive when it got worse."]
    if recorded.machine != fresh.machine or recorded.threads != fresh.threads:
        notes.append(f"Recorded on {_machine_line(recorded)}.")
    differing = [name for name in recorded.versions if fresh.versions.get(name) != recorded.versions[name]]
    notes += [
        f"Recorded with {name} {recorded.versions[name]}, now {fresh.versions.get(name, 'none')}." for name in differing
    ]
    return "\n".join([f"Beside the run of {recorded.date}", *align(rows, left=3), *notes, verdict])


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


def disagreements(rows: Sequence[Row]) -> list[Row]:
    """The rows whose label maps agree on less than they should."""
    return [row for row in rows if row.agreement is not None and row.agreement < AGREEMENT_WANTED]


def _render_heading(result: Result) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in result.versions.items())
    return f"{_machine_line(result)}, {result.date}\n{versions}"


def _machine_line(result: Result) -> str:
    machine = result.machine
    memory = f", {machine.memory_gib} GiB" if machine.memory_gib else ""
    return f"{machine.processor}, {machine.cores} cores{memory}, {result.threads} threads, Python {machine.python}"


def _labels(row: Row, table: str) -> list[str]:
    labels = [row.network, f"{row.size[0]}×{row.size[1]}"]
    return labels if table in ("latency", "memory") else [*labels, row.what]


def _values(row: Row, names: Sequence[str]) -> list[str]:
    return [_format_number(_shown_value(row, name)) if name in row.runs else MISSING for name in names]


def _shown_value(row: Row, name: str) -> float:
    median = spread_of(row.runs[name]).median
    return 1000 / max(median, 1e-9) if row.table in RATES else median


def _ratios(row: Row, names: Sequence[str]) -> Iterator[str]:
    for name in names:
        ratio = ratio_of(row, name)
        if ratio is None:
            yield MISSING
        elif ratio.low == ratio.high:
            yield f"{ratio.median:.1f}×"
        else:
            yield f"{ratio.median:.1f}× ({ratio.low:.1f} to {ratio.high:.1f})"


def _notes(rows: Sequence[Row]) -> Iterator[str]:
    rounds = sorted({len(values) for row in rows for values in row.runs.values()})
    if rounds[-1] > 1:
        count = f"{rounds[0]}" if len(rounds) == 1 else f"{rounds[0]} to {rounds[-1]}"
        in_turn = "one number of workers after the other" if rows[0].table == "loading" else "in turn"
        yield f"  {count} rounds {in_turn}; in brackets the quartiles of the rounds' own ratios."
    for row in rows:
        if row.agreement is None:
            continue
        warning = "" if row.agreement >= AGREEMENT_WANTED else f"   BELOW {AGREEMENT_WANTED:.1%}"
        yield (
            f"  {row.network} {row.size[0]}×{row.size[1]}: the label maps agree on {row.agreement:.4%} of the pixels"
            f" ({row.classes} classes, boundaries at {row.boundary_share:.0%} of the grid){warning}"
        )


def _change_cells(change: Change) -> list[str]:
    row = change.row
    unit = "×" if change.unit == "×" else f" {change.unit}"
    return [
        row.network,
        f"{row.size[0]}×{row.size[1]}",
        f"{row.table}: {row.what}",
        f"{_format_number(change.before)}{unit}",
        f"{_format_number(change.after)}{unit}",
        f"{change.worse:+.0%}",
        f"±{change.noise:.0%}",
        {"worse": "WORSE", "better": "better", "same": ""}[change.verdict],
    ]


def _format_number(value: float) -> str:
    """Three significant digits, thousands in full."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def _pad(cell: str, width: int, to_the_left: bool) -> str:
    return cell.ljust(width) if to_the_left else cell.rjust(width)
