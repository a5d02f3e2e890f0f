"""`segpipe align`: two conversions of one network on one input, stage by stage, as pipelines, or their weights."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from typing import Any

from segpipe import analysis
from segpipe.text import format_table

from .parsing import Command, UsageError, finite_number, whole_number
from .printing import print_result
from .shared_options import add_json, add_reading

LISTED = 12
EXAMPLES = """  segpipe align iter_160000.pth my-model
  segpipe align hf:owner/name my-model --picture street.jpg --tolerance 1e-4
  segpipe align first.safetensors second.safetensors --weights"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    what = "folder, file of weights in any dialect, or a model's name"
    parser.add_argument("first", metavar="A", help=what)
    parser.add_argument("second", metavar="B", help="the same, of the same network")
    parser.add_argument("--picture", metavar="FILE", help="the input; default: noise, U[0, 1) after normalization")
    add_reading(parser)
    parser.add_argument(
        "--size",
        type=whole_number,
        nargs=2,
        metavar=("H", "W"),
        help="of the noise, default 512 512; the image is resized",
    )
    parser.add_argument("--seed", type=whole_number, default=2022, metavar="N", help="of the noise; default: 2022")
    parser.add_argument("--preset", metavar="NAME", help="what bare files are, where their tensors do not say it")
    parser.add_argument("--device", default="cpu", metavar="NAME", help="default: cpu, which rounds the same each time")
    parser.add_argument("--double", action="store_true", help="compute in float64: what is left is not rounding")
    parser.add_argument("--weights", action="store_true", help="compare the tensors and run nothing")
    parser.add_argument(
        "--tolerance",
        type=finite_number,
        metavar="T",
        help="exit code 1 where logits (weights) are further apart than this",
    )
    add_json(parser)


def run(options: argparse.Namespace) -> int:
    if options.weights and (options.picture or options.double or options.size):
        raise UsageError("--weights runs nothing. Leave --picture, --size and --double out.")
    return _compare_weights(options) if options.weights else _compare_outputs(options)


def _compare_outputs(options: argparse.Namespace) -> int:
    aligned = analysis.align_models(
        options.first,
        options.second,
        image=options.picture,
        alpha=options.alpha,
        bit_depth=options.bit_depth,
        size=tuple(options.size) if options.size else None,
        seed=options.seed,
        preset=options.preset,
        device=options.device,
        dtype="float64" if options.double else "float32",
    )
    is_apart = _is_apart(aligned.networks.logits.absolute, options.tolerance)
    text = f"{_alignment_text(aligned.networks, options, is_apart)}\n{_pipelines_text(aligned, options)}"
    print_result(options, _alignment_document(aligned, options, is_apart), text)
    return int(is_apart)


def _pipelines_text(aligned: analysis.ModelAlignment, options: argparse.Namespace) -> str:
    lines = []
    if aligned.settings:
        rows = [(key, _short(one), _short(other)) for key, one, other in aligned.settings]
        lines += ["", format_table([("setting", options.first, options.second), *rows], ("left", "left", "left"))]
    if aligned.differing_pixels is not None:
        what = options.picture or f"a drawn street of {analysis.SCENE_SIZE[0]} × {analysis.SCENE_SIZE[1]}"
        how = "each with its own settings" if aligned.settings else "with the same settings"
        share = f"{aligned.differing_pixels:.4%}"
        lines += ["", f"As pipelines, {how}, their label maps of {what} differ in {share} of the pixels."]
    return "\n".join(lines)


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 40 else f"{text[:39]}…"


def _is_apart(largest: float, tolerance: float | None) -> bool:
    return tolerance is not None and not largest <= tolerance


def _alignment_document(
    aligned: analysis.ModelAlignment, options: argparse.Namespace, is_apart: bool
) -> dict[str, Any]:
    networks = aligned.networks
    return {
        "first": options.first,
        "second": options.second,
        "stages": [asdict(stage) for stage in networks.stages],
        "differing_pixels": networks.differing_pixels,
        "sums": list(networks.sums),
        "tolerance": options.tolerance,
        "aligned": not is_apart,
        "settings": [{"key": key, "first": one, "second": other} for key, one, other in aligned.settings],
        "pipelines_differing_pixels": aligned.differing_pixels,
    }


def _alignment_text(alignment: analysis.Alignment, options: argparse.Namespace, is_apart: bool) -> str:
    rows = [(stage.name, _number(stage.absolute), _number(stage.relative)) for stage in alignment.stages]
    table = format_table([("stage", "absolute", "relative"), *rows], ("left", "right", "right"))
    lines = [f"{options.first} and {options.second}, largest differences", "", table, ""]
    if alignment.differing_pixels is not None:
        lines.append(f"Label maps differ in {alignment.differing_pixels:.4%} of the pixels.")
    lines.append(f"Sums of the logits: {alignment.sums[0]:.6f} and {alignment.sums[1]:.6f}.")
    return "\n".join([*lines, *_verdict("Logits", alignment.logits.absolute, options.tolerance, is_apart)])


def _compare_weights(options: argparse.Namespace) -> int:
    comparison = analysis.compare_weights(options.first, options.second, preset=options.preset)
    is_apart = _is_apart(comparison.largest, options.tolerance)
    document = _weights_document(comparison, options, is_apart)
    print_result(options, document, _weights_text(comparison, options, is_apart))
    return int(is_apart)


def _weights_document(
    comparison: analysis.WeightsComparison, options: argparse.Namespace, is_apart: bool
) -> dict[str, Any]:
    return {
        "first": options.first,
        "second": options.second,
        "equal": comparison.num_equal,
        "differing": [asdict(difference) for difference in comparison.differing],
        "only_first": list(comparison.only_first),
        "only_second": list(comparison.only_second),
        "misshapen": [{"name": name, "first": one, "second": two} for name, one, two in comparison.misshapen],
        "tolerance": options.tolerance,
        "aligned": not is_apart,
    }


def _weights_text(comparison: analysis.WeightsComparison, options: argparse.Namespace, is_apart: bool) -> str:
    lines = [f"{options.first} and {options.second}: {comparison.num_equal} tensors are equal"]
    if comparison.differing:
        rows = [(each.name, _number(each.absolute), _number(each.relative)) for each in comparison.differing[:LISTED]]
        lines += ["", format_table([("differing", "absolute", "relative"), *rows], ("left", "right", "right"))]
        more = len(comparison.differing) - LISTED
        lines += [f"  and {more} more"] if more > 0 else []
    lines += _listing(f"Only in {options.first}", comparison.only_first)
    lines += _listing(f"Only in {options.second}", comparison.only_second)
    lines += _listing("Of other shapes", [f"{name} {one} {two}" for name, one, two in comparison.misshapen])
    return "\n".join([*lines, *_verdict("Weights", comparison.largest, options.tolerance, is_apart)])


def _listing(title: str, names: Any) -> list[str]:
    if not names:
        return []
    more = [f"  and {len(names) - LISTED} more"] if len(names) > LISTED else []
    return ["", f"{title}: {len(names)}", *(f"  {name}" for name in names[:LISTED]), *more]


def _verdict(what: str, largest: float, tolerance: float | None, is_apart: bool) -> list[str]:
    if tolerance is None:
        return []
    relation = "more than" if is_apart else "within"
    return [f"{what} are {_number(largest)} apart, {relation} the tolerance of {tolerance:g}."]


def _number(value: float) -> str:
    return "0" if value == 0.0 else f"{value:.3g}"


COMMANDS = {"align": Command(add_arguments, run, EXAMPLES)}
