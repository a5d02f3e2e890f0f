"""What type checkers know: the type of a pipeline's results."""

import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("mypy")
ROOT = Path(__file__).parents[1]
USE = """
from collections.abc import Generator
from typing import Any

from typing_extensions import assert_type

from segpipe import Segmentation, Tasks, pipeline
from segpipe.pipelines import Classification, Failure, Pipeline

segment = pipeline("image-segmentation", "segformer-b0-camvid", device="cpu")
assert_type(segment, Pipeline[Segmentation])
assert_type(pipeline(Tasks.image_segmentation), Pipeline[Segmentation])
assert_type(segment(["a.jpg", "b.jpg"]), list[Segmentation])
assert_type(segment(b"the bytes of an image"), Segmentation)
assert_type(segment.outcomes("folder"), Generator[Segmentation | Failure, None, None])
assert_type(pipeline("image-classification", "mit-b0-imagenet"), Pipeline[Classification])
task: str = input()
assert_type(pipeline(task), Pipeline[Any])
"""


@pytest.mark.slow
def test_a_pipeline_has_the_type_of_its_results(tmp_path):
    (tmp_path / "use.py").write_text(USE)
    for folder in ("segpipe", "configuration", "trainers"):  # as they are installed
        place = tmp_path / "segpipe" / ("" if folder == "segpipe" else folder)
        place.parent.mkdir(exist_ok=True)
        if folder != "segpipe":
            place.symlink_to(ROOT / folder)
            continue
        place.mkdir()
        for path in (ROOT / folder).iterdir():
            (place / path.name).symlink_to(path)
    command = [sys.executable, "-m", "mypy", "--config-file", str(ROOT / "pyproject.toml"), "use.py"]
    finished = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=600, check=False)
    assert finished.returncode == 0, finished.stdout
