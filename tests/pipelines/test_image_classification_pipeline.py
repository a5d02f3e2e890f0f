"""The pipeline of image-classification, from folders of ours and of Hugging Face."""

import json

import numpy as np
import pytest
import torch

from segpipe import pipeline
from segpipe.checkpoints.weight_files import write_tensors
from segpipe.configuration import LabelSet
from segpipe.configuration.schema import Configuration
from segpipe.errors import ModelFolderError, UnknownNameError
from segpipe.hub import seal_folder
from segpipe.models import EncoderConfig, MitConfig, build_model
from segpipe.pipelines import Classification

PICTURE = np.random.default_rng(0).integers(0, 256, (64, 80, 3)).astype(np.uint8)
NAMES = ("circle", "cross", "square", "star", "ring", "disc")


@pytest.fixture
def folder(tmp_path):
    """A tiny classifier with random weights."""
    encoder = EncoderConfig(dims=(8, 16, 24, 32), depths=(1, 1, 1, 1), heads=(1, 2, 3, 4))
    model = MitConfig(num_classes=6, encoder=encoder)
    configuration = Configuration(task="image-classification", model=model, labels=LabelSet(names=NAMES))
    path = tmp_path / "classifier"
    path.mkdir()
    torch.manual_seed(0)
    write_tensors(build_model(model).state_dict(), path / "model.safetensors")
    seal_folder(path, configuration, name="classifier")
    return path


def test_a_result_has_modelscopes_keys_and_five_classes(folder):
    result = pipeline("image-classification", folder)(PICTURE)
    assert set(result) == {"scores", "labels"}
    assert dict(result) == {"scores": result.scores, "labels": result.labels}
    assert len(result["labels"]) == 5
    assert result["scores"] == sorted(result["scores"], reverse=True)
    assert sum(score for _, score in result.top(6)) == pytest.approx(1.0)
    with pytest.raises(UnknownNameError, match="scores"):
        result["masks"]


def test_many_pictures_of_different_sizes_come_in_order(folder):
    classify = pipeline("image-classification", folder, batch_size=3)
    pictures = [PICTURE, PICTURE[:32], PICTURE[:, ::-1].copy()]
    together, alone = classify(pictures), [classify(picture) for picture in pictures]
    for ours, theirs in zip(together, alone, strict=True):
        np.testing.assert_allclose(ours.probabilities, theirs.probabilities, atol=1e-5)
    assert [result.source for result in together] == ["picture 0", "picture 1", "picture 2"]


def test_a_result_is_printed_and_written_as_json():
    result = Classification(np.array([0.125, 0.625, 0.25], np.float32), ("cat", "sea lion", "dog"), source="a.jpg")
    assert str(result).splitlines() == [
        "a.jpg",
        "class     score",
        "sea lion  0.625",
        "dog       0.250",
        "cat       0.125",
    ]
    assert json.loads(result.to_json())["classes"][0] == {"class_index": 1, "label": "sea lion", "score": 0.625}
    assert (result.label, result.class_index) == ("sea lion", 1)
    assert result == Classification(result.probabilities.copy(), result.names)


def test_a_classifier_is_no_segmentation_model_and_the_message_says_what_it_is(folder):
    with pytest.raises(ModelFolderError, match=r"say pipeline\('image-classification'"):
        pipeline("image-segmentation", folder)


@pytest.mark.peer
def test_logits_are_those_of_hugging_faces_class(tmp_path):
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    config = transformers.SegformerConfig(
        hidden_sizes=[8, 16, 24, 32], depths=[1, 1, 1, 1], num_attention_heads=[1, 2, 3, 4], num_labels=6,
        id2label=dict(enumerate(NAMES)), label2id={name: index for index, name in enumerate(NAMES)},
    )  # fmt: skip
    theirs = transformers.SegformerForImageClassification(config).eval()
    theirs.save_pretrained(tmp_path / "hf")
    preprocessor = {"do_resize": False, "image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225]}
    (tmp_path / "hf/preprocessor_config.json").write_text(json.dumps(preprocessor))
    result = pipeline("image-classification", tmp_path / "hf")(PICTURE)
    mean, std = (torch.tensor(preprocessor[key]).view(3, 1, 1) for key in ("image_mean", "image_std"))
    with torch.inference_mode():
        logits = theirs((torch.from_numpy(PICTURE).permute(2, 0, 1)[None] / 255 - mean) / std).logits[0]
    np.testing.assert_allclose(result.probabilities, logits.softmax(0).numpy(), atol=1e-5)
    assert result.names == NAMES
