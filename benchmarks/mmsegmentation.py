"""segpipe beside mmsegmentation, which runs in a process of its own: same weights, pictures and threads, in turn.

    python -m benchmarks.mmsegmentation --mmsegmentation-python PATH

from the top of a checkout. benchmarks/README.md explains the figures.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .pictures import make_pictures, parse_size
from .results import OURS, Row
from .runs import add_effort_options, add_run_options, run_measurement, tell

if TYPE_CHECKING:
    from PIL import Image

WORKER = Path(__file__).with_name("mmsegmentation_worker.py")
NETWORK = "cocostuff preset"
AS_MMSEGMENTATION = ("model.size_multiple=1",)
"""The preset pads images to multiples of 32, as the page of its weights says; mmsegmentation does not."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, write; 1 when label maps disagree or something got worse than recorded."""
    return run_measurement(parse_arguments(arguments), measure)


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line; sizes as (height, width)."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.mmsegmentation",
        description="segpipe beside mmsegmentation, on the preset segformer-b0-cocostuff.",
    )
    parser.add_argument(
        "--mmsegmentation-python", default=sys.executable, metavar="PATH", help="a Python that has it (default: this)"
    )
    parser.add_argument("--sizes", nargs="+", type=parse_size, default=[(480, 640)], help="height x width")
    parser.add_argument("--pictures", type=Path, metavar="FOLDER", help="instead of drawn street scenes")
    parser.add_argument("--count", type=int, default=4, help="pictures whose label maps are compared (default 4)")
    add_effort_options(parser)
    add_run_options(parser, name="latest-mmsegmentation")
    return parser.parse_args(arguments)


def measure(options: argparse.Namespace, folder: Path) -> Iterator[Row]:
    """A row for each size."""
    from segpipe.checkpoints import convert_back

    from .contestants import Segpipe, use_threads
    from .networks import NUM_CLASSES, write_cocostuff

    use_threads(options.threads)
    write_cocostuff(folder / "cocostuff")
    convert_back(folder / "cocostuff", folder / "mmseg.pth", dialect="mmseg")
    ours = Segpipe(folder / "cocostuff", overrides=AS_MMSEGMENTATION)
    for size in options.sizes:
        tell(f"mmsegmentation at {size[0]}×{size[1]}")
        pictures = make_pictures(size, options.count, options.pictures)
        home = folder / f"{size[0]}x{size[1]}"
        arguments = [folder / "mmseg.pth", home, NUM_CLASSES, options.threads]
        with Mmsegmentation(options.mmsegmentation_python, pictures, home, arguments) as theirs:
            yield _measure_size(options, ours.run, theirs, pictures)


class Mmsegmentation:
    """That library's process; to be used as a context.

    Args:
        python: what runs it.
        pictures: all that it may be asked to segment.
        home: a folder for them, new.
        arguments: of the worker.
    """

    def __init__(self, python: str, pictures: Sequence[Image.Image], home: Path, arguments: Sequence[object]) -> None:
        home.mkdir()
        for index, picture in enumerate(pictures):
            np.save(home / f"{index:04}.npy", np.asarray(picture))
        self.home = home
        self.command = [python, str(WORKER), *map(str, arguments)]

    def __enter__(self) -> Mmsegmentation:
        self.errors = (self.home / "errors.txt").open("w+", encoding="utf-8")
        try:
            self.process = subprocess.Popen(
                self.command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.errors, text=True
            )
        except OSError as error:
            raise SystemExit(f"{self.command[0]} does not start: {error}. Name a Python.") from None
        self._expect("ready")
        return self

    def __exit__(self, *exception: object) -> None:
        self.process.communicate()
        self.errors.close()

    def run(self, number: int) -> None:
        """Segment a picture; its label map stays there."""
        self._ask(f"run {number}")

    def label_map(self, number: int) -> np.ndarray:
        """(H, W) label map of a picture."""
        file = self.home / f"label-{number}"
        self._ask(f"label {number} {file}.npy")
        return np.load(f"{file}.npy")

    def _ask(self, line: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        self._expect("done")

    def _expect(self, word: str) -> None:
        assert self.process.stdout is not None
        if self.process.stdout.readline().strip() != word:
            self.process.wait()
            self.errors.seek(0)
            raise SystemExit(f"mmsegmentation's process ended:\n{self.errors.read().strip()[-2000:]}")


def _measure_size(
    options: argparse.Namespace, segment: Any, theirs: Mmsegmentation, pictures: Sequence[Image.Image]
) -> Row:
    from .measurements import agreement_of
    from .timing import time_in_turn

    shares = [agreement_of(segment(picture), theirs.label_map(index)) for index, picture in enumerate(pictures)]
    calls = {OURS: partial(segment, pictures[0]), "mmsegmentation": partial(theirs.run, 0)}
    return Row(
        table="mmsegmentation",
        network=NETWORK,
        size=(pictures[0].height, pictures[0].width),
        what="one picture",
        unit="ms",
        runs=time_in_turn(calls, rounds=options.rounds, seconds=options.seconds),
        agreement=min(shares),
    )


if __name__ == "__main__":
    raise SystemExit(main())
