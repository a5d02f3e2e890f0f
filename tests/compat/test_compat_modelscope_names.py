"""What ModelScope's scripts import: it is there, in whatever module, or a sentence says what to use."""

import importlib

import numpy as np
import pytest
import torch

import segpipe.compat.modelscope as modelscope
from segpipe.errors import InputError, UnknownNameError

IMPORTS = (
    ("metainfo", "Trainers", "Pipelines", "Preprocessors", "Models", "Metrics", "Hooks"),
    ("msdatasets", "MsDataset"),
    ("msdatasets.ms_dataset", "MsDataset"),
    ("trainers", "build_trainer"),
    ("trainers.builder", "build_trainer"),
    ("pipelines", "pipeline"),
    ("pipelines.base", "Pipeline"),
    ("pipelines.builder", "normalize_model_input"),
    ("models", "Model"),
    ("outputs", "OutputKeys"),
    ("hub.api", "HubApi"),
    ("hub.snapshot_download", "snapshot_download"),
    ("hub.file_download", "model_file_download"),
    ("utils.config", "Config", "ConfigDict"),
    (
        "utils.constant",
        "Tasks",
        "ModelFile",
        "DownloadMode",
        "Hubs",
        "ModeKeys",
        "ConfigFields",
        "DEFAULT_MODEL_REVISION",
    ),
    ("utils.hub", "read_config", "snapshot_download"),
    ("utils.device", "create_device", "verify_device", "device_placement"),
    ("utils.logger", "get_logger"),
    ("utils.cv.image_utils", "semantic_seg_masks_to_image"),
)


@pytest.mark.parametrize(("module", *["names"]), [(module, names) for module, *names in IMPORTS])
def test_what_scripts_import_is_where_they_import_it_from(module, names):
    imported = importlib.import_module(f"segpipe.compat.modelscope.{module}")
    assert [getattr(imported, name) for name in names] == [getattr(modelscope, name) for name in names]


def test_packages_can_be_imported_as_names():
    from segpipe.compat.modelscope import msdatasets

    assert msdatasets.MsDataset is modelscope.MsDataset


@pytest.mark.parametrize(
    ("module", "name", "said"),
    [
        ("preprocessors", "LoadImage", "no 'LoadImage'. pipeline and segpipe.data.read_source take paths"),
        ("trainers", "EpochBasedTrainer", "build_trainer gives a trainer"),
        ("trainers.hooks", "Hook", "callbacks=[…]"),
        ("hub.push_to_hub", "push_to_hub", "segpipe.publish"),
        ("models.cv.anything", "AutoModel", "the library transformers"),
        ("pipelines", "pipelin", "Did you mean 'pipeline'"),
        ("msdatasets", "Frobnicator", "Its __all__ lists the"),
    ],
)
def test_what_is_not_offered_says_what_to_use(module, name, said):
    with pytest.raises(ImportError) as error:
        exec(f"from segpipe.compat.modelscope.{module} import {name}")
    assert isinstance(error.value, UnknownNameError)
    assert said in str(error.value)


def test_all_advice_is_about_names_that_are_not_offered():
    from segpipe.compat.modelscope import modules

    assert not set(modules.INSTEAD) & set(modelscope.__all__)


def test_a_class_of_names_says_what_it_has():
    assert (modelscope.Trainers.easycv, modelscope.Tasks.image_segmentation) == ("easycv", "image-segmentation")
    assert not hasattr(modelscope.Tasks, "ocr_recognition")
    with pytest.raises(UnknownNameError, match=r"Did you mean 'image_segmentation'\? Known: image_classification"):
        _ = modelscope.Tasks.image_segmentatoin


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("cpu", ("cpu", None)),
        ("CPU", ("cpu", None)),
        ("gpu", ("gpu", 0)),
        ("cuda:3", ("gpu", 3)),
        ("GPU:1", ("gpu", 1)),
    ],
)
def test_devices_are_named_as_in_modelscope(name, kind):
    assert modelscope.verify_device(name) == kind


@pytest.mark.parametrize("name", ["xpu", "cuda:x", "gpu:", "", None])
def test_other_devices_are_refused(name):
    with pytest.raises(InputError, match="Say cpu, gpu") as error:
        modelscope.verify_device(name)
    assert isinstance(error.value, AssertionError)


def test_a_gpu_is_the_cpu_where_there_is_none(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert modelscope.create_device("gpu:1") == torch.device("cpu")
    with modelscope.device_placement("pytorch", "gpu"):
        assert torch.zeros(1).device.type == "cpu"


def test_masks_are_drawn_in_different_colors_the_later_over_the_earlier():
    masks = [np.array([[1, 1, 0]]), np.array([[0, 1, 0]])]
    image = modelscope.semantic_seg_masks_to_image(masks)
    assert image.dtype == np.uint8
    assert len({tuple(color) for color in image[0].tolist()}) == 3
    assert image[0, 2].tolist() == [0, 0, 0]
    with pytest.raises(InputError, match="at least one is needed"):
        modelscope.semantic_seg_masks_to_image([])
