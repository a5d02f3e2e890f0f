"""The files that are written for each of many results, and the index of them."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from segpipe.configuration import LabelSet
from segpipe.data import LONGEST_PATH, SegmentationDataset, parse_source
from segpipe.errors import InputError, SegpipeError

from ..results.segmentation import Segmentation
from ..stream import Failure
from .output_naming import output_names
from .results_index import ENDINGS, ResultsIndex, names_taken, unwritable


@dataclass(frozen=True)
class Written:
    """A result and its files, by what they are."""

    result: Segmentation
    files: dict[str, str]

    def to_dict(self) -> dict[str, Any]:
        """Return what JSON can hold: the result, and its files."""
        return {**self.result.to_dict(), "files": self.files}


class OutputFolder:
    """Writes files for each image into a folder, and a row of its index; to be used as a context.

    Args:
        folder: it is made when the first file is.
        sources: the images, in their order.
        kinds: what is written: "overlay", "label_map", both, or nothing at all, not even an index.
        style: of overlays, see `Segmentation.overlay`.
        keeps_failures: whether an image without a result gets a row that says why.

    Raises:
        InputError: a file would be written over one of the images.
    """

    def __init__(
        self,
        folder: str | Path,
        sources: Sequence[str],
        kinds: Collection[str] = ("overlay",),
        *,
        style: Mapping[str, Any] | None = None,
        keeps_failures: bool = True,
    ) -> None:
        self._folder, self._kinds = Path(folder), kinds
        self._style, self._keeps_failures = dict(style or {}), keeps_failures
        self._sources = [parse_source(source).name(index) for index, source in enumerate(sources)]
        self._index: ResultsIndex | None = None
        self._stack = ExitStack()
        taken = names_taken(self._folder, self._sources) if kinds else ()
        self.names = output_names(sources, [*ENDINGS.values()], taken=taken)
        """The beginning of the names of each image's files."""
        self._check(sources)

    @property
    def index(self) -> str | None:
        """The path of the index. None if no files are written."""
        return str(self._index.path) if self._index is not None else None

    def write_all(self, outcomes: Iterable[Segmentation | Failure]) -> Iterator[Written | Failure]:
        """Write what comes of each image, in order, as it is asked for; see `write`."""
        for name, outcome in zip(self.names, outcomes, strict=True):
            yield self.write(outcome, name)

    def write(self, outcome: Segmentation | Failure, name: str) -> Written | Failure:
        """Write the files of one image; a Failure if there is no result, or if a file cannot be written."""
        written = outcome if isinstance(outcome, Failure) else self._write_files(outcome, name)
        if self._index is None:
            return written
        if not isinstance(written, Failure):
            result = written.result
            self._index.add(result.source, files=written.files, size=result.size, shares=result.shares)
        elif self._keeps_failures:
            self._index.add(written.source, error=str(written.error))
        return written

    def __enter__(self) -> OutputFolder:
        if self._kinds:
            self._index = self._stack.enter_context(ResultsIndex(self._folder, self._sources))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.__exit__(kind, error, trace)

    def _write_files(self, result: Segmentation, name: str) -> Written | Failure:
        paths = self._paths(name)
        try:
            if "overlay" in paths:
                result.save_overlay(paths["overlay"], **self._style)
            if "label_map" in paths:
                result.save_label_map(paths["label_map"])
        except SegpipeError as error:
            return Failure(result.source, error)
        except OSError as error:
            return Failure(result.source, unwritable(error.filename, error))
        return Written(result, {kind: str(path) for kind, path in paths.items()})

    def _paths(self, name: str) -> dict[str, Path]:
        return {kind: self._folder / f"{name}{ENDINGS[kind]}" for kind in self._kinds}

    def _check(self, sources: Sequence[str]) -> None:
        inputs = {os.path.realpath(source) for source in sources if len(source) < LONGEST_PATH and "\0" not in source}
        for name in self.names:
            for path in self._paths(name).values():
                if os.path.realpath(path) in inputs:
                    message = f"{path} would be written over an image of yours. Choose another --output."
                    raise InputError(message, path=path)


def overlay_writer(
    folder: str | Path, dataset: SegmentationDataset, labels: LabelSet, **style: Any
) -> Callable[[str, np.ndarray], None]:
    """Return the function that `evaluate` calls with each image's name and label map, to write its overlay.

    `labels` are those of the network; for `style`, see `Segmentation.overlay`.
    """
    pairs = {pair.image: pair for pair in dataset.pairs}
    stems = dict(zip(pairs, output_names([*pairs], [ENDINGS["overlay"]]), strict=True))

    def write(name: str, label_map: np.ndarray) -> None:
        image = pairs[name].read_image()
        result = Segmentation(label_map, {}, labels.names, palette=labels.palette, image=image, source=name)
        result.save_overlay(Path(folder) / f"{stems[name]}{ENDINGS['overlay']}", **style)

    return write
