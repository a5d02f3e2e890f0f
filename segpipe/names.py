"""Words that segpipe knows: tasks, the nearest name to a misspelt one, lists for messages."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class Tasks:
    """Task names, as ModelScope spells them."""

    image_segmentation = "image-segmentation"
    image_classification = "image-classification"


def nearest_name(name: str, known: Iterable[str]) -> str | None:
    """The known name closest to a misspelt one, or None when nothing is close."""
    matches = difflib.get_close_matches(name.lower(), list(known), n=1, cutoff=0.6)
    return matches[0] if matches else None


def unknown_name_message(kind: str, name: object, known: Iterable[str]) -> str:
    """One sentence for a name that does not exist: the nearest one, then all of them."""
    names = sorted(known)
    nearest = nearest_name(str(name), names)
    hint = f" Did you mean {nearest!r}?" if nearest else ""
    listing = ", ".join(names) if names else "none"
    return f"There is no {kind} {name!r}.{hint} Known: {listing}."


def printable(text: str) -> str:
    """Return text for a terminal: control characters and invalid Unicode as escapes, line breaks and tabs as they are.

    A file name or a class name may hold escape sequences, with which a terminal can be made to do nearly anything.
    """
    if text.isprintable():
        return text
    return "".join(letter if letter.isprintable() or letter in "\n\t" else _escaped(letter) for letter in text)


def _escaped(letter: str) -> str:
    code = ord(letter)
    if letter.isspace() and code >= 0xA0:  # a no-break or an ideographic space
        return letter
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
