"""The attention of a token: where in an image one block of a network looks, at the image's size."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from segpipe import advice
from segpipe.checkpoints import load_model, open_folder
from segpipe.configuration import Configuration, PreprocessorConfig
from segpipe.drawing import draw_heat_page, write_image
from segpipe.errors import InputError
from segpipe.hub import ModelFolder
from segpipe.inference import resize_image
from segpipe.models import AttentionMap, Part, SegpipeNetwork, build_outline
from segpipe.names import unknown_name_message

Size = tuple[int, int]
Token = Literal["cls"] | tuple[int, int] | int


@dataclass(frozen=True)
class AttentionQuery:
    """The token whose attention is looked at.

    Attributes:
        layer: number of the block, from 0.
        part: the encoder of any transformer, or Segmenter's mask transformer.
        token: "cls", the class token of a Vision Transformer's encoder; (x, y), the patch at that pixel of the
            image; a number, the class of that index in the decoder.
    """

    layer: int
    part: Part = "encoder"
    token: Token = "cls"


@dataclass(frozen=True)
class AttentionDrawings:
    """The files that `draw_attention` wrote.

    Attributes:
        token: whose attention it is, as `read_token` reads it.
        num_heads: of the block.
        files: head-0, head-1, … and mean → their image.
    """

    token: str
    num_heads: int
    files: dict[str, Path]


def draw_attention(
    model: str | Path | ModelFolder,
    image: np.ndarray,
    output: str | Path,
    *,
    layer: int = 0,
    part: Part = "encoder",
    token: str | None = None,
    device: str | torch.device = "cpu",
    **style: Any,
) -> AttentionDrawings:
    """Draw where in an image a token of a model looks: a heat map for each head of a block, and their mean.

    Args:
        model: of a family with attention.
        image: (H, W, 3) uint8 RGB.
        output: the folder for head-0.png, head-1.png, … and mean.png; it is made.
        layer: number of the block, from 0.
        part: the encoder, or Segmenter's mask transformer.
        token: see `read_token`. If None, see `usual_token`.
        device: where the network runs.
        style: see `draw_heat_page`: color_map, opacity.

    Raises:
        InputError: the network has no such layer, part or token.
    """
    folder = open_folder(model)
    text = token or usual_token(folder.configuration, part, image)
    query = AttentionQuery(layer, part, read_token(text, folder.configuration))
    heat = see_attention(load_model(folder, device=device), image, folder.configuration.preprocessor, query)
    place = query.token if isinstance(query.token, tuple) else None
    maps = {**{f"head-{index}": head for index, head in enumerate(heat)}, "mean": heat.mean(axis=0)}
    files = {
        name: write_image(Path(output) / f"{name}.png", draw_heat_page(image, one, place=place, **style))
        for name, one in maps.items()
    }
    return AttentionDrawings(text, len(heat), files)


def usual_token(configuration: Configuration, part: str, image: np.ndarray) -> str:
    """Return cls for an encoder with a class token, else the pixel in the middle."""
    has_class_token = part == "encoder" and build_outline(configuration.model).has_class_token
    return "cls" if has_class_token else f"{image.shape[1] // 2},{image.shape[0] // 2}"


def read_token(text: str, configuration: Configuration) -> Token:
    """Return the word cls, a place (x, y), or the index of a class, of which the text may be the name."""
    found = re.fullmatch(r"(\d{1,9})\s*,\s*(\d{1,9})", text)
    if found:
        return int(found[1]), int(found[2])
    names = configuration.labels.names if configuration.labels is not None else ()
    if text in names:
        return names.index(text)
    if text == "cls":
        return "cls"
    if re.fullmatch(r"\d{1,9}", text):
        return int(text)
    raise InputError(unknown_name_message("token", text, ("cls", *names)))


@torch.inference_mode()
def see_attention(
    network: SegpipeNetwork, image: np.ndarray, preprocessor: PreprocessorConfig, query: AttentionQuery
) -> np.ndarray:
    """Return how much each head looks at each place, (M, H, W) float32 at the image's size.

    The image is seen whole and once, also where the model's own inference uses windows. What a token gives to extra
    tokens and to classes is not shown, so a map's cells may add up to less than 1.

    Args:
        network: of any family that has attention.
        image: (H, W, 3) uint8 RGB.
        preprocessor: how the image is resized.
        query: the token, see `AttentionQuery`.

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
    """Return the (row, column) of a pixel (x, y) in the resized image."""
    x, y = token
    if not (0 <= x < size[1] and 0 <= y < size[0]):
        raise InputError(f"The place {x},{y} is outside of the image, which is {size[1]} wide and {size[0]} high.")
    return (y + 0.5) * resized[0] / size[0], (x + 0.5) * resized[1] / size[1]


def _look(network: SegpipeNetwork, pixels: Tensor, query: AttentionQuery, place: tuple[float, float] | None) -> Tensor:
    """Return (M, h, w), the token's row of the attention, on the grid of the keys."""
    if query.part == "encoder" and isinstance(query.token, int):
        raise InputError(
            f"Classes are tokens of the decoder alone. Give {advice.argument('part', 'decoder')}, or a place x,y."
        )
    found = network.attention(pixels, query.layer, part=query.part)
    if place is not None:
        row = found.extra + _cell(place, network.input_size((pixels.shape[2], pixels.shape[3])), found.query_grid)
    else:
        row = _row_of_token(network, found, query)
    cells = slice(found.extra, found.extra + found.key_grid[0] * found.key_grid[1])
    return found.weights[0, :, row, cells].unflatten(-1, found.key_grid)


def _row_of_token(network: SegpipeNetwork, found: AttentionMap, query: AttentionQuery) -> int:
    """Return the row of the class token, or of a class of the decoder."""
    if query.part == "encoder":
        if not found.extra:
            raise InputError(f"{type(network).__name__} has no class token. Ask for a place x,y.")
        return 0
    if isinstance(query.token, int) and 0 <= query.token < network.num_classes:
        return found.query_grid[0] * found.query_grid[1] + query.token
    raise InputError(
        f"The decoder has no token {query.token!r}: it has places x,y and the classes 0 to "
        f"{network.num_classes - 1}. Choose one."
    )


def _cell(place: tuple[float, float], padded: Size, grid: Size) -> int:
    """Return the number of the cell that holds a place of the padded image."""
    row, column = (min(int(at * cells / side), cells - 1) for at, cells, side in zip(place, grid, padded, strict=True))
    return row * grid[1] + column
