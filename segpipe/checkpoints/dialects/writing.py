"""Our tensors under the names of other implementations: the way back from `translate`."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from segpipe.errors import InputError
from segpipe.names import unknown_name_message

from .rules import Tensors, keep

Renamings = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class WritingRules:
    """How our tensors become those of one implementation.

    Attributes:
        signature: a key of ours that a network must have to be written like this, as a regular expression.
        renamings: (pattern, replacement) pairs, applied in order; "<stage>" is our stage in the pattern, counted from
            0, and theirs in the replacement, counted from 1.
        excluded: keys of ours that this implementation has no place for: a network with one is refused.
        cut: what is done to our tensors where theirs are cut into other pieces.
        encoder: what stands before the encoder's names where there is a head for dense predictions.
        has_head: whether heads are written; else the encoder alone.
    """

    signature: str
    renamings: Renamings
    excluded: str = r"$^"
    cut: Callable[[Tensors], Tensors] = keep
    encoder: str = ""
    has_head: bool = True

    def refused(self, tensors: Mapping[str, Tensor]) -> str | None:
        """Why the network is another one than theirs; None: it is not."""
        strange = next((key for key in tensors if re.search(self.excluded, key)), None)
        if strange is not None:
            return f"it has no place for {strange}"
        is_known = any(re.search(self.signature, key) for key in tensors)
        return None if is_known else "its networks have other layers"

    def apply(self, tensors: Mapping[str, Tensor], dialect: str) -> Tensors:
        """The tensors in their names; InputError where the network is another one than theirs."""
        refused = self.refused(tensors)
        if refused:
            fitting = [name for name, rules in WRITTEN_DIALECTS.items() if not rules.refused(tensors)]
            raise InputError(
                f"This network cannot be written in the names of {dialect}: {refused}. "
                f"What fits it: {', '.join(fitting) or 'none'}."
            )
        chosen = {key: tensor for key, tensor in tensors.items() if self.has_head or key.startswith("encoder.")}
        prefix = self.encoder if any(key.startswith("head.") or key == "queries" for key in chosen) else ""
        return {
            _rename(key, self.renamings).replace("<encoder>", prefix): tensor
            for key, tensor in self.cut(chosen).items()
        }


def write_dialect(tensors: Mapping[str, Tensor], dialect: str) -> Tensors:
    """Tensors in our names → the same in a dialect's; `translate` brings them back, bit for bit.

    LiBai's files do not have BatchNorm's counter of batches; "vit" and "resnet" are files of an encoder alone.

    Raises:
        InputError: for a dialect that is only read, or has no such network.
    """
    if dialect == "segpipe":
        return dict(tensors)
    if dialect not in WRITTEN_DIALECTS:
        raise InputError(unknown_name_message("dialect to write", dialect, ("segpipe", *WRITTEN_DIALECTS)))
    return WRITTEN_DIALECTS[dialect].apply(tensors, dialect)


def pack_attention(tensors: Tensors) -> Tensors:
    """As mmcv has it: query, key and value in one piece, and a feed-forward network of 1x1 convolutions."""
    packed: Tensors = {}
    for key, tensor in tensors.items():
        if ".attention.q." in key:
            packed[key.replace(".q.", ".qkv.")] = torch.cat([tensor, tensors[key.replace(".q.", ".kv.")]])
        elif ".attention.kv." not in key:
            packed[key] = _as_convolution(tensor) if re.search(r"\.mlp\.fc[12]\.weight$", key) else tensor
    return packed


def split_keys_and_values(tensors: Tensors) -> Tensors:
    """As Hugging Face has it: query, key and value each on its own."""
    split: Tensors = {}
    for key, tensor in tensors.items():
        if ".attention.kv." in key:
            split[key.replace(".kv.", ".k.")], split[key.replace(".kv.", ".v.")] = tensor.chunk(2)
        else:
            split[key] = tensor
    return split


def drop_batch_counts(tensors: Tensors) -> Tensors:
    """Without BatchNorm's counters, which OneFlow's files do not have."""
    return {key: tensor for key, tensor in tensors.items() if not key.endswith("num_batches_tracked")}


def unept_convolutions(tensors: Tensors) -> Tensors:
    """UN-EPT's linear layers on maps are 1x1 convolutions there."""
    return {
        key: _as_convolution(tensor) if re.search(r"^(pyramid\.\d|classifier)\.weight$", key) else tensor
        for key, tensor in tensors.items()
    }


_MIT = r"^encoder\.stages\.0\.embed\."
_VIT = r"^encoder\.embed\.weight$"

_NVLABS_BLOCK: Renamings = (
    (r"\.attention\.(q|kv|proj)\.", r".attn.\1."),
    (r"\.attention\.reduction\.proj\.", ".attn.sr."),
    (r"\.attention\.reduction\.norm\.", ".attn.norm."),
    (r"\.mlp\.depthwise\.", ".mlp.dwconv.dwconv."),
)
_TIMM: Renamings = (
    (r"^encoder\.class_token$", "<encoder>cls_token"),
    (r"^encoder\.distillation_token$", "<encoder>dist_token"),
    (r"^encoder\.positions\.weight$", "<encoder>pos_embed"),
    (r"^encoder\.embed\.", "<encoder>patch_embed.proj."),
    (r"^encoder\.(blocks|norm)\.", r"<encoder>\1."),
    (r"^(<encoder>|decoder\.)blocks\.(\d+)\.attention\.", r"\1blocks.\2.attn."),
)
_RESNET: Renamings = (
    # Convolution, norm and ReLU count alike in the stem: 0 1 2, 3 4 5, 6 7 8.
    (r"^encoder\.stem\.0\.conv\.", "<encoder>stem.0."),
    (r"^encoder\.stem\.0\.norm\.", "<encoder>stem.1."),
    (r"^encoder\.stem\.2\.conv\.", "<encoder>stem.3."),
    (r"^encoder\.stem\.2\.norm\.", "<encoder>stem.4."),
    (r"^encoder\.stem\.4\.conv\.", "<encoder>stem.6."),
    (r"^encoder\.stem\.4\.norm\.", "<encoder>stem.7."),
    (r"^encoder\.stages\.<stage>\.(\d+)\.", r"<encoder>layer<stage>.\1."),
    (r"^(<encoder>layer\d\.\d+)\.conv(\d)\.conv\.", r"\1.conv\2."),
    (r"^(<encoder>layer\d\.\d+)\.conv(\d)\.norm\.", r"\1.bn\2."),
    (r"\.shortcut\.conv\.", ".downsample.0."),
    (r"\.shortcut\.norm\.", ".downsample.1."),
)

_MMSEG = WritingRules(
    signature=_MIT,
    # Its head is another function than the all-MLP one, and it has no classifier of pictures.
    excluded=r"^classifier\.|^head\.levels\.\d\.bias$",
    cut=pack_attention,
    encoder="backbone.",
    renamings=(
        (r"^encoder\.stages\.(\d)\.embed\.proj\.", r"<encoder>layers.\1.0.projection."),
        (r"^encoder\.stages\.(\d)\.embed\.norm\.", r"<encoder>layers.\1.0.norm."),
        (r"^encoder\.stages\.(\d)\.norm\.", r"<encoder>layers.\1.2."),
        (r"^encoder\.stages\.(\d)\.blocks\.", r"<encoder>layers.\1.1."),
        (r"\.attention\.qkv\.(weight|bias)$", r".attn.attn.in_proj_\1"),
        (r"\.attention\.proj\.", ".attn.attn.out_proj."),
        (r"\.attention\.reduction\.proj\.", ".attn.sr."),
        (r"\.attention\.reduction\.norm\.", ".attn.norm."),
        (r"\.mlp\.fc1\.", ".ffn.layers.0."),
        (r"\.mlp\.depthwise\.", ".ffn.layers.1."),
        (r"\.mlp\.fc2\.", ".ffn.layers.4."),
        (r"^head\.levels\.(\d)\.", r"decode_head.convs.\1.conv."),
        (r"^head\.level_norms\.(\d)\.", r"decode_head.convs.\1.bn."),
        (r"^head\.fuse\.", "decode_head.fusion_conv.conv."),
        (r"^head\.norm\.", "decode_head.fusion_conv.bn."),
        (r"^head\.classifier\.", "decode_head.conv_seg."),
    ),
)
_NVLABS = WritingRules(
    signature=_MIT,
    excluded=r"^head\.level_norms\.",
    encoder="backbone.",
    renamings=(
        (r"^encoder\.stages\.<stage>\.embed\.", "<encoder>patch_embed<stage>."),
        (r"^encoder\.stages\.<stage>\.blocks\.", "<encoder>block<stage>."),
        (r"^encoder\.stages\.<stage>\.norm\.", "<encoder>norm<stage>."),
        *_NVLABS_BLOCK,
        (r"^head\.levels\.<stage>\.", "decode_head.linear_c<stage>.proj."),
        (r"^head\.fuse\.", "decode_head.linear_fuse.conv."),
        (r"^head\.norm\.", "decode_head.linear_fuse.bn."),
        (r"^head\.classifier\.", "decode_head.linear_pred."),
        (r"^classifier\.", "head."),
    ),
)
_HUGGINGFACE = WritingRules(
    signature=_MIT,
    excluded=r"^head\.level_norms\.",
    cut=split_keys_and_values,
    renamings=(
        (r"^encoder\.stages\.(\d)\.embed\.proj\.", r"segformer.encoder.patch_embeddings.\1.proj."),
        (r"^encoder\.stages\.(\d)\.embed\.norm\.", r"segformer.encoder.patch_embeddings.\1.layer_norm."),
        (r"^encoder\.stages\.(\d)\.norm\.", r"segformer.encoder.layer_norm.\1."),
        (r"^encoder\.stages\.(\d)\.blocks\.", r"segformer.encoder.block.\1."),
        (r"\.norm([12])\.", r".layer_norm_\1."),
        (r"\.attention\.q\.", ".attention.self.query."),
        (r"\.attention\.k\.", ".attention.self.key."),
        (r"\.attention\.v\.", ".attention.self.value."),
        (r"\.attention\.proj\.", ".attention.output.dense."),
        (r"\.attention\.reduction\.proj\.", ".attention.self.sr."),
        (r"\.attention\.reduction\.norm\.", ".attention.self.layer_norm."),
        (r"\.mlp\.fc1\.", ".mlp.dense1."),
        (r"\.mlp\.fc2\.", ".mlp.dense2."),
        (r"\.mlp\.depthwise\.", ".mlp.dwconv.dwconv."),
        (r"^head\.levels\.(\d)\.", r"decode_head.linear_c.\1.proj."),
        (r"^head\.fuse\.", "decode_head.linear_fuse."),
        (r"^head\.norm\.", "decode_head.batch_norm."),
        (r"^head\.classifier\.", "decode_head.classifier."),
    ),
)
_LIBAI = WritingRules(
    signature=_MIT,
    excluded=r"^head\.level_norms\.",
    cut=drop_batch_counts,
    renamings=(
        (r"^encoder\.stages\.(\d)\.embed\.", r"segformer.patch_embeds.\1."),
        (r"^encoder\.stages\.(\d)\.blocks\.", r"segformer.blocks.\1."),
        (r"^encoder\.stages\.(\d)\.norm\.", r"segformer.layer_norms.\1."),
        *_NVLABS_BLOCK,
        (r"\.mlp\.fc1\.", ".mlp.dense_h_to_4h."),
        (r"\.mlp\.fc2\.", ".mlp.dense_4h_to_h."),
        (r"^head\.levels\.(\d)\.", r"head.linear_c.\1.proj."),
        (r"^head\.fuse\.", "head.linear_fuse."),
        (r"^head\.norm\.", "head.batch_norm."),
        (r"^head\.classifier\.", "head.linear_pred."),
        (r"^classifier\.", "head."),
    ),
)
_SEGMENTER = WritingRules(
    signature=r"^encoder\.norm\.weight$",
    excluded=r"^(context|encoder\.stages|encoder\.stem)\.",
    encoder="encoder.",
    renamings=(
        (r"^head\.classifier\.(weight|bias)$", r"decoder.head.\1"),
        (r"^head\.classifier\.tokens$", "decoder.cls_emb"),
        (r"^head\.classifier\.norm\.", "decoder.mask_norm."),
        (r"^head\.embed\.", "decoder.proj_dec."),
        (r"^head\.patch_projection$", "decoder.proj_patch"),
        (r"^head\.class_projection$", "decoder.proj_classes"),
        (r"^head\.norm\.", "decoder.decoder_norm."),
        (r"^head\.blocks\.", "decoder.blocks."),
        *_TIMM,
    ),
)
_UNEPT = WritingRules(
    signature=r"^context\.level_embeddings$",
    cut=unept_convolutions,
    encoder="backbone.",
    renamings=(
        *_TIMM,
        *_RESNET,
        (r"^pyramid\.", "layers."),
        (r"^classifier\.", "cls."),
        (r"^queries$", "query_embed.weight"),
        (r"^spatial\.layers\.<stage>\.conv\.", "spatial_branch.convblock<stage>.conv1."),
        (r"^spatial\.layers\.<stage>\.norm\.", "spatial_branch.convblock<stage>.bn."),
        (r"^direction_head\.", "dir_head."),
        (r"^(mask|dir)_head\.2\.", r"\1_head.3."),
        (r"^(mask|dir)_head\.0\.norm\.", r"\1_head.1."),
        (r"^(mask|dir)_head\.0\.conv\.", r"\1_head.0."),
        (r"attention\.offsets\.", "attention.sampling_offsets."),
        (r"attention\.weights\.", "attention.attention_weights."),
        (r"attention\.value\.", "attention.value_proj."),
        (r"^(context\.(?:pyramid_layers\.\d+\.|query_layers\.\d+\.cross_)attention)\.proj\.", r"\1.output_proj."),
        (r"^context\.level_embeddings$", "context_branch.level_embed"),
        (r"^context\.pyramid_layers\.(\d+)\.attention\.", r"context_branch.encoder.layers.\1.self_attn."),
        (r"^context\.pyramid_layers\.", "context_branch.encoder.layers."),
        # Theirs are numbered as they were written, ours in the order of computation.
        (r"^context\.query_layers\.(\d+)\.norm1\.", r"context_branch.decoder.layers.\1.norm2."),
        (r"^context\.query_layers\.(\d+)\.norm2\.", r"context_branch.decoder.layers.\1.norm1."),
        (
            r"^context\.query_layers\.(\d+)\.self_attention\.qkv\.",
            r"context_branch.decoder.layers.\1.self_attn.in_proj_",
        ),
        (
            r"^context\.query_layers\.(\d+)\.self_attention\.proj\.",
            r"context_branch.decoder.layers.\1.self_attn.out_proj.",
        ),
        (r"^context\.query_layers\.(\d+)\.cross_attention\.", r"context_branch.decoder.layers.\1.cross_attn."),
        (r"^context\.query_layers\.", "context_branch.decoder.layers."),
        (r"^(context_branch\..*)\.mlp\.fc(\d)\.", r"\1.linear\2."),
    ),
)

# "augreg" is read alone: Flax's kernels are cut by the number of heads, which tensors do not say.
WRITTEN_DIALECTS: dict[str, WritingRules] = {
    "nvlabs": _NVLABS,
    "mmseg": _MMSEG,
    "easycv": _MMSEG,
    "huggingface": _HUGGINGFACE,
    "libai": _LIBAI,
    "segmenter": _SEGMENTER,
    "unept": _UNEPT,
    "vit": WritingRules(signature=_VIT, renamings=_TIMM, has_head=False),
    "resnet": WritingRules(signature=r"^encoder\.stem\.0\.conv\.weight$", renamings=_RESNET, has_head=False),
}


def _as_convolution(weight: Tensor) -> Tensor:
    """(E, D) → (E, D, 1, 1); what has four dimensions stays."""
    return weight[..., None, None] if weight.dim() == 2 else weight


def _rename(key: str, renamings: Renamings) -> str:
    for pattern, replacement in renamings:
        if "<stage>" not in pattern:
            key = re.sub(pattern, replacement, key)
            continue
        for ours in range(4):
            numbered = re.sub(pattern.replace("<stage>", str(ours)), replacement.replace("<stage>", str(ours + 1)), key)
            if numbered != key:
                key = numbered
                break
    return key
