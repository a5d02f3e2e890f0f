"""The interface of every network, which takes RGB 0–255, normalizes and pads."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, NamedTuple, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional

from segpipe import advice
from segpipe.configuration import ModelConfig
from segpipe.errors import InputError

from .family import Part
from .layers import Blocks


class BoundaryOutput(NamedTuple):
    """The output in training of a network that learns boundaries too."""

    logits: Tensor
    """(B, K, h, w) class logits."""
    mask: Tensor
    """(B, 2, h, w) logits of: inside a region, at its boundary."""
    direction: Tensor
    """(B, 8, h, w) logits of the direction towards the region's inside, in bins of 45 degrees."""


class NetworkStage(NamedTuple):
    """A slice of a network, which takes the output of the stage before it."""

    name: str
    """The name of its main part, as in `named_modules`."""
    prefixes: tuple[str, ...]
    """Prefixes of its parameters' names; each parameter of the network belongs to one stage."""
    run: Callable[[tuple[Tensor, ...]], tuple[Tensor, ...]]
    """Tensors in, tensors out; their shapes say all that the next stage must know."""


class AttentionMap(NamedTuple):
    """The attention weights of one block."""

    weights: Tensor
    """(B, M, Q, N): a row is a query and adds up to 1."""
    query_grid: tuple[int, int]
    """(height, width) of the queries that are cells of the image, row by row."""
    key_grid: tuple[int, int]
    """(height, width) of the keys that are."""
    extra: int = 0
    """Tokens before the cells, the class token first. A decoder's class tokens follow the cells."""


class Scoring(Protocol):
    """The way from one image's cells to its class scores, where these are not linear in the cells.

    Attributes:
        num_classes: K.
    """

    num_classes: int

    def scores(self, cells: Tensor) -> Tensor:
        """Return the scores (…, K), the highest of which wins, of interpolated cells (…, C) float32."""

    def probabilities(self, scores: Tensor) -> Tensor:
        """Return (…, K) in 0–1 of scores (…, K): what views average, and what a class's mask reports as its score."""


class GridScores(NamedTuple):
    """An output of a batch in the form that label maps are made from."""

    cells: Tensor
    """(B, C, h, w) on the network's grid, interpolated bilinearly between cells; (B, K) logits of a classifier."""
    scorings: Sequence[Scoring | None]
    """How each image's class scores come from its cells. If None, the cells are class logits."""


class SegpipeNetwork(nn.Module):
    """A network that takes images as they are decoded, (B, 3, H, W) RGB 0–255, uint8 or float.

    Normalization, and after it the zero pad on the right and at the bottom, live here, so that
    training, evaluation, pipelines and exports cannot disagree about them.

    Attributes:
        size_multiple: images are padded to a multiple of it.
        min_size: images are padded to at least this.
        best_multiple: the network scores higher where both sides are multiples of it.
        has_class_token: whether its encoder's attention has one.
        output_type: of `forward` in evaluation: Tensor, or a NamedTuple of tensors. An exported file returns the same
            tensors, under the NamedTuple's names.
    """

    pixel_mean: Tensor
    pixel_std: Tensor
    has_class_token = False
    output_type: ClassVar[type] = Tensor

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.num_classes = config.num_classes
        self.size_multiple = config.size_multiple
        self.min_size = 1
        self.best_multiple = 1
        # Not persistent, since the configuration has them and a checkpoint must not contradict it.
        self.register_buffer("pixel_mean", torch.tensor(config.pixel_mean, dtype=torch.float32), persistent=False)
        self.register_buffer("pixel_std", torch.tensor(config.pixel_std, dtype=torch.float32), persistent=False)

    def input_size(self, size: tuple[int, int]) -> tuple[int, int]:
        """Return the (height, width) of an image once it is padded to the multiple and to the least size."""
        multiple = self.size_multiple
        height, width = (-(-max(side, self.min_size) // multiple) * multiple for side in size)
        return height, width

    def normalise(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) RGB 0–255 → normalized and zero-padded to `input_size`, channels last in memory."""
        images = _standardize(images, self.pixel_mean, self.pixel_std)
        height, width = images.shape[-2:]
        padded_height, padded_width = self.input_size((height, width))
        if (padded_height, padded_width) == (height, width):
            return images
        return functional.pad(images, (0, padded_width - width, 0, padded_height - height))

    @property
    def output_names(self) -> tuple[str, ...]:
        """The names of the output's tensors."""
        return getattr(self.output_type, "_fields", ("logits",))

    def build_output(self, tensors: Sequence[Tensor]) -> Any:
        """Return the output in evaluation that has these tensors, from the last stage or from an exported file."""
        return self.output_type(*tensors) if hasattr(self.output_type, "_fields") else tensors[0]

    def grid_scores(self, output: Any) -> GridScores:
        """Return what label maps are made from. An output in evaluation that is not class logits overrides this."""
        return GridScores(output, (None,) * len(output))

    def stages(self) -> tuple[NetworkStage, ...]:
        """Return slices whose composition is `forward`: from (images,) to (logits,) or the output's other tensors."""
        return (NetworkStage("network", ("",), lambda tensors: as_tuple(self(*tensors))),)

    def attention(self, images: Tensor, layer: int, *, part: Part = "encoder") -> AttentionMap:
        """Return the attention of one block.

        Args:
            images: (B, 3, H, W) RGB 0–255.
            layer: number of the block, from 0.
            part: of the network.

        Raises:
            InputError: the network has no such part or block.
        """
        raise InputError(f"{type(self).__name__} has an encoder without attention. Choose a model with a transformer.")

    def published_macs(self, size: tuple[int, int], by_part: Mapping[str, int]) -> int:
        """Return the multiply-accumulates that papers state for one image of `size`, which may compute in another way.

        Args:
            size: (height, width).
            by_part: child → what this network computes.
        """
        return sum(by_part.values())

    def apply_folding(self) -> None:
        """Precompute what depends on weights alone; used where no gradient is asked for, undone by `train()`."""

    def apply_activation_checkpointing(self) -> None:
        """Keep only each block's input for the backward pass, which computes the rest again.

        Raises:
            InputError: the network has no `Blocks`.
        """
        found = [module for module in self.modules() if isinstance(module, Blocks)]
        if not found:
            raise InputError(
                f"{type(self).__name__} has no blocks whose activations could be computed again. "
                f"Give {advice.setting('train.activation_checkpointing', False)}."
            )
        for blocks in found:
            blocks.is_checkpointed = True


class SegmentationModel(SegpipeNetwork):
    """A network whose forward gives logits on its own grid.

    forward: (B, 3, H, W) RGB 0–255 → (B, K, h, w), where the grid covers `input_size((H, W))`. In training it may give
    more, which `split_output` takes apart. In evaluation it may give something else, from which `grid_scores` makes the
    scores of classes.
    """

    def split_output(self, output: Any) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Return the class logits (B, K, h, w) of an output, and its other tensors."""
        return output, ()


def as_tuple(output: Tensor | tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """Return an output as the tensors that a stage gives."""
    return output if isinstance(output, tuple) else (output,)


def check_part(part: Part) -> None:
    """Refuse the decoder of a network whose decoder has no attention."""
    if part != "encoder":
        raise InputError("Only Segmenter's mask transformer is a decoder with attention. Ask for the part 'encoder'.")


def _standardize(images: Tensor, mean: Tensor, std: Tensor) -> Tensor:
    """Return (images - mean) / std in the mean's type, channels last in memory, a whole row of pixels at a time."""
    pixels = images.to(mean.dtype, memory_format=torch.channels_last).permute(0, 2, 3, 1)  # (B, H, W, 3)
    width = pixels.shape[2]
    # Broadcasting three numbers takes four times as long as broadcasting a row of them.
    rows = pixels.flatten(2).sub(mean.repeat(width)).div_(std.repeat(width))  # (B, H, 3 W)
    return rows.unflatten(2, (width, 3)).permute(0, 3, 1, 2)
