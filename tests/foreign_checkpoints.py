"""Checkpoints as other implementations write them, from a network of ours: key tables written the other way round."""

from __future__ import annotations

import io
import json
import re

import torch

from segpipe.models import fit_tensors

EASYCV = (
    (r"^encoder\.stages\.(\d)\.embed\.proj\.", r"backbone.layers.\1.0.projection."),
    (r"^encoder\.stages\.(\d)\.embed\.norm\.", r"backbone.layers.\1.0.norm."),
    (r"^encoder\.stages\.(\d)\.norm\.", r"backbone.layers.\1.2."),
    (r"^encoder\.stages\.(\d)\.blocks\.", r"backbone.layers.\1.1."),
    (r"attention\.proj\.", "attn.attn.out_proj."),
    (r"attention\.reduction\.proj\.", "attn.sr."),
    (r"attention\.reduction\.norm\.", "attn.norm."),
    (r"mlp\.fc1\.", "ffn.layers.0."),
    (r"mlp\.depthwise\.", "ffn.layers.1."),
    (r"mlp\.fc2\.", "ffn.layers.4."),
    (r"^head\.levels\.(\d)\.", r"decode_head.convs.\1.conv."),
    (r"^head\.level_norms\.(\d)\.", r"decode_head.convs.\1.bn."),
    (r"^head\.fuse\.", "decode_head.fusion_conv.conv."),
    (r"^head\.norm\.", "decode_head.fusion_conv.bn."),
    (r"^head\.classifier\.", "decode_head.conv_seg."),
)
HUGGING_FACE = (
    (r"^encoder\.stages\.(\d)\.embed\.proj\.", r"segformer.encoder.patch_embeddings.\1.proj."),
    (r"^encoder\.stages\.(\d)\.embed\.norm\.", r"segformer.encoder.patch_embeddings.\1.layer_norm."),
    (r"^encoder\.stages\.(\d)\.norm\.", r"segformer.encoder.layer_norm.\1."),
    (r"^encoder\.stages\.(\d)\.blocks\.", r"segformer.encoder.block.\1."),
    (r"\.norm([12])\.", r".layer_norm_\1."),
    (r"attention\.q\.", "attention.self.query."),
    (r"attention\.k\.", "attention.self.key."),
    (r"attention\.v\.", "attention.self.value."),
    (r"attention\.proj\.", "attention.output.dense."),
    (r"attention\.reduction\.proj\.", "attention.self.sr."),
    (r"attention\.reduction\.norm\.", "attention.self.layer_norm."),
    (r"mlp\.fc1\.", "mlp.dense1."),
    (r"mlp\.fc2\.", "mlp.dense2."),
    (r"mlp\.depthwise\.", "mlp.dwconv.dwconv."),
    (r"^head\.levels\.(\d)\.", r"decode_head.linear_c.\1.proj."),
    (r"^head\.fuse\.", "decode_head.linear_fuse."),
    (r"^head\.norm\.", "decode_head.batch_norm."),
    (r"^head\.classifier\.", "decode_head.classifier."),
)


def easycv_tensors(model):
    """EasyCV's and mmsegmentation's layout: packed attention, 1x1 convolutions in the feed-forward network."""
    tensors = dict(model.state_dict())
    for key in [key for key in tensors if ".attention.q." in key]:
        packed = key.replace(".q.weight", ".attn.in_proj_weight").replace(".q.bias", ".attn.in_proj_bias")
        query, rest = tensors.pop(key), tensors.pop(key.replace(".q.", ".kv."))
        tensors[packed.replace("attention.", "attn.")] = torch.cat([query, rest])
    renamed = _rename(tensors, EASYCV)
    return {
        key: t[..., None, None] if re.search(r"ffn\.layers\.[04]\.weight", key) else t for key, t in renamed.items()
    }


def hugging_face_tensors(model):
    """Hugging Face's layout: keys and values apart."""
    tensors = dict(model.state_dict())
    for key in [key for key in tensors if ".attention.kv." in key]:
        both = tensors.pop(key)
        tensors[key.replace(".kv.", ".k.")], tensors[key.replace(".kv.", ".v.")] = both.chunk(2)
    return _rename(tensors, HUGGING_FACE)


def modelscope_repository(model, names):
    """The files of a SegFormer on ModelScope, B0 on COCO-Stuff."""
    checkpoint = io.BytesIO()
    torch.save({"state_dict": easycv_tensors(model), "meta": {"epoch": 30}, "author": "EasyCV"}, checkpoint)
    return {
        "configuration.json": json.dumps(_easycv_configuration(names)).encode(),
        "pytorch_model.pt": checkpoint.getvalue(),
        "README.md": b"# SegFormer-B0\n",
        "setup.py": b"raise SystemExit('never run this')",
    }


def hugging_face_repository(model, names, size):
    """The files of a SegFormer on Hugging Face, B0."""
    from safetensors.torch import save

    config = {
        "architectures": ["SegformerForSemanticSegmentation"],
        "model_type": "segformer",
        "hidden_sizes": [32, 64, 160, 256],
        "depths": [2, 2, 2, 2],
        "decoder_hidden_size": 256,
        "id2label": {str(index): name for index, name in enumerate(names)},
    }
    processor = {"do_resize": True, "size": {"height": size, "width": size}, "do_normalize": True, "resample": 2}
    return {
        "config.json": json.dumps(config).encode(),
        "preprocessor_config.json": json.dumps(processor).encode(),
        "model.safetensors": save({key: tensor.contiguous() for key, tensor in hugging_face_tensors(model).items()}),
    }


def _easycv_configuration(names):
    resize = {"type": "MMMultiScaleFlipAug", "img_scale": {"__class__": "tuple", "__value__": [2048, 512]}}
    return {
        "task": "image-segmentation",
        "framework": "pytorch",
        "plugins": ["pai-easycv"],
        "model": {
            "type": "Segformer",
            "backbone": {"type": "MixVisionTransformer", "embed_dims": 32, "num_layers": [2, 2, 2, 2]},
            "decode_head": {"type": "SegformerHead", "channels": 256, "num_classes": 172},
        },
        "dataset": {"val": {"pipeline": [resize]}},
        "pipeline": {"type": "easycv-segmentation"},
        "CLASSES": list(names),
    }


def _rename(tensors, table):
    renamed = {}
    for key, tensor in tensors.items():
        for pattern, replacement in table:
            key = re.sub(pattern, replacement, key)
        renamed[key] = tensor
    return renamed


def apply_tensors(model, tensors, *, origin):
    """Put tensors into a model; each must be taken and none may be left, see `fit_tensors`."""
    model.load_state_dict(fit_tensors(model, tensors, origin=origin), strict=False)
