"""What scores are called for people, and which of them stands for a whole evaluation."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

TITLES = {
    "miou": "mIoU",
    "acc1": "Acc@1",
    "acc5": "Acc@5",
    "pixel_accuracy": "pixel accuracy",
    "mean_accuracy": "mean accuracy",
}
_MAIN = ("miou", "acc1")


def main_score(lines: Iterable[Mapping[str, Any]]) -> str:
    """The key of the score that the evaluations of a run's log are about; mIoU where there are none."""
    keys = {key for line in lines if line.get("event") == "evaluation" for key in line}
    return next((key for key in _MAIN if key in keys), _MAIN[0])
