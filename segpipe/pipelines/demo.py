"""The demo: one image, or a street that is drawn here, segmented, with all that can be made of the result."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

import numpy as np

from segpipe.configuration import load_preset
from segpipe.data import parse_source
from segpipe.drawing import side_by_side, write_image
from segpipe.errors import InputError
from segpipe.evaluation import ConfusionMatrix, Scores
from segpipe.hub import BUNDLED_MODEL
from segpipe.names import Tasks
from segpipe.scenes import draw_street_scene

from .building import pipeline
from .outputs.output_naming import output_names
from .results.segmentation import Segmentation

SCENE_SIZE = (432, 768)
"""(height, width) of the street; docs/street.png is its side-by-side.png."""
CALL_STEPS = ("read the picture", "resize", "network", "label map")
"""Steps of one call."""
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
    """The findings and the files of the demo.

    Attributes:
        result: of the image.
        truth: scores against the drawn scene's own label, or None for an image of the user's and for a model with
            other classes.
        seconds: by step, in their order; those of `CALL_STEPS` are taken by each further call.
        files: what was written, by what it is.
    """

    result: Segmentation
    truth: Scores | None
    seconds: dict[str, float]
    files: dict[str, Path]


def show_demo(image: str | None = None, model: str = BUNDLED_MODEL, output: str | Path = "segpipe-demo") -> Demo:
    """Segment an image and write what comes out into a folder.

    Args:
        image: a path or a URL. If None, a street is drawn.
        model: a name or a folder.
        output: the folder; it is made.

    Raises:
        InputError: the path is a folder or a pattern, which stands for several images.
    """
    folder, seconds = Path(output), dict[str, float]()
    with _timed(seconds, "load the model"):
        segment = pipeline(Tasks.image_segmentation, model)
    if image is not None and parse_source(image).is_many:
        raise InputError(f"{image} is several images; the demo shows one. Give a file, or use segpipe predict.")
    prefix, label = ("", None) if image is None else (_prefix_of(image), None)
    if image is None:
        with _timed(seconds, "draw the street"):
            scene = draw_street_scene(0, SCENE_SIZE)
            image, label = str(write_image(folder / _PICTURE, scene.image)), scene.label
    with _timed(seconds, "first call"):
        result = segment(image)
    # Once more: the first call also reserves memory and chooses kernels.
    timings = segment(result.image).timings
    seconds["read the picture"] = result.timings["read"]
    seconds |= {name: timings[name] for name in CALL_STEPS[1:]}
    return Demo(result, _scores(result, label), seconds, _write_files(result, folder, prefix))


def _prefix_of(image: str) -> str:
    """Return what the files of a user's image begin with, so that none is a drawn street's."""
    [name] = output_names([image], [f"-{ending}" for ending in _FILES.values()])
    return f"{name}-"


def _scores(result: Segmentation, label: np.ndarray | None) -> Scores | None:
    camvid = load_preset(BUNDLED_MODEL).labels
    if label is None or camvid is None or result.names != camvid.names:
        return None
    matrix = ConfusionMatrix(len(result.names), camvid.ignore_index)
    matrix.update(prediction=result.label_map, label=label)
    return matrix.scores(result.names)


def _write_files(result: Segmentation, folder: Path, prefix: str) -> dict[str, Path]:
    """Write what was made. A user's image stays where it is, and its files have its name."""
    image = result.colorize() if result.image is None else result.image
    overlay, legend = result.overlay(), result.legend(height=max(result.size[0], 300))
    names = {what: folder / f"{prefix}{name}" for what, name in _FILES.items()}
    return {
        **({} if prefix else {"picture": folder / _PICTURE}),
        "overlay": write_image(names["overlay"], overlay),
        "legend": write_image(names["legend"], legend),
        "side by side": write_image(names["side by side"], side_by_side(image, overlay, legend)),
        "label map": result.save_label_map(names["label map"]),
        "result": result.save(names["result"]),
    }


@contextmanager
def _timed(seconds: dict[str, float], step: str) -> Iterator[None]:
    start = perf_counter()
    yield
    seconds[step] = perf_counter() - start
