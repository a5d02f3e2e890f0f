"""`results.csv`: which image gave which files, with which classes, or why it gave none."""

from __future__ import annotations

import csv
import json
import os
import uuid
from collections.abc import Collection, Iterator, Mapping, Sequence
from io import TextIOWrapper
from pathlib import Path
from types import TracebackType

from segpipe.errors import InputError
from segpipe.files import open_regular
from segpipe.names import printable_line

from .printing import printable_json

NAME = "results.csv"
COLUMNS = ("source", "overlay", "label_map", "height", "width", "shares", "error")
_FORMULA_SIGNS = ("=", "+", "-", "@", "＝", "＋", "－", "＠")


class ResultsIndex:
    """The index of an output folder, a row for each image, written as the images come.

    Each row is on its way to the disk before the next image is taken, so that an end at any time loses none. An index
    that is there already keeps its rows about other images.

    Args:
        folder: the output folder; it is made.
        sources: the images to come, as their rows will name them.

    Raises:
        InputError: it cannot be written, or another file has its name.
    """

    def __init__(self, folder: Path, sources: Collection[str]) -> None:
        self.path = folder / NAME
        replaced = {_cell(source) for source in sources}
        partial = folder / f".{uuid.uuid4().hex}.part"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with open(partial, "x", encoding="utf-8", newline="") as file:
                rows = csv.writer(file, lineterminator="\n")
                rows.writerow(COLUMNS)
                rows.writerows(row for row in _read_rows(self.path) if row[0] not in replaced)
            os.replace(partial, self.path)
            self._file = open(self.path, "a", encoding="utf-8", newline="")  # noqa: SIM115
        except OSError as error:
            raise self._unwritable(error) from None
        finally:
            partial.unlink(missing_ok=True)
        self._rows = csv.writer(self._file, lineterminator="\n")

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
        names = [os.path.basename((files or {}).get(column, "")) for column in ("overlay", "label_map")]
        sides = [str(side) for side in size or ("", "")]
        row = [source, *names, *sides, "" if shares is None else _format_shares(shares), error]
        try:
            self._rows.writerow([_cell(text) for text in row])

            self._file.flush()
        except OSError as reason:
            raise self._unwritable(reason) from None

    def __enter__(self) -> ResultsIndex:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._file.close()
        except OSError as reason:
            raise self._unwritable(reason) from None

    def _unwritable(self, error: OSError) -> InputError:
        reason = error.strerror or str(error)
        return InputError(
            f"{self.path} cannot be written: {reason}. Free some space there, or choose another --output."
        )


def _format_shares(shares: Mapping[str, float]) -> str:
    ordered = sorted(shares.items(), key=lambda item: -item[1])
    return printable_json(json.dumps({name: round(share, 4) for name, share in ordered}, ensure_ascii=False))


def _read_rows(path: Path) -> Iterator[Sequence[str]]:
    """Yield the rows of an index that is there, without one that a kill cut off."""
    if not os.path.lexists(path):
        return
    foreign = InputError(
        f"{path} is there and is not an index of segpipe predict, which would take its place. Rename it, or choose "
        "another --output."
    )
    with TextIOWrapper(open_regular(path, error=InputError), encoding="utf-8", newline="") as file:
        rows = csv.reader(file)
        try:
            if tuple(next(rows, ())) != COLUMNS:
                raise foreign
            yield from (row for row in rows if len(row) == len(COLUMNS))
        except (csv.Error, UnicodeDecodeError):
            raise foreign from None


def _cell(text: str) -> str:
    """Return text for a cell: on one line, in valid Unicode, and never what a spreadsheet takes for a formula."""
    line = printable_line(text)
    return f"'{line}" if line.startswith(_FORMULA_SIGNS) else line
