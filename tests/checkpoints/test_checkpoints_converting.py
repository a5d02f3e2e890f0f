"""`convert`: any checkpoint becomes a model folder that loads to the same network, or says why not."""

import pytest
import torch
from foreign_checkpoints import easycv_tensors, hugging_face_tensors

from segpipe import ModelFolder, convert, load_model
from segpipe.checkpoints import write_dialect
from segpipe.checkpoints.weight_files import write_tensors
from segpipe.configuration import ShortSideResize
from segpipe.errors import InputError, UnknownNameError
from segpipe.models import HeadConfig, MitConfig, SegformerConfig, build_model


def network(config):
    torch.manual_seed(0)
    return build_model(config).eval()


def assert_same_weights(first, second):
    theirs = second.state_dict()
    assert all(torch.equal(tensor, theirs[key]) for key, tensor in first.state_dict().items())


@pytest.fixture
def easycv(tmp_path):
    """A conv-head B0 with 7 classes as EasyCV saves it, with its class names."""
    model = network(SegformerConfig(num_classes=7, head=HeadConfig(type="conv", channels=256)))
    meta = {"CLASSES": tuple("abcdefg"), "PALETTE": [[i, i, i] for i in range(7)]}
    torch.save({"state_dict": easycv_tensors(model), "meta": meta}, tmp_path / "best.pth")
    return tmp_path / "best.pth", model


def test_a_bare_checkpoint_needs_no_more_than_itself(easycv, tmp_path):
    path, model = easycv
    folder = convert(path, tmp_path / "mine")
    assert isinstance(folder, ModelFolder)
    assert folder.configuration.labels.names == tuple("abcdefg")
    assert folder.configuration.model.head.type == "conv"
    assert folder.configuration.model.encoder.norm_eps.patch == 1e-6
    assert folder.verify() == ()
    assert_same_weights(model, load_model(tmp_path / "mine"))


def test_hugging_face_tensors_in_a_lone_file(tmp_path):
    model = network(SegformerConfig(variant="b0", num_classes=3))
    torch.save(hugging_face_tensors(model), tmp_path / "pytorch_model.bin")
    folder = convert(tmp_path / "pytorch_model.bin", tmp_path / "mine", labels=["a", "b", "c"])
    assert folder.configuration.labels.names == ("a", "b", "c")
    assert_same_weights(model, load_model(folder))


def test_a_classifier_is_recognised(tmp_path):
    model = network(MitConfig(variant="b0", num_classes=5))
    torch.save(model.state_dict(), tmp_path / "mit.pth")
    assert convert(tmp_path / "mit.pth", tmp_path / "mine").configuration.task == "image-classification"


def test_a_folder_that_is_not_empty_is_left_alone(easycv, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("precious")
    with pytest.raises(InputError, match="not empty"):
        convert(easycv[0], tmp_path / "mine")
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["notes.txt"]


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"architecture": "segformer-b9"}, UnknownNameError, "Did you mean 'segformer-b"),
        ({"architecture": "mit-b0"}, InputError, "without the classifier of mit-b0"),
        ({"architecture": "segformer-b0", "preset": "segformer-b0-camvid"}, InputError, "Give one"),
        ({"num_classes": 19}, InputError, "for 7 classes, not for 19"),
        ({"labels": list("abcdeff")}, InputError, "labels do not fit"),
        ({"labels": list("abcdefgh")}, InputError, "8 names for 7 outputs"),
        ({"labels": ["a", "b"]}, InputError, "2 names for 7 outputs"),
    ],
)
def test_what_does_not_fit_is_said_and_nothing_is_written(easycv, tmp_path, arguments, error, message):
    with pytest.raises(error, match=message):
        convert(easycv[0], tmp_path / "mine", **arguments)
    assert not (tmp_path / "mine").exists()


def test_an_encoder_alone_is_no_model(tmp_path):
    encoder = {k: v for k, v in network(MitConfig(num_classes=5)).state_dict().items() if k.startswith("encoder")}
    torch.save(encoder, tmp_path / "mit.pth")
    with pytest.raises(InputError, match="without the classifier"):
        convert(tmp_path / "mit.pth", tmp_path / "mine")


# mmsegmentation does not pad, NVlabs resizes up to a multiple of 32, Hugging Face and LiBai do neither, and ours pad.
@pytest.mark.parametrize(
    ("dialect", "size_multiple", "resize"),
    [
        ("mmseg", 1, ShortSideResize(size=512, max_long_side=2048)),
        ("nvlabs", 1, ShortSideResize(size=512, max_long_side=2048, multiple=32)),
        ("huggingface", 1, None),
        ("libai", 1, None),
        ("segpipe", 32, None),
    ],
)
def test_a_bare_checkpoint_is_padded_and_resized_as_its_own_code_does(tmp_path, dialect, size_multiple, resize):
    head = "conv" if dialect == "mmseg" else "mlp"
    model = build_model(SegformerConfig(num_classes=3, head=HeadConfig(type=head)))
    path = tmp_path / "weights.safetensors"
    write_tensors(write_dialect(model.state_dict(), dialect) if dialect != "segpipe" else model.state_dict(), path)
    configuration = convert(path, tmp_path / "folder").configuration
    assert configuration.model.size_multiple == size_multiple
    assert configuration.preprocessor.resize == resize
