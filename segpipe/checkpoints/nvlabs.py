"""NVlabs' SegFormer, the original (Xie et al. 2021): its tensor names, and how its scores were measured."""

from __future__ import annotations

from segpipe.configuration import InferenceConfig, ShortSideResize
from segpipe.models import LEVEL_STRIDE, NormEps

from .implementation import Implementation, Procedure, with_meta
from .key_map import KeyMap, Prefix, Rename, Unused
from .segformer_shapes import MIT_WEIGHT, OTHER_HEAD

BLOCK = (
    Rename("*.attn.*", "*.attention.*"),
    Rename("*.attention.sr.*", "*.attention.reduction.proj.*"),
    Rename("*.attention.norm.*", "*.attention.reduction.norm.*"),
    Rename("*.mlp.dwconv.dwconv.*", "*.mlp.depthwise.*"),
)

NVLABS = Implementation(
    key_map=KeyMap(
        signature=("backbone.patch_embed1.proj.weight", "patch_embed1.proj.weight"),
        needs=MIT_WEIGHT,
        excluded=OTHER_HEAD,
        rules=(
            Prefix("backbone.", ("patch_embed", "block", "norm"), beside="decode_head."),
            # A classifier of mmsegmentation's base class that SegFormer's head never calls.
            Unused("decode_head.conv_seg.*"),
            Rename("patch_embed{stage+1}.*", "encoder.stages.{stage}.embed.*"),
            Rename("block{stage+1}.{block}.*", "encoder.stages.{stage}.blocks.{block}.*"),
            Rename("norm{stage+1}.*", "encoder.stages.{stage}.norm.*"),
            *BLOCK,
            Rename("head.*", "classifier.*"),
            Rename("decode_head.linear_c{level+1}.proj.*", "head.levels.{level}.*"),
            Rename("decode_head.linear_fuse.conv.*", "head.fuse.*"),
            Rename("decode_head.linear_fuse.bn.*", "head.norm.*"),
            Rename("decode_head.linear_pred.*", "head.classifier.*"),
        ),
    ),
    # Images are not padded, but resized up to a multiple.
    procedure=Procedure(
        InferenceConfig(scale_rounding="down", upsampling="two-step"),
        resize=ShortSideResize(size=512, max_long_side=2048, library="opencv", multiple=LEVEL_STRIDE),
    ),
    norm_eps=NormEps(),
    pickled=with_meta,
)
