"""A fresh run beside a recorded one: what got slower by more than the noise of the two."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from .results import OURS, Result, Row, Spread, ratio_of, spread_of

RIVALS = ("transformers", "mmsegmentation", "dense torch", "network", "matrix product")
"""What a time is set beside, the first that a row has: it changes with the machine and its load as ours does."""
MEMORY_NOISE = 0.2
"""Peaks of memory are taken once; this is how much they differ from process to process."""
LEAST_NOISE = 0.03
"""Smaller changes of a time are never reported."""


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """One measurement in both runs."""

    row: Row
    """Of the fresh run."""
    unit: str
    """× for how many times faster than what stands beside it, else the row's unit."""
    before: float
    after: float
    worse: float
    """By which share it got worse; negative when it got better."""
    noise: float
    """The spread of both runs, as a share."""

    @property
    def verdict(self) -> str:
        """worse, better or same."""
        if abs(self.worse) <= self.noise:
            return "same"
        return "worse" if self.worse > 0 else "better"


def compare_results(recorded: Result, fresh: Result) -> list[Change]:
    """What both runs measured, in the order of the fresh one.

    Times are compared by how many times faster they are than what stands beside them (`RIVALS`), which another or a
    busier machine changes little; memory, and what was measured alone, by its own value.
    """
    known = {row.key: row for row in recorded.rows}
    return [change for row in fresh.rows if row.key in known for change in _changes(known[row.key], row)]


def _changes(before: Row, after: Row) -> Iterator[Change]:
    rival = next((name for name in RIVALS if name in before.runs and name in after.runs), RIVALS[0])
    ratios = ratio_of(before, rival), ratio_of(after, rival)
    if after.unit == "ms" and ratios[0] is not None and ratios[1] is not None:
        yield _change(after, "×", (ratios[0], ratios[1]), ratios[0].median / ratios[1].median - 1)
        return
    if OURS in before.runs and OURS in after.runs:
        ours = spread_of(before.runs[OURS]), spread_of(after.runs[OURS])
        yield _change(after, after.unit, ours, ours[1].median / max(ours[0].median, 1e-9) - 1)


def _change(row: Row, unit: str, spreads: tuple[Spread, Spread], worse: float) -> Change:
    noise = max(LEAST_NOISE, spreads[0].relative + spreads[1].relative)
    return Change(
        row=row,
        unit=unit,
        before=spreads[0].median,
        after=spreads[1].median,
        worse=worse,
        noise=max(noise, MEMORY_NOISE) if row.unit == "MiB" else noise,
    )
