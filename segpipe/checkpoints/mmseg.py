"""mmsegmentation: SegFormer with the convolutional head, and open-mmlab's ResNet-V1c."""

from __future__ import annotations

from segpipe.configuration import InferenceConfig, ShortSideResize
from segpipe.models import NormEps

from .implementation import Implementation, Procedure, with_meta
from .key_map import KeyMap, OneOutput, Pointwise, Prefix, Rename, Split, Unused
from .segformer_shapes import MIT_WEIGHT

NORM_EPS = NormEps(patch=1e-6, reduction=1e-6, block=1e-6, stage=1e-6)

MMSEG = Implementation(
    key_map=KeyMap(
        signature=("backbone.layers.0.0.projection.weight", "layers.0.0.projection.weight"),
        needs=MIT_WEIGHT,
        # Its head is another function than the all-MLP one, and it has no classifier of images.
        excluded=("classifier.*", "head.levels.{level}.bias"),
        rules=(
            Prefix("backbone.", ("layers.",), beside="decode_head."),
            Rename("layers.{stage}.0.projection.*", "encoder.stages.{stage}.embed.proj.*"),
            Rename("layers.{stage}.0.norm.*", "encoder.stages.{stage}.embed.norm.*"),
            Rename("layers.{stage}.1.*", "encoder.stages.{stage}.blocks.*"),
            Rename("layers.{stage}.2.*", "encoder.stages.{stage}.norm.*"),
            Split("*.attn.attn.in_proj_*", ("*.attention.q.*", "*.attention.kv.*"), ratio=(1, 2)),
            Rename("*.attn.attn.out_proj.*", "*.attention.proj.*"),
            Rename("*.attn.sr.*", "*.attention.reduction.proj.*"),
            Rename("*.attn.norm.*", "*.attention.reduction.norm.*"),
            Rename("*.ffn.layers.0.*", "*.mlp.fc1.*"),
            Rename("*.ffn.layers.1.*", "*.mlp.depthwise.*"),
            Rename("*.ffn.layers.4.*", "*.mlp.fc2.*"),
            Pointwise("*.mlp.fc{layer}.weight"),
            Rename("decode_head.convs.{level}.conv.*", "head.levels.{level}.*"),
            Rename("decode_head.convs.{level}.bn.*", "head.level_norms.{level}.*"),
            Rename("decode_head.fusion_conv.conv.*", "head.fuse.*"),
            Rename("decode_head.fusion_conv.bn.*", "head.norm.*"),
            Rename("decode_head.conv_seg.*", "head.classifier.*"),
            # Its decode head compares one output with 0.3 where its configuration names no threshold.
            OneOutput(0.3),
        ),
    ),
    procedure=Procedure(
        InferenceConfig(upsampling="two-step"),
        resize=ShortSideResize(size=512, max_long_side=2048, library="opencv"),
    ),
    norm_eps=NORM_EPS,
    pickled=with_meta,
)

RESNET_BACKBONE = (
    # Convolution, norm and ReLU count alike in the stem: 0 1 2, 3 4 5, 6 7 8.
    Rename("encoder.stem.0.*", "encoder.stem.0.conv.*"),
    Rename("encoder.stem.1.*", "encoder.stem.0.norm.*"),
    Rename("encoder.stem.3.*", "encoder.stem.2.conv.*"),
    Rename("encoder.stem.4.*", "encoder.stem.2.norm.*"),
    Rename("encoder.stem.6.*", "encoder.stem.4.conv.*"),
    Rename("encoder.stem.7.*", "encoder.stem.4.norm.*"),
    Rename("encoder.layer{stage+1}.{block}.*", "encoder.stages.{stage}.{block}.*"),
    Rename("encoder.stages.{stage}.{block}.conv{n}.*", "encoder.stages.{stage}.{block}.conv{n}.conv.*"),
    Rename("encoder.stages.{stage}.{block}.bn{n}.*", "encoder.stages.{stage}.{block}.conv{n}.norm.*"),
    Rename("encoder.*.downsample.0.*", "encoder.*.shortcut.conv.*"),
    Rename("encoder.*.downsample.1.*", "encoder.*.shortcut.norm.*"),
)
RESNET = Implementation(
    KeyMap(
        signature=("stem.0.weight",),
        needs="encoder.stem.0.conv.weight",
        has_head=False,
        rules=(Unused("fc.*"), Rename("*", "encoder.*"), *RESNET_BACKBONE),
    )
)
"""The files that open-mmlab offers of ResNet-V1c, trained on ImageNet."""
