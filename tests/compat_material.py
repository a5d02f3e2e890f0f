"""What ModelScope on loopback holds: a tiny SegFormer under the owner's id, and a tiny COCO-Stuff."""

from __future__ import annotations

import io
import json
import zipfile

import cv2
import numpy as np
import torch
from foreign_checkpoints import easycv_tensors

from segpipe.configuration import load_preset
from segpipe.configuration.codec import build_configuration
from segpipe.models import build_model

MODEL = "damo/cv_segformer-b0_image_semantic-segmentation_coco-stuff164k"


def tiny_segformer():
    """EasyCV's B0 with a quarter of the width and one block in each stage."""
    torch.manual_seed(0)
    encoder = {"dims": [8, 16, 40, 64], "depths": [1, 1, 1, 1], "heads": [1, 2, 5, 8]}
    head = {"type": "conv", "channels": 16}
    document = {"model": {"type": "segformer", "num_classes": 172, "encoder": encoder, "head": head}}
    return build_model(build_configuration(document, origin="test").model).eval()


def model_files(network) -> dict[str, bytes]:
    """What the model's repository holds."""
    checkpoint = io.BytesIO()
    torch.save({"state_dict": easycv_tensors(network), "meta": {"epoch": 30}}, checkpoint)
    document = {
        "task": "image-segmentation",
        "framework": "pytorch",
        "plugins": ["pai-easycv"],
        "preprocessor": {},
        "model": {
            "type": "Segformer",
            "backbone": {"type": "MixVisionTransformer", "embed_dims": 8, "num_layers": [1, 1, 1, 1]},
            "decode_head": {
                "type": "SegformerHead",
                "channels": 16,
                "num_classes": 172,
                "norm_cfg": {"type": "BN", "requires_grad": True},
            },
        },
        "dataset": {
            "val": {
                "pipeline": [
                    {"type": "MMMultiScaleFlipAug", "img_scale": {"__class__": "tuple", "__value__": [128, 64]}}
                ]
            }
        },
        "train": {
            "max_epochs": 30,
            "optimizer": {"type": "AdamW", "lr": 6e-05},
            "dataloader": {"batch_size_per_gpu": 2},
        },
        "pipeline": {"type": "easycv-segmentation"},
        "CLASSES": list(load_preset("segformer-b0-cocostuff").labels.names),
    }
    return {
        "configuration.json": json.dumps(document).encode(),
        "pytorch_model.pt": checkpoint.getvalue(),
        "README.md": "# Segformer-B0语义分割模型介绍\n".encode(),
    }


def coco_stuff_files(top: str = "") -> dict[str, bytes]:
    """Two images for each split in EasyCV's folders, whose labels hold class indices."""
    rng = np.random.default_rng(0)
    files: dict[str, bytes] = {}
    for split, folder in (("train", "train2017"), ("val", "val2017")):
        names = [f"{number:012d}" for number in range(2)]
        for name in names:
            image = rng.integers(0, 256, (70, 90, 3), dtype=np.uint8)
            label = rng.integers(0, 171, (7, 9), dtype=np.uint8).repeat(10, axis=0).repeat(10, axis=1)
            files[f"{top}{folder}/{name}.jpg"] = cv2.imencode(".jpg", image)[1].tobytes()
            files[f"{top}annotations/{folder}/{name}_labelTrainIds.png"] = cv2.imencode(".png", label)[1].tobytes()
        files[f"{top}{split}.txt"] = "\n".join(names).encode()
    return files


def packed(files: dict[str, bytes]) -> bytes:
    """A .zip of files."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return buffer.getvalue()
