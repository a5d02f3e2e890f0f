"""Scores as other implementations write them: mmsegmentation's tables, Segmenter's YAML."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence

from segpipe.text import printable_line

from .scores import Scores


def mmseg_tables(scores: Scores) -> str:
    """Return mmsegmentation's two ASCII tables, IoU and accuracy of each class and the means, in percent."""
    rows = [[printable_line(name), _percent(scores.iou[name]), _percent(scores.accuracy[name])] for name in scores.iou]
    means = [_percent(value) for value in (scores.pixel_accuracy, scores.miou, scores.mean_accuracy)]
    classes, summary = _boxed([["Class", "IoU", "Acc"], *rows]), _boxed([["aAcc", "mIoU", "mAcc"], means])
    return f"per class results:\n\n{classes}\nSummary:\n\n{summary}"


def segmenter_yaml(scores: Scores) -> str:
    """Return Segmenter's `scores_ss.yml` and `scores_ms.yml`: means in percent, and the IoU of each class by name.

    NaN is `.nan`, as YAML writes it.
    """
    lines = [
        f"pixel_accuracy: {_yaml_number(scores.pixel_accuracy)}",
        f"mean_accuracy: {_yaml_number(scores.mean_accuracy)}",
        f"mean_iou: {_yaml_number(scores.miou)}",
        "cat_iou:",
        # A text in JSON's quotes is one in YAML's too.
        *(f"  {json.dumps(name, ensure_ascii=False)}: {_yaml_number(value)}" for name, value in scores.iou.items()),
    ]
    return "\n".join(lines)


REPORTS: dict[str, Callable[[Scores], str]] = {"mmseg": mmseg_tables, "yml": segmenter_yaml}
"""Other implementations' forms of scores, by the names that people ask for them."""


def _percent(value: float) -> str:
    return "nan" if math.isnan(value) else f"{100 * value:.2f}"


def _yaml_number(value: float) -> str:
    return ".nan" if math.isnan(value) else f"{100 * value:.2f}"


def _boxed(rows: Sequence[Sequence[str]]) -> str:
    """Return cells in the middle of their columns, with lines around; the first row is the header."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    line = "+".join(["", *("-" * (width + 2) for width in widths), ""])
    texts = [
        "|".join(["", *(f" {cell:^{width}} " for cell, width in zip(row, widths, strict=True)), ""]) for row in rows
    ]
    return "\n".join([line, texts[0], line, *texts[1:], line])
