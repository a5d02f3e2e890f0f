"""The files that `segpipe predict` writes for each image, and the index of them."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from segpipe.data import LONGEST_PATH, describe_source
from segpipe.errors import InputError, SegpipeError

from .drawing import style_of
from .output_names import output_names
from .results_index import ENDINGS, ResultsIndex, names_taken

if TYPE_CHECKING:
    from segpipe.pipelines import Failure, Segmentation


@dataclass(frozen=True)
class Written:
    """A result and its files, by what they are."""

    result: Segmentation
    files: dict[str, str]


class Outputs:
    """Writes files for each image, and a row of the index; to be used as a context.

    Args:
        sources: the images, in their order.
        options: of `segpipe predict`.

    Raises:
        InputError: a file would be written over one of the images.
    """

    def __init__(self, sources: Sequence[str], options: argparse.Namespace) -> None:
        self._folder: Path = options.output
        self._style = style_of(options)
        self._stops_at_an_error = options.on_error == "raise"
        has_overlay = options.jsonl is None or bool(self._style) if options.overlay is None else options.overlay
        wanted = {"overlay": has_overlay, "label_map": options.label_maps}
        self._kinds = [kind for kind, is_wanted in wanted.items() if is_wanted]
        self._sources = [describe_source(source, index) for index, source in enumerate(sources)]
        self._index: ResultsIndex | None = None
        self._stack = ExitStack()
        taken = names_taken(self._folder, self._sources) if self._kinds else ()
        self.names = output_names(sources, [*ENDINGS.values()], taken=taken)
        """What the files of each image begin with."""
        self._check(sources)

    @property
    def index(self) -> str | None:
        """The path of the index; None where no files are written."""
        return str(self._index.path) if self._index is not None else None

    def write(self, outcome: Segmentation | Failure, name: str) -> Written | Failure:
        """Write what was asked for; a Failure where there is no result, or where a file cannot be written."""
        from segpipe.pipelines import Failure

        written = outcome if isinstance(outcome, Failure) else self._write_files(outcome, name)
        if self._index is None:
            return written
        if isinstance(written, Failure) and self._stops_at_an_error:
            return written  # the command's error says it
        if isinstance(written, Failure):
            self._index.add(written.source, error=str(written.error))
        else:
            result = written.result
            self._index.add(result.source, files=written.files, size=result.size, shares=result.shares)
        return written

    def __enter__(self) -> Outputs:
        if self._kinds:
            self._index = self._stack.enter_context(ResultsIndex(self._folder, self._sources))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.__exit__(kind, error, trace)

    def _write_files(self, result: Segmentation, name: str) -> Written | Failure:
        from segpipe.pipelines import Failure

        paths = self._paths(name)
        try:
            if "overlay" in paths:
                result.save_overlay(paths["overlay"], **self._style)
            if "label_map" in paths:
                result.save_label_map(paths["label_map"])
        except (SegpipeError, OSError) as error:
            return Failure(result.source, _as_ours(error))
        return Written(result, {kind: str(path) for kind, path in paths.items()})

    def _paths(self, name: str) -> dict[str, Path]:
        return {kind: self._folder / f"{name}{ENDINGS[kind]}" for kind in self._kinds}

    def _check(self, sources: Sequence[str]) -> None:
        inputs = {os.path.realpath(source) for source in sources if len(source) < LONGEST_PATH and "\0" not in source}
        for name in self.names:
            for path in self._paths(name).values():
                if os.path.realpath(path) in inputs:
                    raise InputError(f"{path} would be written over a picture of yours. Choose another --output.")


def _as_ours(error: SegpipeError | OSError) -> SegpipeError:
    if isinstance(error, SegpipeError):
        return error
    reason = error.strerror or str(error)
    return InputError(
        f"{error.filename} cannot be written: {reason}. Free some space there, or choose another --output."
    )
