"""`segpipe profile`: what a model costs: parameters, bytes, multiplications, latency and memory."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from segpipe.text import format_bytes, format_fields, format_seconds, format_table

from .catalogue import find_configuration
from .parsing import add_json, whole_number
from .printing import print_json

if TYPE_CHECKING:
    from segpipe.analysis import MacCount, ParameterCount, Profile
    from segpipe.configuration import ModelConfig

EXAMPLES = """  segpipe profile segformer-b0-ade20k
  segpipe profile segformer-b5-cityscapes --size 1024 2048 --no-timing
  segpipe profile my-model --device cuda --dtype bfloat16 --batch-size 8 --json"""
DTYPES = ("float32", "bfloat16", "float16")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", metavar="MODEL", help="a preset, a folder or a model in the cache; nothing is fetched")
    parser.add_argument(
        "--size", type=whole_number, nargs=2, default=(512, 512), metavar=("H", "W"), help="default: 512 512"
    )
    parser.add_argument("--device", help="cpu, cuda, cuda:1, …; default: a GPU if there is one")
    parser.add_argument("--dtype", choices=DTYPES, default="float32", help="that the network computes in")
    parser.add_argument(
        "--batch-size", type=whole_number, default=1, metavar="N", help="pictures in a call; default: 1"
    )
    parser.add_argument(
        "--rounds", type=whole_number, default=20, metavar="N", help="calls that are timed; default: 20"
    )
    parser.add_argument("--no-timing", action="store_true", help="count only: quick, whatever the size")
    add_json(parser)


def run(options: argparse.Namespace) -> int:
    from segpipe.analysis import profile_model

    config = find_configuration(options.model).model
    profile = profile_model(
        config,
        (options.size[0], options.size[1]),
        device=options.device,
        dtype=options.dtype,
        batch_size=options.batch_size,
        rounds=None if options.no_timing else options.rounds,
    )
    if options.json:
        print_json(_document(options, profile))
    else:
        print(_text(options, config, profile))
    return 0


def _document(options: argparse.Namespace, profile: Profile) -> dict[str, Any]:
    parameters, macs, speed = profile.parameters, profile.macs, profile.speed
    timing = None
    if speed is not None:
        timing = {
            "device": profile.device,
            "dtype": options.dtype,
            "batch_size": speed.batch_size,
            "rounds": speed.rounds,
            "latency": speed.latency,
            "fastest": speed.fastest,
            "pictures_per_second": speed.throughput,
            "peak_memory": speed.peak_memory,
        }
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
        "speed": timing,
    }


def _text(options: argparse.Namespace, config: ModelConfig, profile: Profile) -> str:
    parameters, macs = profile.parameters, profile.macs
    head = f"{options.model}: {type(config).__struct_config__.tag} {config.variant}, {config.num_classes} classes"
    fields = [
        ("parameters", f"{parameters.total:,}, of which {parameters.trainable:,} are trainable"),
        ("saved weights", f"{format_bytes(profile.num_bytes)} in float32"),
        (
            "computed",
            f"{_giga(macs.total)} G multiply-accumulates for a picture of {options.size[0]} × {options.size[1]}",
        ),
    ]
    if macs.published != macs.total:
        fields.append(
            ("as published", f"{_giga(macs.published)} G, which papers call FLOPs: the levels fused at stride 4")
        )
    return "\n\n".join([head, format_fields(fields + _speed_fields(options, profile)), _parts(parameters, macs)])


def _speed_fields(options: argparse.Namespace, profile: Profile) -> list[tuple[str, str]]:
    speed = profile.speed
    if speed is None:
        return []
    call = "one picture" if speed.batch_size == 1 else f"{speed.batch_size} pictures"
    where = f"{profile.device}, {options.dtype}, median of {speed.rounds}"
    fields = [
        ("latency", f"{format_seconds(speed.latency)} for {call} ({where}; fastest {format_seconds(speed.fastest)})"),
        ("throughput", f"{speed.throughput:.1f} pictures per second"),
    ]
    if speed.peak_memory is not None:
        fields.append(("peak memory", format_bytes(speed.peak_memory)))
    return fields


def _parts(parameters: ParameterCount, macs: MacCount) -> str:
    names = [*parameters.by_part, *(name for name in macs.by_part if name not in parameters.by_part)]
    rows = [(name, f"{parameters.by_part.get(name, 0):,}", _giga(macs.by_part.get(name, 0))) for name in names]
    return format_table([("part", "parameters", "G MACs"), *rows], ("left", "right", "right"))


def _giga(count: int) -> str:
    return f"{count / 1e9:.2f}"
