"""Model folders for the contestants: 172 classes, without a download, with label maps that look like real ones.

Both libraries run the same folder, in Hugging Face's format. Logits of random weights are noise,
and noise has class boundaries everywhere, which no trained network's label map has. So:

b0          the B0 that segpipe ships, trained on street scenes, its 11 classes split into 172
b2          a B2 that computes what b0 computes
b0-random   a B0 with nothing but random weights: the worst case for a label map that saves work
cocostuff   the preset segformer-b0-cocostuff as it is, with weights that compute what b0 computes
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from .enlarging import Tensors, enlarge
from .runs import tell

NUM_CLASSES = 172
BUNDLED = "segformer-b0-camvid.safetensors"
SHAPES = {"b0": ((32, 64, 160, 256), (2, 2, 2, 2), 256), "b2": ((64, 128, 320, 512), (3, 4, 6, 3), 768)}
"""Channels, blocks per stage and width of the head."""
PERTURBATION = 0.7
"""Size of what distinguishes the copies of a class, in standard deviations of the classifier's weights."""
PENALTY = 1.0
"""How much lower each further copy of a class begins. Both were chosen so that a street has about
20 classes, a mean winning probability near 0.5 and boundaries at 10 to 20 % of the grid."""
RELU_OFFSET = 128.0


class WriteNetwork(Protocol):
    """Writes a folder in Hugging Face's format."""

    def __call__(self, folder: Path, num_classes: int = NUM_CLASSES) -> None: ...


def prepare_networks(options: argparse.Namespace, folder: Path) -> dict[str, Path]:
    """Model folders by what the tables call them: those of --network, made here, and those of --model."""
    folders = {}
    num_classes = getattr(options, "classes", NUM_CLASSES)
    for name in options.network:
        tell(f"making the network {name}")
        NETWORKS[name](folder / name, num_classes)
        folders[name if num_classes == NUM_CLASSES else f"{name}, {num_classes} classes"] = folder / name
    for path in options.model:
        if not (path / "config.json").is_file():
            raise SystemExit(f"{path} has no config.json. Name a folder in Hugging Face's format.")
        folders[path.resolve().name] = path.resolve()
    return folders


def write_b0(folder: Path, num_classes: int = NUM_CLASSES) -> None:
    """The bundled network with so many classes, in Hugging Face's format."""
    model = _new_model("b0", num_classes)
    tensors = _bundled_tensors(num_classes)
    _apply_ours(model, tensors)
    _save(model, folder)


def write_b0_random(folder: Path, num_classes: int = NUM_CLASSES) -> None:
    """Nothing but random weights, in Hugging Face's format."""
    _save(_new_model("b0", num_classes), folder)


def write_untrained(variant: str, folder: Path) -> None:
    """A network to begin training with, in Hugging Face's format; `variant` is one of `SHAPES`."""
    _save(_new_model(variant, NUM_CLASSES), folder)


def write_b2(folder: Path, num_classes: int = NUM_CLASSES) -> None:
    """A B2 with the label maps of `write_b0`'s network, in Hugging Face's format."""
    from segpipe.checkpoints import translate

    model = _new_model("b2", num_classes)
    ours = translate(model.state_dict(), "huggingface")
    shapes = {name: tensor.shape for name, tensor in ours.items() if tensor.dim()}  # no batches are counted
    _apply_ours(model, enlarge(_bundled_tensors(num_classes), shapes))
    _save(model, folder)


def write_cocostuff(folder: Path) -> None:
    """The preset's own configuration, in segpipe's format."""
    from segpipe.checkpoints.weight_files import write_tensors
    from segpipe.configuration import load_preset
    from segpipe.hub import seal_folder
    from segpipe.models import build_model

    configuration = load_preset("segformer-b0-cocostuff")
    model = build_model(configuration.model)
    tensors = as_conv_head(_bundled_tensors(configuration.model.num_classes))
    state = {name: tensors.get(name, value).reshape(value.shape) for name, value in model.state_dict().items()}
    folder.mkdir(parents=True)
    write_tensors(state, folder / "model.safetensors")
    seal_folder(folder, configuration)


NETWORKS: dict[str, WriteNetwork] = {"b0": write_b0, "b2": write_b2, "b0-random": write_b0_random}


def split_classes(weight: Tensor, bias: Tensor, num_classes: int) -> tuple[Tensor, Tensor]:
    """A classifier for more classes: (C, D), (C,) → (K, D), (K,).

    Class k is a copy of class k mod C: the first copies are the classes themselves, each further one
    is perturbed a little more weakly than it would take to win everywhere.
    """
    index = torch.arange(num_classes)
    parent, copy = index % len(weight), index // len(weight)
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(num_classes, weight.shape[1], generator=generator) * weight.std() * PERTURBATION
    noise[copy == 0] = 0
    return weight[parent] + noise, bias[parent] - PENALTY * copy


def _new_model(variant: str, num_classes: int) -> Any:
    from transformers import SegformerConfig, SegformerForSemanticSegmentation

    dims, depths, width = SHAPES[variant]
    names = {index: f"class {index}" for index in range(num_classes)}
    config = SegformerConfig(hidden_sizes=list(dims), depths=list(depths), decoder_hidden_size=width, id2label=names)
    torch.manual_seed(0)
    return SegformerForSemanticSegmentation(config).eval()


def _save(model: Any, folder: Path) -> None:
    """With the preprocessing of that library's published SegFormers: 512 × 512, bilinear, ImageNet's statistics."""
    from .contestants import pillow_processor_class

    model.save_pretrained(folder)
    pillow_processor_class()().save_pretrained(folder)


def _bundled_tensors(num_classes: int) -> Tensors:
    """The bundled weights under segpipe's names, as float32, with a classifier for `num_classes`."""
    import segpipe.hub
    from segpipe.checkpoints.state_dicts import read_tensors

    path = Path(segpipe.hub.__file__).parent / "bundled" / BUNDLED
    tensors = {name: tensor.float() for name, tensor in read_tensors(path).items()}
    weight, bias = split_classes(
        tensors["head.classifier.weight"].flatten(1), tensors["head.classifier.bias"], num_classes
    )
    return {**tensors, "head.classifier.weight": weight[:, :, None, None], "head.classifier.bias": bias}


def _apply_ours(model: Any, tensors: Tensors) -> None:
    """Fill Hugging Face's network from tensors under segpipe's names."""
    from segpipe.checkpoints import translate

    state = model.state_dict()
    for name, value in state.items():
        [ours] = translate({name: value}, "huggingface")
        if not name.endswith("num_batches_tracked"):
            state[name] = _find(tensors, ours).reshape(value.shape)
    model.load_state_dict(state)


def _find(tensors: Tensors, name: str) -> Tensor:
    """A tensor by name; key and value, which segpipe keeps in one, are halves of it."""
    for half, part in ((0, ".attention.k."), (1, ".attention.v.")):
        if part in name:
            return tensors[name.replace(part, ".attention.kv.")].chunk(2)[half]
    return tensors[name]


def as_conv_head(tensors: Tensors) -> Tensors:
    """The all-MLP head's function as a convolutional head: ReLUs lifted out of the way, levels the other way round."""
    result = dict(tensors)
    width = len(tensors["head.norm.weight"])
    blocks = tensors["head.fuse.weight"].flatten(1).split(width, dim=1)[::-1]
    for level in range(len(blocks)):
        norm = f"head.level_norms.{level}"
        result[f"{norm}.weight"] = torch.ones(width)
        result[f"{norm}.bias"] = tensors[f"head.levels.{level}.bias"] + RELU_OFFSET
        result[f"{norm}.running_mean"] = torch.zeros(width)
        result[f"{norm}.running_var"] = torch.ones(width)
    result["head.fuse.weight"] = torch.cat(blocks, dim=1)
    lifted = sum(block.sum(dim=1) for block in blocks) * RELU_OFFSET
    result["head.norm.running_mean"] = tensors["head.norm.running_mean"] + lifted
    return result
