"""The route of an image through the files of the package, which a reader can follow."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import segpipe
from segpipe import pipeline
from segpipe.checkpoints import write_tensors
from segpipe.configuration import Configuration, LabelSet, PreprocessorConfig, ShortSideResize
from segpipe.hub import seal_folder
from segpipe.models import EncoderConfig, SegformerConfig, build_model

PACKAGE = Path(segpipe.__file__).parent
ROUTE = [
    "pipelines/base.py",
    "pipelines/options.py",
    "data/sources.py",
    "data/images.py",
    "pipelines/image_segmentation.py",
    "inference/segmenting.py",
    "inference/preprocessing.py",
    "inference/network.py",
    "inference/geometry.py",
    "inference/label_maps/labelling.py",
    "inference/label_maps/exact.py",
    "inference/label_maps/cells.py",
    "inference/label_maps/candidates.py",
    "pipelines/results/segmentation.py",
    "pipelines/results/keyed_result.py",
]
"""In the order in which an image comes to them; between segmenting and network lie the files of the network."""


@pytest.fixture
def segment(tmp_path):
    encoder = EncoderConfig(dims=(8, 16, 24, 32), depths=(1, 1, 1, 1), heads=(1, 2, 3, 4))
    model = SegformerConfig(num_classes=3, encoder=encoder, size_multiple=32)
    labels, preprocessor = LabelSet(names=("left", "right", "top")), PreprocessorConfig(resize=ShortSideResize(size=64))
    torch.manual_seed(0)
    write_tensors(build_model(model).state_dict(), tmp_path / "model.safetensors")
    seal_folder(tmp_path, Configuration(model=model, labels=labels, preprocessor=preprocessor))
    return pipeline("image-segmentation", tmp_path, device="cpu")


def files_called(function):
    """Files of the package in the order of their first call."""
    files: dict[str, None] = {}

    def note(frame, event, _):
        path = Path(frame.f_code.co_filename)
        if event == "call" and PACKAGE in path.parents:
            files.setdefault(str(path.relative_to(PACKAGE)))

    sys.setprofile(note)
    try:
        function()
    finally:
        sys.setprofile(None)
    return list(files)


def test_an_image_passes_these_files_in_this_order(segment, tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (90, 120, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    passed = files_called(lambda: segment(str(tmp_path / "a.png")))
    rooms = [name for name in passed if name.startswith(("pipelines/", "inference/")) or name in ROUTE]
    assert rooms == ROUTE
    others = {name for name in passed if not name.startswith(("models/", *{name.split("/")[0] for name in ROUTE}))}
    assert others <= {"files.py", "limits.py"}
