"""Every implementation's rules: what they write of any network they read back to the bit, and the other way round."""

import pytest
import torch
from hypothesis import given, settings, strategies as st

from segpipe.checkpoints import IMPLEMENTATIONS, detect_dialect
from segpipe.checkpoints.key_map import KeyMap, Pack, Prefix, Rename, Spelling, Split, Unused
from segpipe.models import (
    DeitConfig,
    EncoderConfig,
    HeadConfig,
    MitConfig,
    ResNetConfig,
    SegformerConfig,
    SegmenterConfig,
    SegmenterHeadConfig,
    UneptConfig,
    VitConfig,
    build_outline,
)

CLASSES = st.integers(2, 5)
SIZES = st.sampled_from([(32, 32), (32, 48)])


@st.composite
def mix_transformers(draw):
    heads = draw(st.tuples(*[st.integers(1, 3)] * 4))
    return EncoderConfig(
        dims=tuple(8 * count for count in heads),
        depths=draw(st.tuples(*[st.integers(1, 3)] * 4)),
        heads=heads,
        reductions=draw(st.tuples(*[st.sampled_from([1, 2, 4])] * 4)),
        mlp_ratio=draw(st.integers(1, 4)),
    )


def vision_transformers(config, **fields):
    return st.builds(
        config, dim=st.sampled_from([64, 128]), depth=st.integers(3, 4), image_size=SIZES, distilled=st.booleans(),
        **fields,
    )  # fmt: skip


def segmenters(kind):
    head = st.builds(SegmenterHeadConfig, type=st.just(kind), depth=st.integers(1, 2))
    return st.builds(SegmenterConfig, num_classes=CLASSES, head=head, encoder=vision_transformers(VitConfig))


def unepts(encoder):
    return st.builds(
        UneptConfig, num_classes=CLASSES, encoder=encoder, dim=st.sampled_from([32, 64]), hidden=st.integers(8, 16),
        depth=st.integers(1, 2), points=st.integers(1, 2), levels=st.integers(1, 3), query_grid=st.just((2, 3)),
    )  # fmt: skip


def segformers(kind):
    head = st.builds(HeadConfig, type=st.just(kind), channels=st.integers(4, 8))
    return st.builds(SegformerConfig, num_classes=CLASSES, head=head, encoder=mix_transformers())


RESNETS = st.builds(
    ResNetConfig, depths=st.tuples(*[st.integers(1, 2)] * 4), channels=st.sampled_from([4, 8])
)  # fmt: skip
NETWORKS = {
    "segformer": segformers("mlp"),
    "segformer-conv": segformers("conv"),
    "mit": st.builds(MitConfig, num_classes=CLASSES, encoder=mix_transformers()),
    "segmenter": segmenters("mask"),
    "segmenter-linear": segmenters("linear"),
    "unept-deit": unepts(vision_transformers(DeitConfig)),
    "unept-resnet": unepts(RESNETS),
}
PAIRS = [
    *(("segformer", dialect) for dialect in ("nvlabs", "huggingface", "libai")),
    *(("segformer-conv", dialect) for dialect in ("mmseg", "easycv")),
    *(("mit", dialect) for dialect in ("nvlabs", "huggingface", "libai")),
    *((name, dialect) for name in ("segmenter", "segmenter-linear") for dialect in ("segmenter", "vit", "augreg")),
    *(("unept-deit", dialect) for dialect in ("unept", "vit", "augreg")),
    *(("unept-resnet", dialect) for dialect in ("unept", "resnet")),
]


def random_tensors(config, seed):
    """Tensors of a network's names and shapes, with other numbers in each."""
    generator = torch.Generator().manual_seed(seed)
    shapes = {key: tensor.shape for key, tensor in build_outline(config).state_dict().items()}
    return {key: torch.rand(shape, generator=generator) for key, shape in shapes.items()}


def assert_equal(found, expected):
    assert found.keys() == expected.keys()
    assert [key for key in found if not torch.equal(found[key], expected[key])] == []


@pytest.mark.parametrize(("name", "dialect"), PAIRS)
@settings(max_examples=5, deadline=None, derandomize=True)
@given(data=st.data())
def test_what_is_written_is_read_back_to_the_bit_and_written_again_the_same(name, dialect, data):
    key_map = IMPLEMENTATIONS[dialect].key_map
    ours = random_tensors(data.draw(NETWORKS[name]), data.draw(st.integers(0, 99)))
    theirs = key_map.write(ours)
    if not key_map.has_head:
        ours = {key: tensor for key, tensor in ours.items() if key.startswith("encoder.")}
    if dialect == "libai":
        ours = {key: tensor for key, tensor in ours.items() if not key.endswith("num_batches_tracked")}
    assert detect_dialect(theirs, origin="these") == ("mmseg" if dialect == "easycv" else dialect)
    assert_equal(key_map.read(theirs), ours)
    assert_equal(key_map.write(key_map.read(theirs)), theirs)


def test_every_implementation_is_tried_here():
    assert {dialect for _, dialect in PAIRS} == IMPLEMENTATIONS.keys() - {"segpipe"}


def named(*names):
    return {name: torch.arange(6.0) + index for index, name in enumerate(names)}


def test_a_number_is_counted_from_one_where_the_pattern_says_so():
    rule = Rename("block{stage+1}.{block}.*", "stages.{stage}.blocks.{block}.*")
    theirs = named("block1.0.x", "block12.3.y.z", "block0.1.x", "block1.a.x")
    ours = rule.read(theirs)
    assert list(ours) == ["stages.0.blocks.0.x", "stages.11.blocks.3.y.z", "block0.1.x", "block1.a.x"]
    assert list(rule.write(ours)) == list(theirs)


def test_pieces_are_cut_in_their_shares_and_joined_where_all_are_there():
    split = Split("*.qkv", ("*.q", "*.kv"), ratio=(1, 2))
    ours = split.read(named("a.qkv"))
    assert {key: tensor.tolist() for key, tensor in ours.items()} == {"a.q": [0, 1], "a.kv": [2, 3, 4, 5]}
    assert_equal(split.write(ours), named("a.qkv"))
    pack = Pack(("*.k", "*.v"), "*.kv")
    assert list(pack.read(named("a.k", "b.k", "b.v"))) == ["a.k", "b.kv"]


def test_a_prefix_is_written_beside_a_head_alone():
    rule = Prefix("backbone.", ("layers.",), beside="head.")
    assert list(rule.read(named("backbone.layers.0", "head.x"))) == ["layers.0", "head.x"]
    assert list(rule.write(named("layers.0", "head.x"))) == ["backbone.layers.0", "head.x"]
    assert list(rule.write(named("layers.0", "classifier.x"))) == ["layers.0", "classifier.x"]


def test_rules_are_applied_backwards_when_a_file_is_written():
    key_map = KeyMap(
        signature=("a.x",),
        rules=(Unused("a.y"), Spelling("z.*", "a.*"), Rename("a.*", "b.*"), Rename("b.x.{n}", "b.w.{n}")),
    )
    assert list(key_map.read(named("a.x.1", "a.y", "z.q"))) == ["b.w.1", "b.q"]
    assert list(key_map.write(named("b.w.1", "b.q"))) == ["a.x.1", "a.q"]
