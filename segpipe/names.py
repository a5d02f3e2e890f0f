"""Words that segpipe knows: tasks, the nearest name to a misspelt one, lists for messages."""

from __future__ import annotations

import difflib
import html
import re
import unicodedata
from collections.abc import Iterable, Sequence


class Tasks:
    """Task names, as ModelScope spells them."""

    image_segmentation = "image-segmentation"
    image_classification = "image-classification"


FEW = 20
"""Names that a message lists; of more it shows the nearest."""
PIPELINE_ALIASES = {
    "easycv-segmentation": Tasks.image_segmentation,
    "EasyCVSegmentationPipeline": Tasks.image_segmentation,
}
"""What other systems call our pipelines in `pipeline.type` of a configuration."""


def nearest_name(name: str, known: Iterable[str]) -> str | None:
    """The known name closest to a misspelt one, or None when nothing is close."""
    return next(iter(nearest_names(name, known)), None)


def nearest_names(name: str, known: Iterable[str], most: int = 3) -> list[str]:
    """The known names that are close to a misspelt one, the closest first, without those that are far behind it."""
    folded = name.lower().replace("_", "-")
    names = {each.lower().replace("_", "-"): each for each in known}
    matches = difflib.get_close_matches(folded, list(names), n=most, cutoff=0.6)
    ratios = {match: difflib.SequenceMatcher(None, match, folded).ratio() for match in matches}
    return [names[match] for match in matches if ratios[match] > ratios[matches[0]] - 0.1]


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """A question that offers up to three names, after a blank, to follow a sentence. Empty if none is close."""
    near = [repr(each) for each in nearest_names(name, known)]
    return f" Did you mean {' or '.join([', '.join(near[:-1]), near[-1]] if near[1:] else near)}?" if near else ""


def unknown_name_message(kind: str, name: object, known: Iterable[str], *, listed_by: str = "") -> str:
    """One sentence for a name that does not exist: up to three that are close, and the others where they are few.

    Args:
        kind: what the name would be.
        name: the misspelt one.
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


_MARKDOWN = re.compile(r"[\\`*_\[\]|~&$]|^[#>+\-=]")
"""What has a meaning in Markdown anywhere, or as the first character of a line."""


def printable(text: str) -> str:
    """Return text for a terminal: control characters and invalid Unicode as escapes, line breaks and tabs as they are.

    A file name or a class name may hold escape sequences, with which a terminal can be made to do nearly anything.
    """
    if text.isprintable():
        return text
    return "".join(letter if letter.isprintable() or letter in "\n\t" else _escaped(letter) for letter in text)


def printable_line(text: str) -> str:
    """Return text for a table or a list: like `printable`, with line breaks and tabs as escapes, too."""
    return printable(text).replace("\n", "\\n").replace("\t", "\\t")


def columns_of(text: str) -> int:
    """Return how many columns a terminal gives a text: East Asian letters take two, combining marks none."""
    return sum(
        0 if unicodedata.combining(letter) else 2 if unicodedata.east_asian_width(letter) in "WF" else 1
        for letter in text
    )


def markdown_text(text: str) -> str:
    """Return text for one paragraph or one table cell of a Markdown file, where it is shown as it is.

    It cannot hold a link, an image, HTML, emphasis or code, nor end its line.
    """
    return _MARKDOWN.sub(r"\\\g<0>", " ".join(printable(text).split())).replace("<", "&lt;")


def html_text(text: str) -> str:
    """Return text for an HTML element or a quoted attribute, where it is shown as it is."""
    return html.escape(printable(text))


def html_table(rows: Sequence[Sequence[str]]) -> str:
    """Return an HTML table of texts, its first row the header, all columns but the first aligned to the right."""
    lines = []
    for number, row in enumerate(rows):
        tag = "td" if number else "th"
        cells = (
            f"<{tag} style='text-align:{'right' if column else 'left'}'>{html_text(cell)}</{tag}>"
            for column, cell in enumerate(row)
        )
        lines.append(f"<tr>{''.join(cells)}</tr>")
    return f"<table>{''.join(lines)}</table>"


def markdown_code(text: str) -> str:
    """Return text as a code span of a Markdown file, whose fence is longer than any in the text."""
    line = printable_line(text)
    fence = "`" * (1 + max(map(len, re.findall("`+", line)), default=0))
    return f"{fence} {line} {fence}" if "`" in line else f"`{line}`"


def _escaped(letter: str) -> str:
    code = ord(letter)
    if letter.isspace() and code >= 0xA0:  # a no-break or an ideographic space
        return letter
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
