"""Tables that are pleasant to read, of a run and of its comparison with an earlier one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from .comparison import Change, Result
from .formatting import align, format_number, format_ratio
from .notes import RIVALS_ON_GRAPH, notes_of
from .results import OURS, Row, inverse_of, ratio_of, spread_of

MISSING = "–"
TITLES = {
    "latency": "Latency: one decoded picture in, label map out. Milliseconds, median of the rounds",
    "runtimes": "Runtimes: one decoded picture in, label map out. Milliseconds, median of the rounds",
    "throughput": "Throughput: a list of decoded pictures. Milliseconds per picture, median of the rounds",
    "parts": "Part by part: milliseconds, median of the rounds",
    "label map": "Label map alone, from logits on the network's grid. Milliseconds per picture, median of the rounds",
    "memory": "Memory: peak of one call beyond the loaded, warm library. MiB",
    "stream": "Stream: JPEG files in, label maps out, beside the network alone. Milliseconds per picture",
    "growth": "Growth of the whole call. Milliseconds of all pictures of a call, median of the rounds",
    "rate": "The network alone beside products of large matrices with as many multiply-adds. Milliseconds",
    "mmsegmentation": "mmsegmentation: one decoded picture in, label map out. Milliseconds, median of the rounds",
    "training": "Training: one step on a fixed batch. Pictures a second, median of the rounds",
    "training memory": "Training memory: peak of one step beyond weights, gradients and the optimiser's state. MiB",
    "loading": "Data loading alone: the ADE20K recipe's transforms. Pictures a second, median of the rounds",
}
CONTESTANTS = {
    "latency": ("segpipe", "segpipe with masks", "transformers", "transformers lean"),
    "runtimes": ("segpipe", "transformers", *RIVALS_ON_GRAPH),
    "throughput": ("segpipe", "transformers"),
    "parts": ("segpipe", "transformers"),
    "label map": ("segpipe", "dense torch", "dense channels-last", "dense OpenCV"),
    "memory": ("segpipe", "transformers", "transformers lean"),
    "stream": ("segpipe", "network"),
    "growth": ("segpipe", "transformers", "transformers lean"),
    "rate": ("segpipe", "matrix product"),
    "mmsegmentation": ("segpipe", "mmsegmentation"),
    "training": ("segpipe", "transformers"),
    "training memory": ("segpipe", "transformers"),
    "loading": ("segpipe", "training step"),
}
RATES = ("training", "loading")
"""Tables that show pictures a second; their rows hold milliseconds per picture like all others."""
WITHOUT_WHAT = ("latency", "memory", "mmsegmentation")
"""Tables whose rows all say the same."""
OURS_ALONE = ("runtimes",)
"""Tables in which the others' values stand in the notes, since all rows share them."""


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
    shown = [OURS] if table in OURS_ALONE else names
    header = ["network", "picture", *([] if table in WITHOUT_WHAT else ["what"]), *shown]
    header += [_ratio_heading(rows[0], name) for name in ratios]
    cells = [[*_labels(row, table), *_values(row, shown), *_ratios(row, ratios)] for row in rows]
    numeric = len(shown) + len(ratios)
    lines = [TITLES[table], *align([header, *cells], left=len(header) - numeric), *notes_of(rows)]
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
    notes = [
        "× says how many times faster segpipe is than what stands beside it in its table; the change is ours, positive "
        "when it got worse."
    ]
    if recorded.machine != fresh.machine or recorded.threads != fresh.threads:
        notes.append(f"Recorded on {_machine_line(recorded)}.")
    differing = [name for name in recorded.versions if fresh.versions.get(name) != recorded.versions[name]]
    notes += [
        f"Recorded with {name} {recorded.versions[name]}, now {fresh.versions.get(name, 'none')}." for name in differing
    ]
    return "\n".join([f"Beside the run of {recorded.date}", *align(rows, left=3), *notes, verdict])


def disagreements(rows: Sequence[Row]) -> list[Row]:
    """The rows whose label maps agree on less than they should."""
    return [row for row in rows if row.agreement is not None and row.agreement < row.agreement_wanted]


def _render_heading(result: Result) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in result.versions.items())
    return f"{_machine_line(result)}, {result.date}\n{versions}"


def _machine_line(result: Result) -> str:
    machine = result.machine
    memory = f", {machine.memory_gib} GiB" if machine.memory_gib else ""
    return f"{machine.processor}, {machine.cores} cores{memory}, {result.threads} threads, Python {machine.python}"


def _labels(row: Row, table: str) -> list[str]:
    labels = [row.network, f"{row.size[0]}×{row.size[1]}"]
    return labels if table in WITHOUT_WHAT else [*labels, row.what]


def _values(row: Row, names: Sequence[str]) -> list[str]:
    return [format_number(_shown_value(row, name)) if name in row.runs else MISSING for name in names]


def _shown_value(row: Row, name: str) -> float:
    median = spread_of(row.runs[name]).median
    return 1000 / max(median, 1e-9) if row.table in RATES else median


def _ratio_heading(row: Row, name: str) -> str:
    if row.table == "stream":
        return "cost over the network's"
    if row.table == "rate":
        return "share of the rate"
    return f"{'less' if row.unit == 'MiB' else 'faster'} than {name}"


def _ratios(row: Row, names: Sequence[str]) -> Iterator[str]:
    for name in names:
        ratio = ratio_of(row, name)
        if ratio is None:
            yield MISSING
        elif row.table == "stream":
            yield format_ratio(inverse_of(ratio), "{:.2f}")
        elif row.table == "rate":
            yield format_ratio(ratio, "{:.0%}", "")
        else:
            yield format_ratio(ratio)


def _change_cells(change: Change) -> list[str]:
    row = change.row
    unit = "×" if change.unit == "×" else f" {change.unit}"
    return [
        row.network,
        f"{row.size[0]}×{row.size[1]}",
        f"{row.table}: {row.what}",
        f"{format_number(change.before)}{unit}",
        f"{format_number(change.after)}{unit}",
        f"{change.worse:+.0%}",
        f"±{change.noise:.0%}",
        {"worse": "WORSE", "better": "better", "same": ""}[change.verdict],
    ]
