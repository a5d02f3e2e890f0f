"""`segpipe profile`, the cost of a model, and `segpipe attention`, where it looks."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any, get_args

from segpipe import analysis, data, drawing
from segpipe.checkpoints import find_configuration
from segpipe.configuration import ModelConfig, model_type
from segpipe.inference import RUNTIMES
from segpipe.models import Part
from segpipe.text import format_bytes, format_fields, format_seconds, format_table

from .parsing import Command, finite_number, whole_number
from .printing import print_result
from .shared_options import add_device, add_json, add_reading

PROFILE_EXAMPLES = """  segpipe profile segformer-b0-ade20k
  segpipe profile segformer-b5-cityscapes --size 1024 2048 --no-timing
  segpipe profile my-model --device cuda --dtype bfloat16 --batch-size 8 --json"""
ATTENTION_EXAMPLES = """  segpipe attention segformer-b0-camvid segpipe-demo/picture.png heat --layer 5 --token 300,230
  segpipe attention my-segmenter street.jpg heat --layer 11
  segpipe attention my-segmenter street.jpg heat --layer 1 --part decoder --token car"""


def add_profile_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", metavar="MODEL", help="a preset, a folder or a model in the cache; nothing is fetched")
    parser.add_argument(
        "--size", type=whole_number, nargs=2, default=(512, 512), metavar=("H", "W"), help="default: 512 512"
    )
    add_device(parser)
    parser.add_argument(
        "--dtype", choices=RUNTIMES.get("eager").dtypes, default="float32", help="that the network computes in"
    )
    parser.add_argument("--batch-size", type=whole_number, default=1, metavar="N", help="images in a call; default: 1")
    parser.add_argument(
        "--rounds", type=whole_number, default=20, metavar="N", help="calls that are timed; default: 20"
    )
    parser.add_argument("--no-timing", action="store_true", help="count only: quick, whatever the size")
    add_json(parser)


def run_profile(options: argparse.Namespace) -> int:
    config = find_configuration(options.model).model
    profile = analysis.profile_model(
        config,
        (options.size[0], options.size[1]),
        device=options.device,
        dtype=options.dtype,
        batch_size=options.batch_size,
        rounds=None if options.no_timing else options.rounds,
    )
    print_result(options, _profile_document(profile, options), _profile_text(config, profile, options))
    return 0


def _profile_document(profile: analysis.Profile, options: argparse.Namespace) -> dict[str, Any]:
    parameters, macs = profile.parameters, profile.macs
    return {
        "model": options.model,
        "size": list(options.size),
        "parameters": {
            "total": parameters.total,
            "trainable": parameters.trainable,
            "by_part": dict(parameters.by_part),
        },
        "bytes": profile.num_bytes,
        "macs": {"total": macs.total, "published": macs.published, "by_part": dict(macs.by_part)},
        "flops": 2 * macs.total,
        "speed": None if profile.speed is None else _speed_document(profile.speed, profile.device, options.dtype),
    }


def _speed_document(speed: analysis.Speed, device: str, dtype: str) -> dict[str, Any]:
    return {
        "device": device,
        "dtype": dtype,
        "batch_size": speed.batch_size,
        "rounds": speed.rounds,
        "latency": speed.latency,
        "fastest": speed.fastest,
        "pictures_per_second": speed.throughput,
        "peak_memory": speed.peak_memory,
    }


def _profile_text(config: ModelConfig, profile: analysis.Profile, options: argparse.Namespace) -> str:
    parameters, macs = profile.parameters, profile.macs
    head = f"{options.model}: {model_type(config)} {config.variant}, {config.num_classes} classes"
    fields = [
        ("parameters", f"{parameters.total:,}, of which {parameters.trainable:,} are trainable"),
        ("saved weights", f"{format_bytes(profile.num_bytes)} in float32"),
        (
            "computed",
            f"{_giga(macs.total)} G multiply-accumulates for an image of {options.size[0]} × {options.size[1]}",
        ),
    ]
    if macs.published != macs.total:
        fields.append(
            ("as published", f"{_giga(macs.published)} G, which papers call FLOPs: the levels fused at stride 4")
        )
    if profile.speed is not None:
        fields += _speed_fields(profile.speed, f"{profile.device}, {options.dtype}")
    return "\n\n".join([head, format_fields(fields), _parts(parameters, macs)])


def _speed_fields(speed: analysis.Speed, place: str) -> list[tuple[str, str]]:
    call = "one image" if speed.batch_size == 1 else f"{speed.batch_size} images"
    where = f"{place}, median of {speed.rounds}"
    fields = [
        ("latency", f"{format_seconds(speed.latency)} for {call} ({where}; fastest {format_seconds(speed.fastest)})"),
        ("throughput", f"{speed.throughput:.1f} images per second"),
    ]
    if speed.peak_memory is not None:
        fields.append(("peak memory", format_bytes(speed.peak_memory)))
    return fields


def _parts(parameters: analysis.ParameterCount, macs: analysis.MacCount) -> str:
    names = [*parameters.by_part, *(name for name in macs.by_part if name not in parameters.by_part)]
    rows = [(name, f"{parameters.by_part.get(name, 0):,}", _giga(macs.by_part.get(name, 0))) for name in names]
    return format_table([("part", "parameters", "G MACs"), *rows], ("left", "right", "right"))


def _giga(count: int) -> str:
    return f"{count / 1e9:.2f}"


def add_attention_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "model", metavar="MODEL", help="a preset, a folder or a model's name, of a family with attention"
    )
    parser.add_argument("image", metavar="IMAGE", help="a file or a URL")
    parser.add_argument("output", type=Path, metavar="OUT", help="folder for head-0.png, head-1.png, … and mean.png")
    parser.add_argument(
        "--layer", type=whole_number, default=0, metavar="N", help="number of the block, from 0; default: 0"
    )
    parser.add_argument("--part", choices=get_args(Part), default="encoder", help="default: encoder")
    parser.add_argument(
        "--token",
        metavar="cls|X,Y|CLASS",
        help="whose attention: the class token, the patch at pixel X,Y, or, in the decoder, a class; "
        "default: the class token where there is one, else the middle of the image",
    )
    parser.add_argument(
        "--color-map", default="inferno", metavar="NAME", help=f"one of {', '.join(drawing.COLOR_MAPS)}"
    )
    parser.add_argument(
        "--opacity", type=finite_number, default=0.8, metavar="O", help="of the hottest colors; default: 0.8"
    )
    add_reading(parser)
    parser.add_argument("--device", default="cpu", metavar="NAME", help="default: cpu")
    add_json(parser)


def run_attention(options: argparse.Namespace) -> int:
    drawn = analysis.draw_attention(
        options.model,
        data.read_source(options.image, alpha=options.alpha, bit_depth=options.bit_depth),
        options.output,
        layer=options.layer,
        part=options.part,
        token=options.token,
        device=options.device,
        color_map=options.color_map,
        opacity=options.opacity,
    )
    files = {name: str(path) for name, path in drawn.files.items()}
    document = {"layer": options.layer, "part": options.part, "token": drawn.token, "files": files}
    heads = "1 head" if drawn.num_heads == 1 else f"{drawn.num_heads} heads and their mean"
    print_result(options, document, f"{options.output}  {heads}, of the token {drawn.token}")
    return 0


COMMANDS = {
    "profile": Command(add_profile_arguments, run_profile, PROFILE_EXAMPLES),
    "attention": Command(add_attention_arguments, run_attention, ATTENTION_EXAMPLES),
}
