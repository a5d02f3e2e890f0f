"""The recipes of MiT on ImageNet, held against LiBai's, and what a classifier's document may say."""

import math

import pytest

from segpipe.configuration import CropResize, SoftCrossEntropyLoss, load_preset, override
from segpipe.errors import ConfigurationError

VARIANTS = ("b0", "b1", "b2", "b3", "b4", "b5")


@pytest.mark.parametrize("variant", VARIANTS)
def test_classifiers_are_trained_as_libai_does(variant: str) -> None:
    preset = load_preset(f"mit-{variant}-imagenet")
    assert (preset.task, preset.pipeline.type) == ("image-classification", "image-classification")
    assert (preset.model.variant, preset.model.num_classes) == (variant, 1000)
    assert preset.weights.source == f"hf:nvidia/mit-{variant}"
    assert "non-commercial" in preset.weights.licence
    assert preset.preprocessor.resize == CropResize(size=256, crop=(224, 224), filter="bicubic")
    train = preset.train
    assert (train.max_epochs, train.batch_size) == (300, 4 * 128)
    assert (train.optimizer.lr, train.optimizer.weight_decay, train.optimizer.vector_weight_decay) == (5e-4, 0.05, 0.0)
    assert train.schedule.warmup.steps == math.ceil(1_281_167 / 512 * 20)
    # flowvision's Mixup smooths by 0.1 unless it is told otherwise, and LiBai's recipe does not.
    assert train.loss == SoftCrossEntropyLoss(mixup=0.8, cutmix=1.0, smoothing=0.1)
    assert [type(step).__struct_config__.tag for step in train.transforms] == [
        "random_area_crop",
        "random_flip",
        "rand_augment",
        "random_erasing",
    ]
    assert preset.evaluation.best == "acc1"


def test_a_crop_for_classification_is_no_preprocessing_for_segmentation() -> None:
    with pytest.raises(ConfigurationError, match="leaves pixels without a class"):
        override(load_preset("segformer-b0-ade20k"), ['preprocessor.resize={"mode": "center_crop"}'])
    with pytest.raises(ConfigurationError, match="exceeds the short side"):
        override(load_preset("mit-b0-imagenet"), ["preprocessor.resize.size=200"])
