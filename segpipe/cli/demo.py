"""`segpipe demo`: one picture, segmented, with everything that can be made of the result."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

from segpipe.errors import InputError
from segpipe.names import Tasks
from segpipe.text import format_fields, format_seconds

from .opening import BUNDLED_MODEL
from .output_names import output_names
from .parsing import add_json
from .printing import print_json, print_note

if TYPE_CHECKING:
    import numpy as np

    from segpipe.evaluation import Scores
    from segpipe.pipelines import Segmentation

SCENE_SIZE = (432, 768)
"""(height, width) of the street; docs/street.png is its side-by-side.png."""
EXAMPLES = """  segpipe demo
  segpipe demo holiday.jpg
  segpipe demo holiday.jpg --model segformer-b0-ade20k   (downloads the model once)"""


_PICTURE = "picture.png"
_FILES = {
    "overlay": "overlay.png",
    "legend": "legend.png",
    "side by side": "side-by-side.png",
    "label map": "label-map.png",
    "result": "result.json",
}


@dataclass(frozen=True)
class Demo:
    """What the demo found and made."""

    result: Segmentation
    truth: Scores | None
    """Scores against the drawn scene's own label; None for pictures without one or models with other classes."""
    seconds: dict[str, float]
    """By step, in their order."""
    files: dict[str, Path]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("picture", nargs="?", metavar="PICTURE", help="a file or a URL; without it a street is drawn")
    parser.add_argument(
        "--model", default=BUNDLED_MODEL, metavar="NAME", help=f"default: {BUNDLED_MODEL}, which comes with segpipe"
    )
    parser.add_argument(
        "--output", type=Path, default=Path("segpipe-demo"), metavar="DIR", help="default: segpipe-demo"
    )
    add_json(parser)


def run(options: argparse.Namespace) -> int:
    demo = run_demo(options.picture, options.model, options.output)
    if options.json:
        print_json(_document(demo, options.model))
    else:
        _print(demo, options.model)
    return 0


def run_demo(picture: str | None, model: str, output: Path) -> Demo:
    """Segment a picture, or a street that is drawn here, and write what comes out into a folder."""
    seconds: dict[str, float] = {}
    if sys.stderr.isatty():
        print_note("Starting PyTorch …")
    with _timed(seconds, "start PyTorch"):
        from segpipe.data import is_many
        from segpipe.pipelines import pipeline
    with _timed(seconds, "load the model"):
        segment = pipeline(Tasks.image_segmentation, model)
    label = None
    if picture is not None and is_many(picture):
        raise InputError(f"{picture} is several pictures; the demo shows one. Give a file, or use segpipe predict.")
    prefix = "" if picture is None else _prefix_of(picture)
    if picture is None:
        with _timed(seconds, "draw the street"):
            picture, label = _draw_street(output / _PICTURE)
    with _timed(seconds, "first call"):
        result = segment(picture)
    # Once more: the first call also reserves memory and chooses kernels.
    timings = segment(result.image).timings
    seconds["read the picture"] = result.timings["read"]
    for name in ("resize", "network", "label map"):
        seconds[name] = timings[name]
    return Demo(result, _scores(result, label), seconds, _write_files(result, output, prefix))


def _prefix_of(picture: str) -> str:
    """Return what the files of a user's image begin with, so that none is a drawn street's."""
    [name] = output_names([picture], [f"-{ending}" for ending in _FILES.values()])
    return f"{name}-"


def _draw_street(path: Path) -> tuple[str, np.ndarray]:
    """Where the picture was written, and its label."""
    from segpipe.drawing import write_picture
    from segpipe.scenes import draw_street_scene

    scene = draw_street_scene(0, SCENE_SIZE)
    return str(write_picture(path, scene.image)), scene.label


def _scores(result: Segmentation, label: np.ndarray | None) -> Scores | None:
    from segpipe.configuration import load_preset
    from segpipe.evaluation import ConfusionMatrix

    camvid = load_preset(BUNDLED_MODEL).labels
    if label is None or camvid is None or result.names != camvid.names:
        return None
    matrix = ConfusionMatrix(len(result.names), camvid.ignore_index)
    matrix.update(prediction=result.label_map, label=label)
    return matrix.scores(result.names)


def _write_files(result: Segmentation, folder: Path, prefix: str) -> dict[str, Path]:
    """Write what was made; a user's picture is where it is, and its files have its name."""
    from segpipe.drawing import side_by_side, write_picture

    assert result.image is not None
    overlay, legend = result.overlay(), result.legend(height=max(result.size[0], 300))
    page = side_by_side(result.image, overlay, legend)
    names = {what: folder / f"{prefix}{name}" for what, name in _FILES.items()}
    return {
        **({} if prefix else {"picture": folder / _PICTURE}),
        "overlay": write_picture(names["overlay"], overlay),
        "legend": write_picture(names["legend"], legend),
        "side by side": write_picture(names["side by side"], page),
        "label map": result.save_label_map(names["label map"]),
        "result": result.save(names["result"]),
    }


@contextmanager
def _timed(seconds: dict[str, float], step: str) -> Iterator[None]:
    start = perf_counter()
    yield
    seconds[step] = perf_counter() - start


_CALL_STEPS = ("read the picture", "resize", "network", "label map")


def _print(demo: Demo, model: str) -> None:
    print(f"{model} finds in {demo.result}\n")
    if demo.truth is not None:
        print(f"Against the truth, which is known because segpipe drew this street:\n{_truth_text(demo.truth)}\n")
    before = [(step, format_seconds(time)) for step, time in demo.seconds.items() if step not in _CALL_STEPS]
    call = [(step, format_seconds(demo.seconds[step])) for step in _CALL_STEPS]
    total = sum(demo.seconds[step] for step in _CALL_STEPS)
    print(f"Once, at the start (the first call warms up):\n{format_fields(before)}\n")
    print(f"Each further picture of this size, {format_seconds(total)}:\n{format_fields(call)}\n")
    print(f"Written:\n{format_fields([(what, str(path)) for what, path in demo.files.items()])}\n")
    print(f"The same in Python:\n{_python_lines(demo, model)}")


def _truth_text(truth: Scores) -> str:
    counted = sum(iou == iou for iou in truth.iou.values())
    fields = [
        ("pixel accuracy", f"{truth.pixel_accuracy:.1%}".replace("%", " %")),
        ("mIoU", f"{truth.miou:.1%}".replace("%", " %") + f" over the {counted} classes present"),
    ]
    return format_fields(fields)


def _python_lines(demo: Demo, model: str) -> str:
    return f"""  from segpipe import pipeline

  segment = pipeline("{Tasks.image_segmentation}", {json.dumps(model)})
  print(segment({json.dumps(demo.result.source, ensure_ascii=False)}))"""


def _document(demo: Demo, model: str) -> dict[str, Any]:
    truth = demo.truth
    scores = None
    if truth is not None:
        scores = {"pixel_accuracy": truth.pixel_accuracy, "miou": truth.miou, "iou": truth.iou}
    segments = zip(demo.result.labels, demo.result.areas, demo.result.scores, strict=True)
    pixels = demo.result.label_map.size
    return {
        "model": model,
        "source": demo.result.source,
        "size": list(demo.result.size),
        "classes": [{"label": name, "share": area / pixels, "score": score} for name, area, score in segments],
        "truth": scores,
        "seconds": demo.seconds,
        "files": {what.replace(" ", "_"): str(path) for what, path in demo.files.items()},
    }
