"""Our weights in other implementations' names: back again bit for bit, and as independent key tables have them."""

import re

import pytest
import torch
from foreign_checkpoints import easycv_tensors, hugging_face_tensors
from msgspec.structs import replace

from segpipe.checkpoints import (
    WRITTEN_DIALECTS,
    convert,
    convert_back,
    detect_dialect,
    open_checkpoint,
    own_tensors,
    translate,
    write_dialect,
)
from segpipe.checkpoints.huggingface import configuration_from_huggingface, huggingface_config, huggingface_preprocessor
from segpipe.checkpoints.weight_files import write_tensors
from segpipe.configuration import (
    ExactResize,
    InferenceConfig,
    LabelSet,
    PreprocessorConfig,
    ShortSideResize,
    load_preset,
    override,
    write_configuration,
)
from segpipe.errors import InputError
from segpipe.models import (
    DeitConfig,
    HeadConfig,
    MitConfig,
    NormEps,
    ResNetConfig,
    SegformerConfig,
    SegmenterConfig,
    SegmenterHeadConfig,
    UneptConfig,
    VitConfig,
    build_model,
)

VIT = VitConfig(image_size=(64, 64), depth=1)
UNEPT = {"num_classes": 5, "query_grid": (8, 8), "dim": 32, "hidden": 64}
NETWORKS = {
    "segformer": SegformerConfig(num_classes=5),
    "segformer-conv": SegformerConfig(num_classes=5, head=HeadConfig(type="conv")),
    "mit": MitConfig(num_classes=5),
    "segmenter": SegmenterConfig(num_classes=5, encoder=VIT),
    "segmenter-linear": SegmenterConfig(
        num_classes=5, head=SegmenterHeadConfig(type="linear"), encoder=VitConfig(image_size=(64, 64), distilled=True)
    ),
    "unept-deit": UneptConfig(encoder=DeitConfig(variant="tiny", depth=3, image_size=(64, 64)), **UNEPT),
    "unept-res50": UneptConfig(encoder=ResNetConfig(channels=8), **UNEPT),
}
WRITTEN = [
    *(("segformer", dialect) for dialect in ("nvlabs", "huggingface", "libai")),
    *(("segformer-conv", dialect) for dialect in ("mmseg", "easycv")),
    *(("mit", dialect) for dialect in ("nvlabs", "huggingface", "libai")),
    *(("segmenter", dialect) for dialect in ("segmenter", "vit")),
    *(("segmenter-linear", dialect) for dialect in ("segmenter", "vit")),
    *(("unept-deit", dialect) for dialect in ("unept", "vit")),
    *(("unept-res50", dialect) for dialect in ("unept", "resnet")),
]


def network(name):
    torch.manual_seed(0)
    return build_model(NETWORKS[name])


def assert_same(found, expected):
    assert found.keys() == expected.keys()
    assert [key for key in found if not torch.equal(found[key].reshape(expected[key].shape), expected[key])] == []


@pytest.mark.parametrize(("name", "dialect"), WRITTEN)
def test_what_is_written_comes_back_bit_for_bit(name, dialect):
    expected = dict(network(name).state_dict())
    written = write_dialect(expected, dialect)
    assert detect_dialect(written, origin="these") == ("mmseg" if dialect == "easycv" else dialect)
    if dialect == "libai":
        expected = {key: tensor for key, tensor in expected.items() if not key.endswith("num_batches_tracked")}
    if dialect in ("vit", "resnet"):
        expected = {key: tensor for key, tensor in expected.items() if key.startswith("encoder.")}
    assert_same(translate(written, dialect), expected)


def test_every_dialect_that_is_written_is_tried_here():
    assert {dialect for _, dialect in WRITTEN} == set(WRITTEN_DIALECTS)


def test_mmcvs_names_are_those_of_an_independent_table():
    model = network("segformer-conv")
    written, expected = write_dialect(model.state_dict(), "mmseg"), easycv_tensors(model)
    assert {key: tensor.shape for key, tensor in written.items()} == {key: t.shape for key, t in expected.items()}
    assert_same(written, expected)


def test_hugging_faces_names_are_those_of_an_independent_table():
    model = network("segformer")
    assert_same(write_dialect(model.state_dict(), "huggingface"), hugging_face_tensors(model))


@pytest.mark.peer
def test_hugging_faces_own_class_opens_the_folder_that_is_written(own_folder, tmp_path):
    transformers = pytest.importorskip("transformers")
    path = convert_back(own_folder.path, tmp_path / "theirs", dialect="huggingface")
    theirs = transformers.SegformerForSemanticSegmentation.from_pretrained(path).eval()
    assert list(theirs.config.id2label.values()) == ["a", "b", "c", "d", "e"]
    model, pixels = network("segformer").eval(), torch.randn(1, 3, 64, 64)
    with torch.inference_mode():
        ours = model(pixels * model.pixel_std.view(3, 1, 1) + model.pixel_mean.view(3, 1, 1))
        # Their LayerNorms all have 1e-5, ours here the official eps.
        assert torch.allclose(ours, theirs(pixels).logits, atol=1e-4)


@pytest.mark.parametrize("preset", ["segformer-b0-ade20k", "segformer-b5-ade20k", "mit-b0-imagenet"])
def test_hugging_faces_documents_are_read_back_as_they_were(preset):
    written = load_preset(preset)
    if written.labels is not None:  # their processor knows no aligned resize
        written = override(written, {"preprocessor.resize": {"mode": "exact", "size": [512, 640]}})
    found = configuration_from_huggingface(
        huggingface_config(written), huggingface_preprocessor(written), origin="these", preprocessor_origin="those"
    )
    eps = NormEps(patch=1e-5, reduction=1e-5, block=1e-5, stage=1e-5)
    encoder = replace(written.model.encoder, norm_eps=eps)
    assert replace(found.model, encoder=encoder) == replace(written.model, encoder=encoder)
    assert found.model.encoder.norm_eps == eps
    assert found.task == written.task
    if written.labels is not None:
        assert found.labels == written.labels
        assert found.preprocessor == written.preprocessor


def test_a_network_that_hugging_face_has_not_is_refused():
    with pytest.raises(InputError, match="all-MLP"):
        huggingface_config(load_preset("segformer-b0-cocostuff"))


LIBAI_NAMES = {
    "encoder.stages.0.embed.proj.weight": "segformer.patch_embeds.0.proj.weight",
    "encoder.stages.1.blocks.1.norm2.bias": "segformer.blocks.1.1.norm2.bias",
    "encoder.stages.2.blocks.0.attention.kv.weight": "segformer.blocks.2.0.attn.kv.weight",
    "encoder.stages.0.blocks.0.attention.reduction.norm.weight": "segformer.blocks.0.0.attn.norm.weight",
    "encoder.stages.3.blocks.1.mlp.fc1.weight": "segformer.blocks.3.1.mlp.dense_h_to_4h.weight",
    "encoder.stages.3.blocks.1.mlp.depthwise.weight": "segformer.blocks.3.1.mlp.dwconv.dwconv.weight",
    "encoder.stages.3.norm.weight": "segformer.layer_norms.3.weight",
    "head.levels.2.bias": "head.linear_c.2.proj.bias",
    "head.norm.running_var": "head.batch_norm.running_var",
    "head.fuse.weight": "head.linear_fuse.weight",
    "head.classifier.weight": "head.linear_pred.weight",
}


def test_libais_names():
    tensors = network("segformer").state_dict()
    written = write_dialect(tensors, "libai")
    assert len(written) == len(tensors) - 1  # OneFlow's files have no counter of batches
    assert [ours for ours, theirs in LIBAI_NAMES.items() if written[theirs] is not tensors[ours]] == []


@pytest.mark.parametrize(
    ("name", "dialect", "message"),
    [
        ("segformer", "mmseg", "no place for head.levels.0.bias. What fits it: nvlabs, huggingface, libai."),
        ("segformer-conv", "libai", "no place for head.level_norms.0.weight"),
        ("segmenter", "nvlabs", "other layers"),
        ("mit", "mmseg", "no place for classifier.weight"),
        ("segformer", "augreg", "augreg"),
    ],
)
def test_another_network_than_theirs_is_refused(name, dialect, message):
    with pytest.raises(InputError, match=message):
        write_dialect(network(name).state_dict(), dialect)


@pytest.fixture
def own_folder(tmp_path):
    from safetensors.torch import save_file

    save_file(network("segformer").state_dict(), str(tmp_path / "own.safetensors"))
    return convert(tmp_path / "own.safetensors", tmp_path / "own", labels=["a", "b", "c", "d", "e"])


@pytest.mark.parametrize(
    ("dialect", "names"), [("nvlabs", ("a", "b", "c", "d", "e")), ("libai", ("class 0", "class 1"))]
)
def test_a_written_file_converts_to_the_same_network(own_folder, tmp_path, dialect, names):
    path = convert_back(own_folder.path, tmp_path / "theirs.pth", dialect=dialect)
    path.with_name("theirs.pth.json").unlink()
    back = convert(path, tmp_path / "back")
    assert back.configuration.labels.names[: len(names)] == names
    expected = {key: t for key, t in own_tensors(own_folder).items() if not key.endswith("num_batches_tracked")}
    found = {key: t for key, t in own_tensors(back).items() if not key.endswith("num_batches_tracked")}
    assert_same(found, expected)


PALETTE = ((1, 2, 3), (4, 5, 6), (7, 8, 9), (10, 11, 12), (13, 14, 15))
RESIZES = (
    ShortSideResize(size=360, max_long_side=900, library="pillow"),
    ExactResize(size=(64, 96), library="opencv"),
    None,
)


def folder_with(own_folder, tmp_path, resize):
    """The folder with settings that no dialect has by default."""
    labels = LabelSet(names=tuple("abcde"), palette=PALETTE, raw_ids=(7, 0, 11, 3, 24), ignore_index=254)
    configuration = replace(
        own_folder.configuration,
        model=replace(own_folder.configuration.model, size_multiple=16),
        labels=labels,
        preprocessor=PreprocessorConfig(resize=resize),
        inference=InferenceConfig(scales=(0.75, 1.25), flip=True, combine="logits", upsampling="one-step"),
    )
    folder = tmp_path / "special"
    folder.mkdir()
    write_configuration(configuration, folder / "configuration.json")
    write_tensors(own_tensors(own_folder), folder / "model.safetensors")
    return folder, configuration


@pytest.mark.parametrize("resize", RESIZES)
@pytest.mark.parametrize(
    ("dialect", "name"),
    [
        ("nvlabs", "theirs.pth"), ("libai", "theirs.safetensors"), ("huggingface", "theirs"),
        ("huggingface", "theirs.bin"),
    ],
)  # fmt: skip
def test_the_way_to_a_dialect_and_back_keeps_the_whole_configuration(own_folder, tmp_path, dialect, name, resize):
    folder, configuration = folder_with(own_folder, tmp_path, resize)
    convert_back(folder, tmp_path / name, dialect=dialect)
    back = convert(tmp_path / name, tmp_path / "back")
    assert replace(back.configuration, weights=None) == configuration


def test_a_file_without_its_configuration_says_what_is_assumed_and_how_to_set_it(own_folder, tmp_path, caplog):
    path = convert_back(own_folder.path, tmp_path / "theirs.pth", dialect="nvlabs")
    convert(path, tmp_path / "first")
    assert "Assumed" not in caplog.text
    path.with_name("theirs.pth.json").unlink()
    convert(path, tmp_path / "second")
    assert re.search(r"theirs\.pth does not say .* nvlabs .*short side to 512.*preset=", caplog.text)


def test_names_alone_keep_the_palette_and_the_raw_ids_of_the_file(own_folder, tmp_path):
    folder, configuration = folder_with(own_folder, tmp_path, None)
    labels = convert(folder, tmp_path / "renamed", labels=["v", "w", "x", "y", "z"]).configuration.labels
    assert labels == replace(configuration.labels, names=("v", "w", "x", "y", "z"))
    given = LabelSet(names=tuple("vwxyz"))
    assert convert(folder, tmp_path / "again", labels=given).configuration.labels.palette == PALETTE
    colored = LabelSet(names=tuple("vwxyz"), palette=PALETTE[::-1])
    assert convert(folder, tmp_path / "colored", labels=colored).configuration.labels == colored


def test_a_file_is_never_overwritten_and_needs_a_known_kind(own_folder, tmp_path):
    with pytest.raises(InputError, match="exists"):
        convert_back(own_folder.path, tmp_path / "own.safetensors", dialect="libai")
    with pytest.raises(InputError, match=r"\.safetensors"):
        convert_back(own_folder.path, tmp_path / "theirs.onnx", dialect="libai")


LIBAI_CONFIG = """dataloader:
  test:
  - {_target_: libai.data.build_image_test_loader, mean: !!python/object/apply:numpy.array [1]}
model:
  _target_: projects.SegFormer.modeling.segformer_model.SegformerForSemanticSegmentation
  cfg:
    decoder_dropout_prob: 0.2
    decoder_embedding_dim: 768
    decoder_in_channels: [64, 128, 320, 512]
    depths: [2, 2, 2, 2]
    deptps: [3, 4, 6, 3]
    embed_dims: [64, 128, 320, 512]
    loss_func: null
    num_classes: 5
    num_heads: [1, 2, 5, 8]
    qk_scale: false
    qkv_bias: true
train:
  output_dir: ./output
"""


def test_libais_own_configuration_describes_the_file_beside_it(tmp_path):
    model = build_model(SegformerConfig(variant="b1", num_classes=5, head=HeadConfig(channels=768)))
    (tmp_path / "output").mkdir()
    torch.save(write_dialect(model.state_dict(), "libai"), tmp_path / "output" / "model.pth")
    (tmp_path / "output" / "config.yaml").write_text(LIBAI_CONFIG)
    folder = open_checkpoint(tmp_path / "output")
    assert folder.configuration.model.variant == "b1"  # the wide one with two blocks a stage
    assert folder.configuration.model.head == HeadConfig(channels=768, dropout=0.2)
    assert folder.configuration.model.encoder.norm_eps.block == 1e-5
    assert own_tensors(folder).keys() == model.state_dict().keys() - {"head.norm.num_batches_tracked"}


@pytest.mark.peer
def test_libais_configuration_is_read_as_pyyaml_writes_it(tmp_path):
    from segpipe.checkpoints.libai import read_libai_configuration

    yaml = pytest.importorskip("yaml")
    cfg = {"embed_dims": [32, 64, 160, 256], "depths": [2, 2, 2, 2], "num_classes": 1000, "loss_func": None}
    target = "projects.SegFormer.modeling.segformer_model.SegformerForImageClassification"
    document = {"model": {"_target_": target, "cfg": cfg}, "train": {"amp": {"enabled": True}, "dist": {"a": 1}}}
    text = yaml.dump(document, default_flow_style=None, allow_unicode=True, width=9999)
    (tmp_path / "config.yaml").write_text(text)
    configuration = read_libai_configuration(tmp_path / "config.yaml")
    assert configuration.task == "image-classification"
    assert (configuration.model.variant, configuration.model.num_classes) == ("b0", 1000)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("qkv_bias: true", "qkv_bias: false", r"model\.cfg\.qkv_bias"),
        ("depths: [2, 2, 2, 2]", "depths: [2, 2]", r"model\.cfg\.depths"),
        ("[64, 128, 320, 512]\n    depths", "[32, 64, 160, 256]\n    depths", r"model\.cfg\.decoder_in_channels"),
    ],
)
def test_what_libai_could_say_and_segpipe_has_not_is_named(tmp_path, old, new, message):
    from segpipe.checkpoints.libai import read_libai_configuration
    from segpipe.errors import ConfigurationError

    (tmp_path / "config.yaml").write_text(LIBAI_CONFIG.replace(old, new))
    with pytest.raises(ConfigurationError, match=message):
        read_libai_configuration(tmp_path / "config.yaml")
