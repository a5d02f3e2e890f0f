"""Where in a picture a token of a network looks: the attention of one block, at the picture's size."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, cast

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from segpipe import advice
from segpipe.configuration import PreprocessorConfig
from segpipe.errors import InputError
from segpipe.inference import resize_image
from segpipe.models import MixTransformer, Segmenter, SegpipeNetwork, VitTrunk

Size = tuple[int, int]
Token = Literal["cls"] | tuple[int, int] | int


@dataclass(frozen=True)
class AttentionQuery:
    """Whose attention is looked at.

    Attributes:
        layer: number of the block, from 0.
        part: the encoder of any transformer, or Segmenter's mask transformer.
        token: "cls", the class token of a Vision Transformer's encoder; (x, y), the patch at that pixel of the
            picture; a number, the class of that index in the decoder.
    """

    layer: int
    part: Literal["encoder", "decoder"] = "encoder"
    token: Token = "cls"


@torch.inference_mode()
def see_attention(
    network: SegpipeNetwork, image: np.ndarray, preprocessor: PreprocessorConfig, query: AttentionQuery
) -> np.ndarray:
    """How much each head looks at each place, (M, H, W) float32 at the picture's size.

    The picture is seen whole and once, also where the model's own inference uses windows. What a token gives to extra
    tokens and to classes is not shown, so a map's cells may add up to less than 1.

    Args:
        network: of any family that has attention.
        image: (H, W, 3) uint8 RGB.
        preprocessor: how the picture is resized.
        query: whose attention.

    Raises:
        InputError: the network has no such layer, part or token.
    """
    pixels = torch.tensor(resize_image(image, preprocessor)).permute(2, 0, 1)[None].to(network.pixel_mean.device)
    resized = (pixels.shape[2], pixels.shape[3])
    place = _resized_place(query.token, image.shape[:2], resized) if isinstance(query.token, tuple) else None
    heads = _look(network, pixels, query, place)  # (M, h, w)
    whole = functional.interpolate(heads[None].float(), network.input_size(resized), mode="bilinear")
    fitted = functional.interpolate(whole[:, :, : resized[0], : resized[1]], image.shape[:2], mode="bilinear")
    return fitted[0].cpu().numpy()


def _resized_place(token: tuple[int, int], size: Size, resized: Size) -> tuple[float, float]:
    """(row, column) of a pixel (x, y) in the resized picture."""
    x, y = token
    if not (0 <= x < size[1] and 0 <= y < size[0]):
        raise InputError(f"The place {x},{y} is outside of the picture, which is {size[1]} wide and {size[0]} high.")
    return (y + 0.5) * resized[0] / size[0], (x + 0.5) * resized[1] / size[1]


def _look(network: SegpipeNetwork, pixels: Tensor, query: AttentionQuery, place: tuple[float, float] | None) -> Tensor:
    """(M, h, w): the token's row of the attention, on the grid of what it looks at."""
    if query.part == "decoder":
        return _look_from_decoder(network, pixels, query, place)
    encoder = getattr(network, "encoder", None)
    if isinstance(query.token, int):
        raise InputError(
            f"Classes are tokens of the decoder alone. Give {advice.argument('part', 'decoder')}, or a place x,y."
        )
    images = network.normalise(pixels)
    padded = (images.shape[2], images.shape[3])
    if isinstance(encoder, VitTrunk):
        extra, grid = len(encoder.extra_tokens), encoder.grid_of(images)
        row = 0 if place is None else extra + _cell(place, padded, grid)
        return encoder.attention_map(images, query.layer)[0, :, row, extra:].unflatten(-1, grid)
    if isinstance(encoder, MixTransformer):
        if place is None:
            raise InputError("A Mix Transformer has no class token. Ask for a place x,y.")
        found = encoder.attention_map(images, query.layer)
        return found.weights[0, :, _cell(place, padded, found.query_grid)].unflatten(-1, found.key_grid)
    raise InputError(f"{type(network).__name__} has an encoder without attention. Choose a model with a transformer.")


def _look_from_decoder(
    network: SegpipeNetwork, pixels: Tensor, query: AttentionQuery, place: tuple[float, float] | None
) -> Tensor:
    """Of Segmenter's mask transformer: patches row by row, then the classes."""
    if not isinstance(network, Segmenter):
        raise InputError("Only Segmenter's mask transformer is a decoder with attention. Ask for the part 'encoder'.")
    padded = network.input_size((pixels.shape[2], pixels.shape[3]))
    grid = cast(Size, tuple(side // network.encoder.patch_size for side in padded))
    patches = grid[0] * grid[1]
    if place is not None:
        row = _cell(place, padded, grid)
    elif isinstance(query.token, int) and 0 <= query.token < network.num_classes:
        row = patches + query.token
    else:
        raise InputError(
            f"The decoder has no token {query.token!r}: it has places x,y and the classes 0 to "
            f"{network.num_classes - 1}. Choose one."
        )
    weights = network.attention_map(pixels, query.layer, part="decoder")
    return weights[0, :, row, :patches].unflatten(-1, grid)


def _cell(place: tuple[float, float], padded: Size, grid: Size) -> int:
    """The number of the cell that holds a place of the padded picture."""
    row, column = (min(int(at * cells / side), cells - 1) for at, cells, side in zip(place, grid, padded, strict=True))
    return row * grid[1] + column
