"""`results.csv`: the files and classes of each image, or why it has none."""

from __future__ import annotations

import csv
import errno
import json
import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import partial
from io import StringIO, TextIOWrapper
from pathlib import Path
from types import TracebackType

from segpipe.atomic import write_atomically, write_unless_there
from segpipe.errors import InputError
from segpipe.files import open_regular
from segpipe.text import printable_json, printable_line

NAME = "results.csv"
ENDINGS = {"overlay": "-overlay.png", "label_map": "-label-map.png"}
"""The columns that name files → how these names end."""
COLUMNS = ("source", *ENDINGS, "height", "width", "shares", "error")
_FORMULA_SIGNS = ("=", "+", "-", "@", "＝", "＋", "－", "＠")


class ResultsIndex:
    """The index of an output folder, a row for each image, written as the images come.

    Each row is written at once and before the next image is taken, so that an end at any time loses none, and several
    commands may write into one folder. An index that is there already keeps its rows about other images, and of the
    same images the files that are not written anew.

    Args:
        folder: the output folder; it is made.
        sources: the images to come, as their rows will name them.

    Raises:
        InputError: it cannot be written, or another file has its name.
    """

    def __init__(self, folder: Path, sources: Collection[str]) -> None:
        self.path = folder / NAME
        self._earlier: dict[str, Sequence[str]] = {}
        if os.path.lexists(folder) and not os.path.isdir(folder):
            message = f"--output {folder} is not a folder; one is needed for the results. Give another name."
            raise InputError(message, path=folder)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._begin({_cell(source) for source in sources})
            self._file = open(self.path, "ab", buffering=0)  # noqa: SIM115
        except OSError as error:
            raise unwritable(self.path, error) from None

    def add(
        self,
        source: str,
        *,
        files: Mapping[str, str] | None = None,
        size: tuple[int, int] | None = None,
        shares: Mapping[str, float] | None = None,
        error: str = "",
    ) -> None:
        """Write the row of one image.

        Args:
            source: what it is called.
            files: what was written, by the names of the columns; the row has their names, since they lie beside it.
            size: (height, width).
            shares: of the classes; the row has them as JSON, the largest first.
            error: why there are no files.
        """
        names = [os.path.basename((files or {}).get(column, "")) for column in ENDINGS]
        if files is not None:
            earlier = self._earlier.get(_cell(source), names)
            names = [new or old for new, old in zip(names, earlier, strict=True)]
        sides = [str(side) for side in size or ("", "")]
        row = [source, *names, *sides, "" if shares is None else _format_shares(shares), error]
        try:
            line = _line([_cell(text) for text in row])
            if self._file.write(line) < len(line):  # the last bytes of a disk
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError as reason:
            raise unwritable(self.path, reason) from None

    def __enter__(self) -> ResultsIndex:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._file.close()
        except OSError as reason:
            raise unwritable(self.path, reason) from None

    def _begin(self, replaced: Collection[str]) -> None:
        """Let the file have a header, whole rows, and none about the images to come."""
        rows = list(_read_rows(self.path))
        kept = [row for row in rows[1:] if row[0] not in replaced]
        self._earlier = {row[0]: self._present(row) for row in rows[1:] if row[0] in replaced}
        if rows and len(kept) == len(rows) - 1 and _ends_in_a_row(self.path):
            return  # the rows of other images stay
        # A new one never takes the place of that of another command, which has the same header.
        write = partial(write_atomically, sync=False) if rows else write_unless_there
        write(self.path, b"".join(map(_line, [COLUMNS, *kept])))

    def _present(self, row: Sequence[str]) -> list[str]:
        """Return the names of a row's files, "" for those that are gone."""
        names = [os.path.basename(name) for name in row[1 : 1 + len(ENDINGS)]]
        return [name if name and os.path.isfile(self.path.parent / name) else "" for name in names]


def names_taken(folder: Path, sources: Collection[str]) -> set[str]:
    """Return the beginnings of the names of other images' outputs, by the index of a folder.

    Args:
        folder: the output folder; it need not be there.
        sources: the images to come, as their rows will name them.

    Raises:
        InputError: another file has the index's name.
    """
    coming = {_cell(source) for source in sources}
    others = (row for row in _read_rows(folder / NAME) if row[0] not in coming)
    files = ((name, ending) for row in others for name, ending in zip(row[1:], ENDINGS.values(), strict=False))
    return {name.removesuffix(ending) for name, ending in files if name.endswith(ending)}


def unwritable(path: str | Path, error: OSError) -> InputError:
    """Return the error about a file of the output folder that the disk refuses."""
    reason = error.strerror or str(error)
    message = f"{path} cannot be written: {reason}. Free some space there, or choose another --output."
    return InputError(message, path=path)


def _format_shares(shares: Mapping[str, float]) -> str:
    ordered = sorted(shares.items(), key=lambda item: -item[1])
    return printable_json(json.dumps({name: round(share, 4) for name, share in ordered}, ensure_ascii=False))


def _read_rows(path: Path) -> Iterator[Sequence[str]]:
    """Yield the header and the rows of an index that is there, without one that a kill cut off."""
    if not os.path.lexists(path):
        return
    foreign = InputError(
        f"{path} is there and is not an index of segpipe predict, which would take its place. Rename it, or choose "
        "another --output.",
        path=path,
    )
    with TextIOWrapper(open_regular(path, error=InputError), encoding="utf-8", newline="") as file:
        rows = csv.reader(file)
        try:
            if tuple(next(rows, ())) != COLUMNS:
                raise foreign
            yield COLUMNS
            yield from (row for row in rows if len(row) == len(COLUMNS))
        except (csv.Error, UnicodeDecodeError):
            raise foreign from None


def _ends_in_a_row(path: Path) -> bool:
    with open_regular(path, error=InputError) as file:
        file.seek(-1, os.SEEK_END)
        return file.read() == b"\n"


def _line(cells: Sequence[str]) -> bytes:
    text = StringIO(newline="")
    csv.writer(text, lineterminator="\n").writerow(cells)
    return text.getvalue().encode()


def _cell(text: str) -> str:
    """Return text for a cell: on one line, in valid Unicode, and never what a spreadsheet takes for a formula."""
    line = printable_line(text)
    return f"'{line}" if line.startswith(_FORMULA_SIGNS) else line
