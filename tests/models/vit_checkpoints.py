"""Vision Transformers as others write them: key tables written independently of the renamings under test."""

from __future__ import annotations

import re

import torch

# transformers 4 and 5 → timm
HUGGING_FACE_TO_TIMM = (
    (r"^embeddings\.cls_token$", "cls_token"),
    (r"^embeddings\.distillation_token$", "dist_token"),
    (r"^embeddings\.position_embeddings$", "pos_embed"),
    (r"^embeddings\.patch_embeddings\.projection\.", "patch_embed.proj."),
    (r"^(encoder\.layer|layers)\.(\d+)\.", r"blocks.\2."),
    (r"\.layernorm_before\.", ".norm1."),
    (r"\.layernorm_after\.", ".norm2."),
    (r"\.attention\.(attention\.query|q_proj)\.", ".attn.q."),
    (r"\.attention\.(attention\.key|k_proj)\.", ".attn.k."),
    (r"\.attention\.(attention\.value|v_proj)\.", ".attn.v."),
    (r"\.attention\.(output\.dense|o_proj)\.", ".attn.proj."),
    (r"\.intermediate\.dense\.", ".mlp.fc1."),
    (r"\.output\.dense\.", ".mlp.fc2."),
    (r"^layernorm\.", "norm."),
)


def timm_tensors(hugging_face_model):
    """timm's names and packed attention for the state of a transformers ViTModel or DeiTModel."""
    renamed = {}
    for key, tensor in hugging_face_model.state_dict().items():
        for pattern, replacement in HUGGING_FACE_TO_TIMM:
            key = re.sub(pattern, replacement, key)
        renamed[key] = tensor
    packed = {key: tensor for key, tensor in renamed.items() if not re.search(r"\.attn\.[qkv]\.", key)}
    for key in renamed:
        if ".attn.q." in key:
            parts = [renamed[key.replace(".q.", f".{part}.")] for part in "qkv"]
            packed[key.replace(".q.", ".qkv.")] = torch.cat(parts)
    return packed


def flax_arrays(timm, heads, *, prefix=""):
    """The augreg series' .npz layout of timm's tensors, with ImageNet's classifier, as NumPy arrays."""
    dim = timm["norm.weight"].shape[0]
    arrays = {
        "cls": timm["cls_token"],
        "embedding/kernel": timm["patch_embed.proj.weight"].permute(2, 3, 1, 0),
        "embedding/bias": timm["patch_embed.proj.bias"],
        "Transformer/posembed_input/pos_embedding": timm["pos_embed"],
        "Transformer/encoder_norm/scale": timm["norm.weight"],
        "Transformer/encoder_norm/bias": timm["norm.bias"],
        "head/kernel": torch.zeros(dim, 1000),
        "head/bias": torch.zeros(1000),
    }
    for index in range(len({key.split(".")[1] for key in timm if key.startswith("blocks.")})):
        arrays |= _flax_block(timm, f"blocks.{index}", f"Transformer/encoderblock_{index}", heads)
    return {f"{prefix}{key}": tensor.numpy() for key, tensor in arrays.items()}


def _flax_block(timm, theirs, name, heads):
    arrays = {}
    for norm, place in (("norm1", "LayerNorm_0"), ("norm2", "LayerNorm_2")):
        arrays[f"{name}/{place}/scale"] = timm[f"{theirs}.{norm}.weight"]
        arrays[f"{name}/{place}/bias"] = timm[f"{theirs}.{norm}.bias"]
    attention = f"{name}/MultiHeadDotProductAttention_1"
    weights, biases = timm[f"{theirs}.attn.qkv.weight"].chunk(3), timm[f"{theirs}.attn.qkv.bias"].chunk(3)
    for part, weight, bias in zip(("query", "key", "value"), weights, biases, strict=True):
        arrays[f"{attention}/{part}/kernel"] = weight.T.reshape(len(weight), heads, -1)
        arrays[f"{attention}/{part}/bias"] = bias.reshape(heads, -1)
    out = timm[f"{theirs}.attn.proj.weight"]
    arrays[f"{attention}/out/kernel"] = out.T.reshape(heads, -1, len(out))
    arrays[f"{attention}/out/bias"] = timm[f"{theirs}.attn.proj.bias"]
    for index in (0, 1):
        arrays[f"{name}/MlpBlock_3/Dense_{index}/kernel"] = timm[f"{theirs}.mlp.fc{index + 1}.weight"].T
        arrays[f"{name}/MlpBlock_3/Dense_{index}/bias"] = timm[f"{theirs}.mlp.fc{index + 1}.bias"]
    return arrays
