"""Two networks on one input: how far apart their stages, their logits and their label maps are."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from segpipe.analysis.tensor_comparison import Difference, measure_difference
from segpipe.checkpoints import own_tensors
from segpipe.configuration import Configuration, to_document
from segpipe.errors import InputError
from segpipe.hub import ModelFolder
from segpipe.inference import Prediction, View, label_map, place_picture, predict
from segpipe.models import SegpipeNetwork, build_loaded

NOISE_SEED = 2022
NOISE_SIZE = (512, 512)
LOGITS = "logits"


@dataclass(frozen=True)
class Alignment:
    """What two networks made of one input.

    Attributes:
        stages: those of `SegpipeNetwork.stages`, the last one as "logits".
        differing_pixels: share of the input's pixels with another class; None for classifiers of whole pictures.
        sums: the sum of each network's logits, by which LiBai's test compares.
    """

    stages: tuple[Difference, ...]
    differing_pixels: float | None
    sums: tuple[float, float]

    @property
    def logits(self) -> Difference:
        """The last stage."""
        return self.stages[-1]


def load_unfolded(folder: ModelFolder, *, device: str | torch.device = "cpu") -> SegpipeNetwork:
    """A network in evaluation mode whose weights are not multiplied out, so that each part gives what it says."""
    network = build_loaded(folder.configuration.model, own_tensors(folder), origin=str(folder.weights))
    return network.eval().to(device)


def noise_input(network: SegpipeNetwork, size: tuple[int, int] = NOISE_SIZE, *, seed: int = NOISE_SEED) -> Tensor:
    """(1, 3, H, W) float32 that is U[0, 1) once the network has normalised it, as LiBai's test feeds its networks.

    The numbers are those of `numpy.random.seed(seed)` and `numpy.random.rand(1, 3, H, W)`.
    """
    noise = torch.from_numpy(np.random.RandomState(seed).random_sample((1, 3, *size)))
    mean, std = (values.cpu().double().view(3, 1, 1) for values in (network.pixel_mean, network.pixel_std))
    return (noise * std + mean).float()


def picture_input(image: np.ndarray) -> Tensor:
    """(1, 3, H, W) float32 of a decoded picture (H, W, 3) uint8."""
    return torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1)[None].float()


@torch.inference_mode()
def align(first: SegpipeNetwork, second: SegpipeNetwork, images: Tensor) -> Alignment:
    """Run both networks, without folded weights, on the same pictures and compare what their parts give.

    Args:
        first: in evaluation mode.
        second: in evaluation mode, of the same shapes.
        images: (1, 3, H, W) RGB 0–255, see `noise_input`.

    Raises:
        InputError: the networks have different parts, or one part has another shape.
    """
    outputs = [_run(network, images) for network in (first, second)]
    _check_comparable(*outputs)
    stages = tuple(measure_difference(name, tensor, outputs[1][name]) for name, tensor in outputs[0].items())
    logits = [each[LOGITS] for each in outputs]
    share = _differing_share(first, logits, images) if logits[0].dim() == 4 else None
    return Alignment(stages, share, (float(logits[0].double().sum()), float(logits[1].double().sum())))


def _run(network: SegpipeNetwork, images: Tensor) -> dict[str, Tensor]:
    """What each stage made, in the order of computation; the last one made the logits."""
    found: dict[str, Tensor] = {}
    tensors: tuple[Tensor, ...] = (images.to(network.pixel_mean.device, network.pixel_mean.dtype),)
    *stages, last = network.stages()
    for stage in stages:
        given, tensors = tensors, stage.run(tensors)
        found[stage.name] = _joined([tensor for tensor in tensors if not any(tensor is old for old in given)])
    return {**found, LOGITS: last.run(tensors)[0]}


@torch.inference_mode()
def differing_label_share(
    first: tuple[SegpipeNetwork, Configuration], second: tuple[SegpipeNetwork, Configuration], image: np.ndarray
) -> float:
    """The share of an image's pixels to which two models, each with its own procedure, give another class.

    Args:
        first: a network and the configuration that says how images are resized, seen and labelled.
        second: the same.
        image: (H, W, 3) uint8 RGB.
    """
    maps = [
        label_map(predict(network, image, configuration.preprocessor, configuration.inference)).labels
        for network, configuration in (first, second)
    ]
    return float((maps[0] != maps[1]).double().mean())


def differing_settings(first: Configuration, second: Configuration) -> list[tuple[str, Any, Any]]:
    """(path, value of the first, value of the second) of what decides on a label map and its meaning."""
    one, other = (
        {section: to_document(each).get(section) for section in ("model", "labels", "preprocessor", "inference")}
        for each in (first, second)
    )
    return list(_differences("", one, other))


def _differences(path: str, first: Any, second: Any) -> Iterator[tuple[str, Any, Any]]:
    if isinstance(first, dict) and isinstance(second, dict):
        for key in {**first, **second}:
            yield from _differences(f"{path}.{key}".lstrip("."), first.get(key), second.get(key))
    elif first != second:
        yield path, first, second


def _joined(tensors: list[Tensor]) -> Tensor:
    """One tensor as it is, several end to end."""
    return tensors[0] if len(tensors) == 1 else torch.cat([tensor.flatten() for tensor in tensors])


def _check_comparable(first: dict[str, Tensor], second: dict[str, Tensor]) -> None:
    others = [name for name in {**first, **second} if (name in first) != (name in second)]
    shapes = [(name, first[name].shape, second[name].shape) for name in first if name in second]
    differing = [f"{name} is {tuple(one)} and {tuple(two)}" for name, one, two in shapes if one != two]
    if others or differing:
        what = differing[0] if differing else f"only one of them has {others[0]}"
        raise InputError(
            f"These are two different networks: {what}. Compare two sets of weights of one network, such as a "
            "checkpoint and what was converted from it."
        )


def _differing_share(network: SegpipeNetwork, logits: list[Tensor], images: Tensor) -> float:
    size = (images.shape[2], images.shape[3])
    maps = []
    for each in logits:
        grid = (each.shape[2], each.shape[3])
        placement = place_picture(size, size, network.input_size(size), grid, upsampling="one-step")
        maps.append(label_map(Prediction((View(each[0], placement),), "logits")).labels)
    return float((maps[0] != maps[1]).double().mean())
