"""The summary of many segmentations: classes over all images, skipped images, speed."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

from segpipe.drawing import format_share
from segpipe.errors import SegpipeError
from segpipe.text import format_count, format_seconds, format_table, printable_line

from ..stream import Failure
from .output_folder import Written

_LISTED = 20


@dataclass
class ClassTotal:
    """One class over all images."""

    pixels: int = 0
    images: int = 0
    score: float = 0.0
    """Sum of score × pixels."""


class Summary:
    """Collects the results of many images; as a text, it is a few lines and tables for a terminal.

    Args:
        model: its name.
        device: where it runs.
    """

    def __init__(self, model: str, device: str) -> None:
        self.model = model
        self.device = device
        self.seconds = 0.0
        """From the beginning to the last result."""
        self.num_images = 0
        self.skipped: list[tuple[str, str]] = []
        self.index: str | None = None
        """The path of the file that lists the others, if there is one."""
        self.stopped_at: tuple[str, str] | None = None
        """Source and reason of the image at which the work ended early."""
        self._start = perf_counter()
        self._pixels = 0
        self._classes: dict[str, ClassTotal] = {}
        self._images: list[dict[str, Any]] = []

    def add(self, written: Written) -> None:
        """Count one result and remember where its files are."""
        result = written.result
        self.num_images += 1
        self._pixels += result.label_map.size
        for name, area, score in zip(result.labels, result.areas, result.scores, strict=True):
            total = self._classes.setdefault(name, ClassTotal())
            total.pixels += area
            total.images += 1
            total.score += score * area
        self._images.append(
            {"source": result.source, "size": list(result.size), "shares": result.shares, "files": written.files}
        )
        self.seconds = perf_counter() - self._start

    def skip(self, failure: Failure) -> None:
        """Remember an image that is left out, and why."""
        self.skipped.append((failure.source, str(failure.error)))

    def stop(self, failure: Failure) -> SegpipeError:
        """Remember the image at which the work ends early, and return the error."""
        self.stopped_at = failure.source, str(failure.error)
        return failure.error

    @property
    def num_done(self) -> int:
        """The number of images that were segmented or skipped."""
        return self.num_images + len(self.skipped)

    @property
    def rate(self) -> float:
        """Images per second; not a number if nothing was done."""
        return self.num_images / self.seconds if self.seconds else math.nan

    def __str__(self) -> str:
        parts = [self._headline()]
        if self._classes:
            parts.append(self._table())
        if self.skipped:
            parts.append(f"Skipped: {len(self.skipped)}\n{self._reasons()}")
        folders = sorted({str(Path(path).parent) for image in self._images for path in image["files"].values()})
        if folders:
            listed = f", listed in {self.index}" if self.index else ""
            count = sum(len(image["files"]) for image in self._images)
            parts.append(f"Written: {format_count(count, 'file')} in {', '.join(folders)}{listed}")
        return "\n\n".join(parts)

    def to_dict(self) -> dict[str, Any]:
        """Return what JSON can hold: the text's figures, and each image."""
        classes = [
            {
                "label": name,
                "share": total.pixels / self._pixels,
                "pictures": total.images,
                "score": total.score / total.pixels,
            }
            for name, total in self._by_share()
        ]
        return {
            "model": self.model,
            "device": self.device,
            "seconds": self.seconds,
            "pictures_per_second": self.rate,
            "classes": classes,
            "pictures": self._images,
            "index": self.index,
            "skipped": [_failure_document(failure) for failure in self.skipped],
            "stopped_at": _failure_document(self.stopped_at) if self.stopped_at else None,
        }

    def _headline(self) -> str:
        count = format_count(self.num_images, "image")
        speed = f" in {format_seconds(self.seconds)}, {self.rate:.1f} per second" if self.num_images else ""
        return f"{count}{speed}, with {self.model} on {self.device}"

    def _reasons(self) -> str:
        lines = [printable_line(reason) for _, reason in self.skipped[:_LISTED]]
        rest = len(self.skipped) - len(lines)
        return "\n".join(f"  {line}" for line in [*lines, *([f"and {rest} more"] if rest else [])])

    def _table(self) -> str:
        rows = self._by_share()
        cells = [
            (name, format_share(total.pixels / self._pixels), str(total.images), f"{total.score / total.pixels:.3f}")
            for name, total in rows[:_LISTED]
        ]
        if len(rows) > _LISTED:
            rest = sum(total.pixels for _, total in rows[_LISTED:])
            cells.append((f"and {len(rows) - _LISTED} more", format_share(rest / self._pixels), "", ""))
        return format_table([("class", "share", "images", "score"), *cells], ("left", "right", "right", "right"))

    def _by_share(self) -> list[tuple[str, ClassTotal]]:
        return sorted(self._classes.items(), key=lambda item: -item[1].pixels)


def _failure_document(failure: tuple[str, str]) -> dict[str, str]:
    return {"source": failure[0], "reason": failure[1]}
