"""`segpipe attention`: where in a picture a token of a network looks, a heat map for each head."""

from __future__ import annotations

import argparse
import re
from pathlib import Path
from typing import TYPE_CHECKING

from segpipe.errors import InputError
from segpipe.names import unknown_name_message

from .opening import add_reading_arguments
from .parsing import add_json, finite_number, whole_number
from .printing import print_json

if TYPE_CHECKING:
    import numpy as np

    from segpipe.analysis import Token
    from segpipe.configuration import Configuration

EXAMPLES = """  segpipe attention segformer-b0-camvid segpipe-demo/picture.png heat --layer 5 --token 300,230
  segpipe attention my-segmenter street.jpg heat --layer 11
  segpipe attention my-segmenter street.jpg heat --layer 1 --part decoder --token car"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "model", metavar="MODEL", help="a preset, a folder or a model's name, of a family with attention"
    )
    parser.add_argument("picture", metavar="PICTURE", help="a file or a URL")
    parser.add_argument("output", type=Path, metavar="OUT", help="folder for head-0.png, head-1.png, … and mean.png")
    parser.add_argument(
        "--layer", type=whole_number, default=0, metavar="N", help="number of the block, from 0; default: 0"
    )
    parser.add_argument("--part", choices=("encoder", "decoder"), default="encoder", help="default: encoder")
    parser.add_argument(
        "--token",
        metavar="cls|X,Y|CLASS",
        help="whose attention: the class token, the patch at pixel X,Y, or, in the decoder, a class; "
        "default: the class token where there is one, else the middle of the picture",
    )
    parser.add_argument("--color-map", default="inferno", metavar="NAME", help="inferno, magma, viridis or turbo")
    parser.add_argument(
        "--opacity", type=finite_number, default=0.8, metavar="O", help="of the hottest colours; default: 0.8"
    )
    add_reading_arguments(parser)
    parser.add_argument("--device", default="cpu", metavar="NAME", help="default: cpu")
    add_json(parser)


def run(options: argparse.Namespace) -> int:
    from segpipe.analysis import AttentionQuery, see_attention
    from segpipe.checkpoints import load_model, open_folder
    from segpipe.data import read_source

    folder = open_folder(options.model)
    image = read_source(options.picture, alpha=options.alpha, bit_depth=options.bit_depth)
    token = options.token or usual_token(folder.configuration, options.part, image)
    query = AttentionQuery(options.layer, options.part, read_token(token, folder.configuration))
    network = load_model(folder, device=options.device)
    heat = see_attention(network, image, folder.configuration.preprocessor, query)
    maps = {**{f"head-{index}": head for index, head in enumerate(heat)}, "mean": heat.mean(axis=0)}
    files = _write(image, maps, query.token, options)
    if options.json:
        print_json({"layer": options.layer, "part": options.part, "token": token, "files": files})
    else:
        heads = "1 head" if len(heat) == 1 else f"{len(heat)} heads and their mean"
        print(f"{options.output}  {heads}, of the token {token}")
    return 0


def usual_token(configuration: Configuration, part: str, image: np.ndarray) -> str:
    """cls for a Vision Transformer's encoder; the pixel in the middle for all that has no class token."""
    from segpipe.configuration import MitConfig, SegformerConfig

    has_class_token = part == "encoder" and not isinstance(configuration.model, MitConfig | SegformerConfig)
    return "cls" if has_class_token else f"{image.shape[1] // 2},{image.shape[0] // 2}"


def read_token(text: str, configuration: Configuration) -> Token:
    """The word cls, a place (x, y), or the index of a class by its name."""
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


def _write(image: np.ndarray, maps: dict[str, np.ndarray], token: Token, options: argparse.Namespace) -> dict[str, str]:
    """A picture for each map, by its name."""
    from segpipe.drawing import draw_heat_page, write_picture

    place = token if isinstance(token, tuple) else None
    files = {}
    for name, heat in maps.items():
        page = draw_heat_page(image, heat, place=place, color_map=options.color_map, opacity=options.opacity)
        files[name] = str(write_picture(options.output / f"{name}.png", page))
    return files
