"""Two models side by side: their weights, their networks' outputs for one input, and their label maps as pipelines."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from segpipe.checkpoints import open_checkpoint, own_tensors
from segpipe.configuration import Configuration, ExactResize, PreprocessorConfig, to_document
from segpipe.data import Alpha, BitDepth, read_source
from segpipe.errors import InputError
from segpipe.hub import ModelFolder
from segpipe.inference import Prediction, View, label_map, place_image, predict_views, resize_image
from segpipe.models import SegpipeNetwork, build_loaded
from segpipe.scenes import draw_street_scene

NOISE_SEED = 2022
NOISE_SIZE = (512, 512)
SCENE_SIZE = (358, 501)
"""Of the drawn street: not a multiple of anything, so that a difference in resizing or padding shows."""
LOGITS = "logits"
Size = tuple[int, int]


@dataclass(frozen=True)
class Difference:
    """The distance of two tensors of one shape.

    Attributes:
        name: what they are.
        absolute: the largest |a - b|; infinite where only one of two values is finite.
        relative: the same over the largest |a|; 0 where the tensors are equal.
    """

    name: str
    absolute: float
    relative: float


@dataclass(frozen=True)
class WeightsComparison:
    """The differences between two networks' tensors.

    Attributes:
        differing: tensors whose values differ, the furthest apart first.
        num_equal: how many are equal, bit for bit.
        only_first: names that only the first has.
        only_second: names that only the second has.
        misshapen: (name, shape in the first, shape in the second).
    """

    differing: tuple[Difference, ...]
    num_equal: int
    only_first: tuple[str, ...]
    only_second: tuple[str, ...]
    misshapen: tuple[tuple[str, tuple[int, ...], tuple[int, ...]], ...]

    @property
    def largest(self) -> float:
        """The largest difference of a value; infinite where names or shapes differ."""
        if self.only_first or self.only_second or self.misshapen:
            return math.inf
        return max((difference.absolute for difference in self.differing), default=0.0)


@dataclass(frozen=True)
class Alignment:
    """The outputs of two networks for one input, compared.

    Attributes:
        stages: those of `SegpipeNetwork.stages`, the last one as "logits".
        differing_pixels: fraction of the input's pixels with another class, or None for classifiers of whole images.
        sums: the sum of each network's logits, by which LiBai's test compares.
    """

    stages: tuple[Difference, ...]
    differing_pixels: float | None
    sums: tuple[float, float]

    @property
    def logits(self) -> Difference:
        """The last stage."""
        return self.stages[-1]


@dataclass(frozen=True)
class ModelAlignment:
    """The differences between two models, as networks and as pipelines.

    Attributes:
        networks: what both networks made of one input.
        settings: (key, value of the first, value of the second) of those that decide on a label map and its meaning.
        differing_pixels: fraction of an image's pixels to which the models, each with its own settings, give another
            class, or None unless both segment.
    """

    networks: Alignment
    settings: tuple[tuple[str, Any, Any], ...]
    differing_pixels: float | None


def compare_weights(
    first: str | Path | ModelFolder, second: str | Path | ModelFolder, *, preset: str | None = None
) -> WeightsComparison:
    """Compare two models' tensors in segpipe's names without running them; for arguments see `align_models`."""
    one, other = (own_tensors(_open(source, preset)) for source in (first, second))
    return compare_tensors(one, other)


def align_models(
    first: str | Path | ModelFolder,
    second: str | Path | ModelFolder,
    *,
    image: Any = None,
    alpha: Alpha = "auto",
    bit_depth: BitDepth = None,
    size: Size | None = None,
    seed: int = NOISE_SEED,
    preset: str | None = None,
    device: str | torch.device = "cpu",
    dtype: str = "float32",
) -> ModelAlignment:
    """Open two models and compare what their networks and their pipelines make of one input.

    Args:
        first: a folder, a file of weights in any dialect, or a model's name.
        second: the same, of the same network.
        image: anything that `read_source` reads. If None, the networks get noise and the pipelines a drawn street.
        alpha: see `segpipe.data.Reading`.
        bit_depth: see `segpipe.data.Reading`.
        size: (height, width) of the noise; the size to which an image is resized for the networks.
        seed: of the noise.
        preset: what bare files of weights are, where their tensors do not say it.
        device: where the networks run; a CPU rounds the same each time.
        dtype: what the networks compute in; a difference that is left in "float64" is not rounding.

    Raises:
        InputError: these are two different networks.
    """
    pixels = None if image is None else read_source(image, alpha=alpha, bit_depth=bit_depth)
    folders = [_open(source, preset) for source in (first, second)]
    one, other = (_load_unfolded(folder).to(device, getattr(torch, dtype)) for folder in folders)
    images = noise_input(one, size or NOISE_SIZE, seed=seed) if pixels is None else image_input(pixels, size)
    networks = align(one, other, images)
    models = [(one, folders[0].configuration), (other, folders[1].configuration)]
    return ModelAlignment(
        networks,
        tuple(_differing_settings(*(configuration for _, configuration in models))),
        _differing_label_share(models, draw_street_scene(0, SCENE_SIZE).image if pixels is None else pixels),
    )


@torch.inference_mode()
def align(first: SegpipeNetwork, second: SegpipeNetwork, images: Tensor) -> Alignment:
    """Run both networks, without folded weights, on the same images and compare what their parts give.

    Args:
        first: in evaluation mode.
        second: in evaluation mode, of the same shapes.
        images: (1, 3, H, W) RGB 0–255, see `noise_input`.

    Raises:
        InputError: the networks have different parts, or one part has another shape.
    """
    (one, output), (other, second_output) = (_run(network, images) for network in (first, second))
    _check_comparable(one, other)
    stages = tuple(measure_difference(name, tensor, other[name]) for name, tensor in one.items())
    share = _differing_share(first, [output, second_output], images)
    return Alignment(stages, share, (float(one[LOGITS].double().sum()), float(other[LOGITS].double().sum())))


def noise_input(network: SegpipeNetwork, size: Size = NOISE_SIZE, *, seed: int = NOISE_SEED) -> Tensor:
    """Return (1, 3, H, W) float32 that the network normalizes to U[0, 1), as in LiBai's test.

    The numbers are those of `numpy.random.seed(seed)` and `numpy.random.rand(1, 3, H, W)`.
    """
    noise = torch.from_numpy(np.random.RandomState(seed).random_sample((1, 3, *size)))
    mean, std = (values.cpu().double().view(3, 1, 1) for values in (network.pixel_mean, network.pixel_std))
    return (noise * std + mean).float()


def image_input(image: np.ndarray, size: Size | None = None) -> Tensor:
    """Return (1, 3, H, W) float32 of an image (H, W, 3) uint8, resized if a size is given."""
    if size is not None:
        image = resize_image(image, PreprocessorConfig(resize=ExactResize(size=size)))
    return torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1)[None].float()


def compare_tensors(first: Mapping[str, Tensor], second: Mapping[str, Tensor]) -> WeightsComparison:
    """Compare tensors by name, without BatchNorm's counters of batches, which some implementations drop."""
    names = [name for name in first if name in second and not _is_counter(name)]
    fitting = [name for name in names if first[name].shape == second[name].shape]
    differences = [measure_difference(name, first[name], second[name]) for name in fitting]
    differing = [difference for difference in differences if difference.absolute > 0.0]
    return WeightsComparison(
        differing=tuple(sorted(differing, key=lambda difference: -difference.absolute)),
        num_equal=len(differences) - len(differing),
        only_first=tuple(name for name in first if name not in second and not _is_counter(name)),
        only_second=tuple(name for name in second if name not in first and not _is_counter(name)),
        misshapen=tuple(
            (name, tuple(first[name].shape), tuple(second[name].shape)) for name in names if name not in fitting
        ),
    )


def measure_difference(name: str, first: Tensor, second: Tensor) -> Difference:
    """Return the largest difference of two tensors of one shape, computed in double precision."""
    a, b = first.detach().double(), second.detach().double()
    if not a.numel() or torch.equal(a, b):
        return Difference(name, 0.0, 0.0)
    distances = (a - b).abs()
    same = (a == b) | (a.isnan() & b.isnan())
    distances = torch.where(same, 0.0, distances.nan_to_num(nan=math.inf))
    absolute, scale = float(distances.max()), float(a.abs().nan_to_num(nan=0.0, posinf=0.0).max())
    if absolute == 0.0:
        return Difference(name, 0.0, 0.0)
    return Difference(name, absolute, absolute / scale if scale else math.inf)


def _open(source: str | Path | ModelFolder, preset: str | None) -> ModelFolder:
    """Open a model; a preset describes a file, while a folder and a model on a hub describe themselves."""
    is_file = isinstance(source, str | Path) and os.path.isfile(source)
    return source if isinstance(source, ModelFolder) else open_checkpoint(source, preset=preset if is_file else None)


def _load_unfolded(folder: ModelFolder) -> SegpipeNetwork:
    """Load a network in evaluation mode whose weights are not folded, so that each part gives what its weights say."""
    return build_loaded(folder.configuration.model, own_tensors(folder), origin=str(folder.weights)).eval()


def _run(network: SegpipeNetwork, images: Tensor) -> tuple[dict[str, Tensor], Any]:
    """Return what each stage made, in the order of computation, the logits last, and the network's output."""
    found: dict[str, Tensor] = {}
    tensors: tuple[Tensor, ...] = (images.to(network.pixel_mean.device, network.pixel_mean.dtype),)
    *stages, last = network.stages()
    for stage in stages:
        given, tensors = tensors, stage.run(tensors)
        found[stage.name] = _joined([tensor for tensor in tensors if not any(tensor is old for old in given)])
    tensors = last.run(tensors)
    return {**found, LOGITS: _joined([*tensors])}, network.build_output(tensors)


@torch.inference_mode()
def _differing_label_share(models: Sequence[tuple[SegpipeNetwork, Configuration]], image: np.ndarray) -> float | None:
    """Return the fraction of an image's pixels to which two models, each with its own settings, give another class."""
    if any(configuration.task != "image-segmentation" for _, configuration in models):
        return None
    maps = [
        label_map(predict_views(network, image, configuration.preprocessor, configuration.inference)).labels
        for network, configuration in models
    ]
    return float((maps[0] != maps[1]).double().mean())


def _differing_settings(first: Configuration, second: Configuration) -> Iterator[tuple[str, Any, Any]]:
    """Yield (key, value of the first, value of the second) of the settings that decide on a label map."""
    sections = ("model", "labels", "preprocessor", "inference")
    one, other = ({key: to_document(each).get(key) for key in sections} for each in (first, second))
    return _differences("", one, other)


def _differences(path: str, first: Any, second: Any) -> Iterator[tuple[str, Any, Any]]:
    if isinstance(first, dict) and isinstance(second, dict):
        for key in {**first, **second}:
            yield from _differences(f"{path}.{key}".lstrip("."), first.get(key), second.get(key))
    elif first != second:
        yield path, first, second


def _joined(tensors: list[Tensor]) -> Tensor:
    """Join several tensors end to end; a single one stays as it is."""
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


def _differing_share(network: SegpipeNetwork, outputs: list[Any], images: Tensor) -> float | None:
    size, maps = (images.shape[2], images.shape[3]), []
    for output in outputs:
        cells, scorings = network.grid_scores(output)
        if cells.dim() != 4:
            return None  # a classifier
        grid = (cells.shape[2], cells.shape[3])
        placement = place_image(size, size, network.input_size(size), grid, upsampling="one-step")
        maps.append(label_map(Prediction((View(cells[0], placement, scoring=scorings[0]),), "logits")).labels)
    return float((maps[0] != maps[1]).double().mean())


def _is_counter(name: str) -> bool:
    return name.endswith("num_batches_tracked")
