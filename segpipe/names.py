"""Words that segpipe knows: tasks, the nearest name to a misspelled one, lists for messages."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from typing import Final


class Tasks:
    """Task names, as ModelScope spells them."""

    image_segmentation: Final = "image-segmentation"
    image_classification: Final = "image-classification"


FEW = 20
"""Names that a message lists; of more it shows the nearest."""
PIPELINE_ALIASES = {
    "easycv-segmentation": Tasks.image_segmentation,
    "EasyCVSegmentationPipeline": Tasks.image_segmentation,
}
"""What other systems call our pipelines in `pipeline.type` of a configuration."""


def nearest_name(name: str, known: Iterable[str]) -> str | None:
    """Return the known name closest to a misspelled one, or None if nothing is close."""
    return next(iter(nearest_names(name, known)), None)


def nearest_names(name: str, known: Iterable[str]) -> list[str]:
    """Return up to three names that are close to a misspelled one, the closest first, none of them far behind it."""
    folded = name.lower().replace("_", "-")
    names = {each.lower().replace("_", "-"): each for each in known}
    matches = difflib.get_close_matches(folded, list(names), n=3, cutoff=0.6)
    ratios = {match: difflib.SequenceMatcher(None, match, folded).ratio() for match in matches}
    return [names[match] for match in matches if ratios[match] > ratios[matches[0]] - 0.1]


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return a question that offers up to three names, after a blank, to follow a sentence. Empty if none is close."""
    near = [repr(each) for each in nearest_names(name, known)]
    return f" Did you mean {' or '.join([', '.join(near[:-1]), near[-1]] if near[1:] else near)}?" if near else ""


def unknown_name_message(kind: str, name: object, known: Iterable[str], *, listed_by: str = "") -> str:
    """Return a sentence for a name that does not exist: up to three that are close, and the others where they are few.

    Args:
        kind: what the name would be.
        name: the misspelled one.
        known: all names.
        listed_by: the command or the attribute that has all of them, for a long list.
    """
    names = sorted(known)
    message = f"There is no {kind} {name!r}.{did_you_mean(str(name), names)}"
    if len(names) <= FEW:
        return f"{message} Known: {', '.join(names) if names else 'none'}."
    where = f"; {listed_by} lists them" if listed_by else f", such as {', '.join(names[:3])}"
    return f"{message} {len(names)} are known{where}."


def listing(names: Sequence[str], most: int = 5) -> str:
    """Return the first names, and how many there are besides, for a message."""
    more = f" and {len(names) - most:,} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
