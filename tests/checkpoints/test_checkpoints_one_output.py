"""Networks with one output become networks of two classes, and give what their own code gives."""

import json

import numpy as np
import pytest
import torch
from foreign_checkpoints import apply_tensors, easycv_tensors, hugging_face_tensors
from torch.nn import functional

from segpipe import pipeline
from segpipe.checkpoints import convert, translate
from segpipe.checkpoints.huggingface import configuration_from_huggingface
from segpipe.configuration import LabelSet, load_preset, override
from segpipe.errors import ConfigurationError, InputError
from segpipe.models import EncoderConfig, MitConfig, SegformerConfig, build_model
from segpipe.trainers.run_configuration import follow_labels

SIZES = [(64, 64), (97, 131), (48, 200)]


def one_output(head="mlp"):
    torch.manual_seed(0)
    model = build_model(override(load_preset("segformer-b0-ade20k"), [f"model.head.type={head}"]).model)
    config = SegformerConfig(num_classes=1, head=model.config.head, encoder=model.config.encoder, size_multiple=1)
    model = build_model(config).eval()
    with torch.no_grad():
        model.head.classifier.weight.mul_(300)
        model.head.classifier.bias.fill_(-0.3)
    return model


def image_of(size):
    return np.random.default_rng(sum(size)).integers(0, 256, (*size, 3), dtype=np.uint8)


@pytest.mark.peer
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("size", SIZES)
def test_hugging_faces_one_label_is_its_sigmoid_above_a_half(tmp_path, size):
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(1)
    config = transformers.SegformerConfig(num_labels=1, id2label={0: "crack"}, label2id={"crack": 0})
    theirs = transformers.SegformerForSemanticSegmentation(config).eval()
    with torch.no_grad():
        theirs.decode_head.classifier.weight.mul_(100)
    theirs.save_pretrained(tmp_path)
    (tmp_path / "preprocessor_config.json").write_text(json.dumps({"do_resize": False, "do_rescale": True}))
    image = image_of(size)
    result = pipeline("image-segmentation", tmp_path, device="cpu")(image)
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    pixels = ((torch.from_numpy(image) / 255 - mean) / std).permute(2, 0, 1)[None]
    with torch.no_grad():
        logits = functional.interpolate(theirs(pixels).logits, size=size, mode="bilinear", align_corners=False)
    expected = (logits[0, 0].sigmoid() > 0.5).numpy()
    is_close = (logits[0, 0].abs() < 1e-3).numpy()
    assert 0.02 < expected.mean() < 0.98
    assert result.names == ("nothing", "crack")
    assert ((np.asarray(result.label_map) == 1) == expected)[~is_close].all()


@pytest.mark.parametrize(("dialect", "threshold"), [("huggingface", 0.5), ("mmseg", 0.3)])
def test_the_second_class_is_the_larger_where_the_sigmoid_exceeds_the_threshold(dialect, threshold):
    model = one_output("conv" if dialect == "mmseg" else "mlp")
    tensors = easycv_tensors(model) if dialect == "mmseg" else hugging_face_tensors(model)
    ours = translate(tensors, dialect)
    two = build_model(SegformerConfig(num_classes=2, head=model.config.head, encoder=model.config.encoder)).eval()
    apply_tensors(two, ours, origin="theirs")
    images = torch.from_numpy(image_of((64, 96))).permute(2, 0, 1)[None]
    with torch.no_grad():
        probability, logits = model(images)[0, 0].sigmoid(), two(images)[0]
    expected = probability > threshold
    assert 0 < expected.float().mean() < 1
    assert torch.equal(logits.argmax(0) == 1, expected) or ((probability - threshold).abs() < 1e-5).any()
    if threshold == 0.5:
        torch.testing.assert_close(logits.softmax(0)[1], probability, atol=1e-5, rtol=1e-4)


def test_a_bare_file_of_one_output_gets_its_name_and_colour(tmp_path):
    content = {"state_dict": easycv_tensors(one_output("conv")), "meta": {"CLASSES": ("road",), "PALETTE": [[9, 8, 7]]}}
    torch.save(content, tmp_path / "iter.pth")
    labels = convert(tmp_path / "iter.pth", tmp_path / "road").configuration.labels
    assert labels.names == ("nothing", "road")
    assert labels.palette == ((0, 0, 0), (9, 8, 7))


def test_a_classifier_of_one_label_is_a_regression():
    document = {"model_type": "segformer", "architectures": ["SegformerForImageClassification"], "id2label": {"0": "x"}}
    with pytest.raises(ConfigurationError, match="regression"):
        configuration_from_huggingface(document, {}, origin="a", preprocessor_origin="b")


@pytest.mark.parametrize("name", ["segformer-b0-camvid", "segmenter-tiny-ade20k", "mit-b0-imagenet"])
def test_a_configuration_of_one_output_is_refused_with_what_to_do(name):
    with pytest.raises(ConfigurationError, match=r"`model.num_classes` is 1: .*'background'"):
        override(load_preset(name), {"labels": None, "model.num_classes": 1, "train": None})


def test_training_on_one_class_is_refused():
    with pytest.raises(ConfigurationError, match="2 outputs"):
        follow_labels(load_preset("segformer-b0-camvid"), LabelSet(names=("road",)))


def test_other_implementations_with_one_output_are_refused(tmp_path):
    """NVlabs' code takes the largest of one output: the same class everywhere."""
    from segpipe.checkpoints import write_dialect

    torch.save(write_dialect(one_output().state_dict(), "nvlabs"), tmp_path / "nvlabs.pth")
    with pytest.raises((InputError, ConfigurationError), match="one output"):
        convert(tmp_path / "nvlabs.pth", tmp_path / "out")


def test_an_encoders_file_is_as_before():
    encoder = EncoderConfig(dims=(8, 16, 24, 32), depths=(1, 1, 1, 1), heads=(1, 2, 3, 4))
    tensors = build_model(MitConfig(num_classes=1, encoder=encoder)).state_dict()
    assert translate(tensors, "huggingface").keys() == tensors.keys()
