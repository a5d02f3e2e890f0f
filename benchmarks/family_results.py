"""What training the families found: the figures of each, the JSON file that keeps them, and tables of them."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from .formatting import align
from .results import Machine


class Score(msgspec.Struct, frozen=True, kw_only=True):
    """Scores on the evaluation data, as shares of 1."""

    miou: float
    pixel_accuracy: float
    iou: dict[str, float | None]
    """By class; null where neither labels nor predictions have it."""


class FamilyRow(msgspec.Struct, frozen=True, kw_only=True):
    """One family's run."""

    family: str
    preset: str
    changed: dict[str, tuple[Any, Any]]
    """By key of the configuration, what the preset says and what the run had."""
    boundary_maps: int
    """Pictures with generated boundary maps, which the loss read; 0: its loss needs none."""
    parameters: int
    steps: int
    batch: int
    crop: tuple[int, int]
    """(height, width)."""
    loss_first_tenth: float
    """Mean over the first tenth of the steps."""
    loss_last_tenth: float
    losses: tuple[float, ...]
    """Means over equal parts of the run, up to twenty."""
    pictures_per_second: float
    """Between the first step and the last, loading and checkpoints included."""
    before: Score
    after: Score

    @property
    def has_learnt(self) -> bool:
        """Whether the loss went down."""
        return self.loss_last_tenth < self.loss_first_tenth


class FamiliesResult(msgspec.Struct, frozen=True, kw_only=True):
    """A whole run."""

    date: str
    machine: Machine
    versions: dict[str, str]
    threads: int
    rows: tuple[FamilyRow, ...]
    format_version: int = 1


def write_families(result: FamiliesResult, path: Path) -> None:
    """Write a run; values keep four significant digits."""
    text = msgspec.json.format(json.dumps(_rounded(msgspec.to_builtins(result)), ensure_ascii=False), indent=1)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text + "\n", encoding="utf-8")


def render_families(result: FamiliesResult) -> str:
    """One table, and under it what was changed in each preset."""
    header = ["family", "parameters", "crop", "batch", "steps", "loss", "mIoU %", "pixel accuracy %", "pictures/s"]
    lines = align([header, *(_cells(row) for row in result.rows)], left=1)
    heading = f"Families on CamVid, from scratch: {result.machine.processor}, threads: {result.threads}, {result.date}"
    notes = "  loss: mean of the first tenth of the steps → of the last; scores on val: before → after"
    return "\n".join([heading, *lines, notes, *(note for row in result.rows for note in _notes(row))])


def _cells(row: FamilyRow) -> list[str]:
    return [
        row.family,
        f"{row.parameters / 1e6:.2f} M",
        f"{row.crop[0]}×{row.crop[1]}",
        str(row.batch),
        str(row.steps),
        f"{row.loss_first_tenth:.3f} → {row.loss_last_tenth:.3f}",
        f"{100 * row.before.miou:.2f} → {100 * row.after.miou:.2f}",
        f"{100 * row.before.pixel_accuracy:.2f} → {100 * row.after.pixel_accuracy:.2f}",
        f"{row.pictures_per_second:.2f}",
    ]


def _notes(row: FamilyRow) -> Iterator[str]:
    yield ""
    yield f"{row.family}: {row.preset}, changed:"
    for key, (before, after) in row.changed.items():
        yield f"  {key}: {json.dumps(before)} → {json.dumps(after)}"
    if row.boundary_maps:
        yield f"  The loss read boundary maps of {row.boundary_maps} pictures, made as segpipe data prepare makes them."
    if not row.has_learnt:
        yield "  THE LOSS DID NOT GO DOWN"


def _rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _rounded(member) for key, member in value.items()}
    if isinstance(value, list | tuple):
        return [_rounded(member) for member in value]
    if isinstance(value, float):
        return float(f"{value:.4g}") if math.isfinite(value) else None
    return value
