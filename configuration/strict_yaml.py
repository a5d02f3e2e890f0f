"""The part of YAML that settings are written in: nested mappings, lists and scalars; nothing that makes objects."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

from segpipe.errors import ConfigurationError

MAX_BYTES = 2**20
MAX_DEPTH = 32
_KEY = re.compile(r"""("[^"\\]*"|'[^']*'|[^\s\-?:,\[\]{}#&*!|>'"%@`][^:#]*?|-[^\s:#][^:#]*?)\s*:(?:\s+(.*)|$)""")
_ITEM = re.compile(r"-(?:\s+(.*)|$)")
_MARK = re.compile(r"(!!python/tuple|!!seq|!!map|&\w+)(?:\s+|$)")
_WORDS = {"": None, "~": None, "null": None, "true": True, "yes": True, "on": True}
_WORDS |= {"false": False, "no": False, "off": False}
_INTEGER = re.compile(r"[-+]?(0|[1-9]\d{0,17})")
_FLOAT = re.compile(r"[-+]?(\d{1,40}\.\d{0,40}|\.\d{1,40}|\d{1,40}(?=[eE]))([eE][-+]?\d{1,3})?")


def read_yaml(path: Path) -> Any:
    """The value in a YAML file; ConfigurationError names the file and the line."""
    if not path.is_file():
        raise ConfigurationError(f"{path}: there is no such file; a YAML document is needed here. Check the path.")
    size = path.stat().st_size
    if size > MAX_BYTES:
        raise ConfigurationError(f"{path}: {size} bytes are too many; settings take at most {MAX_BYTES}. Shorten it.")
    try:
        return parse_yaml(path.read_text(encoding="utf-8"), origin=str(path))
    except UnicodeDecodeError as error:
        raise ConfigurationError(f"{path}: this is no UTF-8 text: {error}. Save it as UTF-8.") from error


def parse_yaml(text: str, *, origin: str) -> Any:
    """The value of a YAML text, of dicts, lists, texts, numbers, true, false and null.

    Tuples that Python wrote (`!!python/tuple`) are lists, aliases are what they stand for. Every other tag,
    a key that comes twice, text over several lines and several documents are refused.
    """
    lines = _Lines(origin)
    for number, line in enumerate(text.splitlines(), 1):
        bare = _without_comment(line).rstrip()
        if bare and not (bare == "---" and not lines.rows):
            lines.rows.append(_Row(number, len(bare) - len(bare.lstrip(" ")), bare.lstrip(" ")))
    value = _parse_block(lines, depth=0) if lines.rows else None
    if lines.row is not None:
        lines.refuse("this line belongs to nothing before it")
    return value


@dataclass(frozen=True)
class _Row:
    number: int
    indent: int
    text: str


@dataclass
class _Lines:
    """The lines that hold something, and how far they are read."""

    origin: str
    rows: list[_Row] = field(default_factory=list)
    position: int = 0
    anchors: dict[str, Any] = field(default_factory=dict)

    @property
    def row(self) -> _Row | None:
        return self.rows[self.position] if self.position < len(self.rows) else None

    def replace(self, indent: int, text: str) -> None:
        """What is left of the line at hand, as if it stood on a line of its own."""
        self.rows[self.position] = _Row(self.rows[self.position].number, indent, text)

    def refuse(self, problem: str) -> NoReturn:
        row = self.rows[min(self.position, len(self.rows) - 1)]
        shown = row.text if len(row.text) <= 60 else f"{row.text[:60]}…"
        raise ConfigurationError(
            f"{self.origin}: line {row.number}: {problem}: {shown!r}. segpipe reads mappings, lists and scalars of "
            "YAML, and runs nothing. Correct that line."
        )


def _parse_block(lines: _Lines, *, depth: int) -> Any:
    """A mapping, a list or a scalar that begins at the line at hand."""
    row = lines.row
    assert row is not None
    if depth > MAX_DEPTH:
        lines.refuse(f"this is more than {MAX_DEPTH} levels deep")
    if row.text.startswith("\t"):
        lines.refuse("a tab cannot indent")
    if _ITEM.fullmatch(row.text):
        return _parse_list(lines, row.indent, depth=depth)
    if _KEY.fullmatch(row.text):
        return _parse_mapping(lines, row.indent, depth=depth)
    lines.position += 1
    return _parse_inline(lines, row.text)


def _parse_mapping(lines: _Lines, indent: int, *, depth: int) -> dict[str, Any]:
    result: dict[str, Any] = {}
    while (row := lines.row) is not None and row.indent == indent and not _ITEM.fullmatch(row.text):
        found = _KEY.fullmatch(row.text)
        if not found:
            lines.refuse("a key and a colon are missing")
        key = str(_unquote(found[1]))
        if key in result:
            lines.refuse("this key comes twice")
        result[key] = _parse_value(lines, found[2] or "", indent, depth=depth)
    _check_end(lines, indent)
    return result


def _parse_list(lines: _Lines, indent: int, *, depth: int) -> list[Any]:
    result: list[Any] = []
    while (row := lines.row) is not None and row.indent == indent and (found := _ITEM.fullmatch(row.text)):
        rest = found[1] or ""
        if _ITEM.fullmatch(rest) or _KEY.fullmatch(rest):
            lines.replace(indent + len(row.text) - len(rest), rest)
            result.append(_parse_block(lines, depth=depth + 1))
        else:
            result.append(_parse_value(lines, rest, indent, depth=depth))
    _check_end(lines, indent)
    return result


def _check_end(lines: _Lines, indent: int) -> None:
    if lines.row is not None and lines.row.indent > indent:
        lines.refuse("this line is indented too far")


def _parse_value(lines: _Lines, text: str, indent: int, *, depth: int) -> Any:
    """What stands after a key or a dash: on the same line, or below it."""
    anchor = None
    while found := _MARK.match(text):
        anchor = found[1][1:] if found[1].startswith("&") else anchor
        text = text[found.end() :]
    if text:
        value = _parse_inline(lines, text, advance=True)
    else:
        lines.position += 1
        value = _parse_below(lines, indent, depth=depth)
    if anchor is not None:
        lines.anchors[anchor] = value
    return value


def _parse_below(lines: _Lines, indent: int, *, depth: int) -> Any:
    """The block under a key, None where there is none; a list may stand as far left as its key."""
    row = lines.row
    if row is None:
        return None
    is_list = row.indent == indent and _ITEM.fullmatch(row.text) and not _is_item_before(lines)
    return _parse_block(lines, depth=depth + 1) if row.indent > indent or is_list else None


def _is_item_before(lines: _Lines) -> bool:
    """Whether the line before is an empty item of a list, so that the next item is its neighbour."""
    return bool(_ITEM.fullmatch(lines.rows[lines.position - 1].text))


def _parse_inline(lines: _Lines, text: str, *, advance: bool = False) -> Any:
    """A scalar, an alias, or a collection in brackets, all on one line."""
    value, rest = _parse_flow(lines, text, depth=0)
    if rest.strip():
        lines.refuse("something follows the value")
    lines.position += advance
    return value


def _parse_flow(lines: _Lines, text: str, *, depth: int) -> tuple[Any, str]:
    """(value, what follows it); inside brackets a comma or a bracket ends a scalar."""
    text = text.lstrip()
    if depth > MAX_DEPTH:
        lines.refuse(f"this is more than {MAX_DEPTH} levels deep")
    if text[:1] == "[":
        return _parse_flow_list(lines, text[1:], depth=depth)
    if text[:1] == "{":
        return _parse_flow_mapping(lines, text[1:], depth=depth)
    if text[:1] in ("'", '"'):
        found = re.match(r"""'((?:[^']|'')*)'|"([^"\\]*)\"""", text)
        if not found:
            lines.refuse("a text in quotes does not end, or has escapes")
        return _unquote(found[0]), text[found.end() :]
    if text[:1] and text[0] in "!|>%@`&":
        lines.refuse("this kind of value is not read")
    end = re.search(r"[,\]}]", text) if depth else None
    word, rest = (text[: end.start()], text[end.start() :]) if end else (text, "")
    return _parse_scalar(lines, word.strip()), rest


def _parse_flow_list(lines: _Lines, text: str, *, depth: int) -> tuple[list[Any], str]:
    items: list[Any] = []
    while not text.lstrip().startswith("]"):
        value, text = _parse_flow(lines, text, depth=depth + 1)
        items.append(value)
        text = _after_comma(lines, text, "]")
    return items, text.lstrip()[1:]


def _parse_flow_mapping(lines: _Lines, text: str, *, depth: int) -> tuple[dict[str, Any], str]:
    members: dict[str, Any] = {}
    while not text.lstrip().startswith("}"):
        found = re.match(r"""\s*("[^"\\]*"|'[^']*'|[^\s,\[\]{}:'"!&*][^,\[\]{}:]*?)\s*:(?=[\s,}]|$)""", text)
        if not found or _unquote(found[1]) in members:
            lines.refuse("a key and a colon are missing, or a key comes twice")
        members[str(_unquote(found[1]))], text = _parse_flow(lines, text[found.end() :], depth=depth + 1)
        text = _after_comma(lines, text, "}")
    return members, text.lstrip()[1:]


def _after_comma(lines: _Lines, text: str, closing: str) -> str:
    text = text.lstrip()
    if text.startswith(","):
        return text[1:]
    if not text.startswith(closing):
        lines.refuse(f"a comma or {closing} is missing")
    return text


def _parse_scalar(lines: _Lines, text: str) -> Any:
    if text.startswith("*"):
        if text[1:] not in lines.anchors:
            lines.refuse("this alias stands for nothing")
        return lines.anchors[text[1:]]
    if text.lower() in _WORDS:
        return _WORDS[text.lower()]
    if _INTEGER.fullmatch(text):
        return int(text)
    if _FLOAT.fullmatch(text):
        return float(text)
    if re.search(r":(\s|$)", text):
        lines.refuse("a text with a colon needs quotes")
    return text


def _unquote(text: str) -> str:
    if text[:1] == "'":
        return text[1:-1].replace("''", "'")
    return text[1:-1] if text[:1] == '"' else text


def _without_comment(line: str) -> str:
    """The line up to a # that begins it or follows a blank, outside quotes."""
    for found in re.finditer(r"""'[^']*'|"[^"]*"|(?:^|(?<=\s))#""", line):
        if found[0] == "#":
            return line[: found.start()]
    return line
