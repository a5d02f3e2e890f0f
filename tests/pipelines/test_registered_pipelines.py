"""Which pipeline opens a folder: the one that its configuration names, among those of its task."""

import json

import numpy as np
import pytest
from PIL import Image

from segpipe import PIPELINES, pipeline
from segpipe.checkpoints.weight_files import write_tensors
from segpipe.cli.main import main
from segpipe.compat.modelscope import pipeline as modelscope_pipeline
from segpipe.configuration import decode_configuration
from segpipe.errors import UnknownNameError
from segpipe.hub.model_card import seal_folder
from segpipe.models import build_model
from segpipe.pipelines import ImageSegmentationPipeline

DOCUMENT = {
    "model": {
        "type": "segformer",
        "num_classes": 3,
        "head": {"type": "mlp", "channels": 16, "dropout": 0.1},
        "encoder": {"dims": [8, 16, 24, 32], "depths": [1, 1, 1, 1], "heads": [1, 2, 3, 4], "drop_path_rate": 0.1},
    },
    "labels": {"names": ["left", "right", "top"]},
}
CALLS = []


class NotingPipeline(ImageSegmentationPipeline):
    """A third party's."""

    def __init__(self, *arguments, **options):
        CALLS.append(type(self))
        super().__init__(*arguments, **options)


@pytest.fixture(autouse=True)
def noting():
    CALLS.clear()
    PIPELINES.register("noting", task="image-segmentation")(NotingPipeline)
    yield
    del PIPELINES._entries["noting"]
    del PIPELINES._tasks["noting"]


def folder(path, kind):
    """A model folder whose configuration names a pipeline, or none."""
    document = {**DOCUMENT, **({"pipeline": {"type": kind}} if kind else {})}
    configuration = decode_configuration(json.dumps(document), origin="here")
    path.mkdir()
    write_tensors(build_model(configuration.model).state_dict(), path / "model.safetensors")
    seal_folder(path, configuration)
    return path


def test_the_configuration_chooses_a_third_partys_pipeline(tmp_path):
    segment = pipeline("image-segmentation", folder(tmp_path / "model", "noting"), device="cpu")
    assert type(segment) is NotingPipeline
    assert segment(np.zeros((32, 32, 3), np.uint8)).label_map.shape == (32, 32)


def test_the_command_line_takes_the_configurations_pipeline(tmp_path):
    Image.new("RGB", (32, 32)).save(tmp_path / "a.png")
    model = str(folder(tmp_path / "model", "noting"))
    command = ["predict", str(tmp_path / "a.png"), "--model", model, "--output", str(tmp_path / "out"), "--quiet"]
    assert main(command) == 0
    assert NotingPipeline in CALLS


@pytest.mark.parametrize("kind", [None, "image-segmentation", "easycv-segmentation", "EasyCVSegmentationPipeline"])
def test_ours_opens_what_easycv_named(tmp_path, kind):
    assert type(pipeline("image-segmentation", folder(tmp_path / "model", kind))) is ImageSegmentationPipeline


def test_an_override_chooses_the_pipeline(tmp_path):
    model = folder(tmp_path / "model", "image-segmentation")
    assert type(pipeline("image-segmentation", model, overrides=["pipeline.type=noting"])) is NotingPipeline


@pytest.mark.parametrize("overrides", [{}, {"overrides": ["inference.flip=true"]}])
def test_modelscopes_pipeline_name_chooses_it(tmp_path, overrides):
    model = folder(tmp_path / "model", None)
    assert type(modelscope_pipeline(model=model, pipeline_name="noting", **overrides)) is NotingPipeline
    ours = modelscope_pipeline(model=model, pipeline_name="easycv-segmentation")
    assert type(ours) is ImageSegmentationPipeline


def test_a_pipeline_of_another_task_is_refused(tmp_path):
    model = folder(tmp_path / "model", "image-classification")
    message = r"'image-classification' is a pipeline for image-classification, not for image-segmentation\. Known"
    with pytest.raises(UnknownNameError, match=message):
        pipeline("image-segmentation", model)


def test_a_type_that_no_plugin_has_is_said_with_the_nearest(tmp_path):
    model = folder(tmp_path / "model", "notin")
    with pytest.raises(UnknownNameError, match=r"pipeline\.type: .*'notin'.*Did you mean 'noting'"):
        pipeline("image-segmentation", model)


def test_an_unknown_task_is_said_with_those_that_are_known():
    with pytest.raises(UnknownNameError, match=r"There is no task 'image-segmentatoin'\. Did you mean"):
        pipeline("image-segmentatoin")
