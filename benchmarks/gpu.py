"""The kernels for GPUs beside the same operations in plain torch, and whole calls and training steps with and without.

    python -m benchmarks.gpu

from the top of a checkout, on a machine with an NVIDIA GPU and Triton. It needs no download and takes a few minutes.
Whole calls go from decoded pictures (uint8) to label maps, both on the host; the network computes in half precision,
channels last.
"""

from __future__ import annotations

import argparse
import datetime
import functools
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest import mock

from .results import Result, Row, describe_machine, installed_versions, spread_of, write_result
from .runs import RESULTS, tell

if TYPE_CHECKING:
    from torch import Tensor

NUM_CLASSES = 172
STRIDE = 4
IGNORE_INDEX = 255
Calls = dict[str, Callable[[], object]]


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, write; SystemExit with a sentence where there is no GPU or no Triton."""
    options = parse_arguments(arguments)
    _require_gpu()
    with tempfile.TemporaryDirectory(prefix="segpipe-benchmark-") as folder:
        rows = tuple(measure(options, Path(folder)))
    fresh = Result(
        date=datetime.date.today().isoformat(),
        machine=describe_machine(),
        versions=installed_versions(),
        threads=0,
        rows=rows,
    )
    write_result(fresh, RESULTS / f"{options.name}.json")
    print(render_rows(rows))
    return 0


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu", description="The kernels for GPUs.")
    parser.add_argument("--batch", nargs="+", type=int, default=[16, 64], help="pictures of a batch (default 16 64)")
    parser.add_argument("--size", type=int, default=512, help="side of the pictures (default 512)")
    parser.add_argument("--rounds", type=int, default=20, help="at most, for each row (default 20)")
    parser.add_argument("--seconds", type=float, default=15.0, help="then a row begins no new round (default 15)")
    parser.add_argument("--name", default="latest-gpu", help="of the file in benchmarks/results (default latest-gpu)")
    options = parser.parse_args(arguments)
    if min(options.batch) < 1 or options.size < 64 or options.size % 32:
        parser.error("--batch is 1 or more, --size a multiple of 32, from 64 on.")
    return options


def measure(options: argparse.Namespace, folder: Path) -> Iterator[Row]:
    """The operations alone, then whole calls and training steps."""
    from .networks import write_cocostuff

    write_cocostuff(folder / "b0")
    for batch in options.batch:
        for what, calls in _all_calls(folder / "b0", batch, options.size):
            tell(f"{what}, batch size {batch}")
            yield _measure_row(options, what, batch, calls())


def render_rows(rows: Sequence[Row]) -> str:
    """One line for each contestant: milliseconds a picture, pictures a second, and the ratio to the first."""
    lines = [*(rows[0].notes if rows else ())]
    for row in rows:
        medians = {name: spread_of(values).median for name, values in row.runs.items()}
        first = next(iter(medians.values()))
        lines.append(f"{row.table}, {row.network}, {row.size[0]} × {row.size[1]}, {row.what}")
        lines += [
            f"  {name:<36} {value:9.3f} ms  {1000 / value:9.0f} pictures/s  {value / first:6.2f}×"
            for name, value in medians.items()
        ]
    return "\n".join(lines)


def _require_gpu() -> None:
    import torch

    if not torch.cuda.is_available():
        raise SystemExit("torch sees no GPU here. This benchmark needs one: run it on a machine with an NVIDIA GPU.")
    from segpipe.fused import can_fuse

    if not can_fuse(torch.zeros(1, device="cuda")):
        raise SystemExit("Triton cannot be used here, so there is nothing to compare. Run pip install triton.")


def _measure_row(options: argparse.Namespace, what: str, batch: int, calls: Calls) -> Row:
    import torch

    from .timing import time_in_turn

    waiting = {name: functools.partial(_wait_for, call) for name, call in calls.items()}
    times = time_in_turn(waiting, rounds=options.rounds, seconds=options.seconds)
    return Row(
        table=what,
        network="b0",
        size=(options.size, options.size),
        what=f"batch size {batch}",
        unit="ms",
        runs={name: tuple(value / batch for value in values) for name, values in times.items()},
        notes=(torch.cuda.get_device_name(),),
    )


def _wait_for(call: Callable[[], object]) -> object:
    import torch

    result = call()
    torch.cuda.synchronize()
    return result


def _all_calls(folder: Path, batch: int, size: int) -> Iterator[tuple[str, Callable[[], Calls]]]:
    """What is measured: a name, and what prepares its calls, by contestant and the fused one first."""
    yield "upsampling and argmax", lambda: _label_calls(batch, size)
    yield "upsampling and cross-entropy with gradient", lambda: _loss_calls(batch, size)
    yield "deformable sampling with gradients", lambda: _deformable_calls(batch, size)
    yield "whole call", lambda: _whole_calls(folder, batch, size)
    yield "training step", lambda: _training_calls(folder, batch, size)


def _label_calls(batch: int, size: int) -> Calls:
    from segpipe.inference.fused_label_map import fused_label_map

    cells = _smooth_logits(batch, size // STRIDE).half().permute(0, 2, 3, 1).contiguous()
    placement = _placement(size)
    return {
        "kernel": lambda: fused_label_map(cells, placement),
        "interpolate and argmax": lambda: _label_densely(cells.permute(0, 3, 1, 2), size),
    }


def _loss_calls(batch: int, size: int) -> Calls:
    import torch
    from torch.nn import functional

    from segpipe.configuration.training import CrossEntropyLoss
    from segpipe.trainers.losses import build_loss

    logits = _smooth_logits(batch, size // STRIDE).requires_grad_()
    images = [image.clone().requires_grad_() for image in logits.detach().split(1)]
    labels = torch.randint(0, NUM_CLASSES, (batch, size, size), device="cuda")
    loss = build_loss(CrossEntropyLoss(), num_classes=NUM_CLASSES, ignore_index=IGNORE_INDEX)

    def ours() -> object:
        return torch.autograd.grad(loss(logits, labels).mean(), logits)

    def plain() -> object:  # one picture at a time: all at once fill the memory
        for image, label in zip(images, labels.split(1), strict=True):
            upsampled = functional.interpolate(image, size=(size, size), mode="bilinear")
            torch.autograd.grad(functional.cross_entropy(upsampled, label, reduction="sum"), image)
        return None

    return {"kernels": ours, "in tiles": functools.partial(_without_kernels, ours), "interpolate, cross_entropy": plain}


def _deformable_calls(batch: int, size: int) -> Calls:
    """Three levels, eight heads and four points."""
    import torch

    from segpipe.models.deformable import sample_levels

    grids = tuple((size // stride, size // stride) for stride in (8, 16, 32))
    queries, heads, points = sum(height * width for height, width in grids), 8, 4
    place = (batch, queries, heads, len(grids), points)
    shapes = ((batch, queries, 256), (*place, 2), place)
    values, offsets, weights = (torch.randn(shape, device="cuda", requires_grad=True) for shape in shapes)
    references = torch.rand(queries, 2, device="cuda")

    def sample() -> object:
        read = sample_levels(values, references, offsets, weights, grids)
        return torch.autograd.grad(read.sum(), (values, offsets, weights))

    return {"kernels": sample, "grid_sample": functools.partial(_without_kernels, sample)}


def _whole_calls(folder: Path, batch: int, size: int) -> Calls:
    import torch

    from segpipe import load_model
    from segpipe.configuration import load_preset
    from segpipe.data.scenes import draw_street_scene
    from segpipe.inference import PreparedImage, label_map, predict_images
    from segpipe.inference.fused_label_map import fused_label_map

    model = load_model(folder, device="cuda").half().to(memory_format=torch.channels_last)
    pictures = [draw_street_scene(seed, (size, size)).image for seed in range(batch)]
    pixels = torch.stack([torch.from_numpy(picture) for picture in pictures]).pin_memory()  # (B, H, W, 3)
    prepared = [PreparedImage(picture, (size, size)) for picture in pictures]
    config, placement = load_preset("segformer-b0-cocostuff").inference, _placement(size)

    @torch.inference_mode()
    def with_kernel() -> Tensor:
        logits = model(pixels.to("cuda", non_blocking=True).permute(0, 3, 1, 2))
        return fused_label_map(logits.permute(0, 2, 3, 1), placement).cpu()

    @torch.inference_mode()
    def densely() -> Tensor:
        logits = model(pixels.to("cuda", non_blocking=True).permute(0, 3, 1, 2))
        return _label_densely(logits, size).cpu()

    @torch.inference_mode()
    def one_by_one() -> list[Tensor]:
        return [label_map(prediction).labels.cpu() for prediction in predict_images(model, prepared, config)]

    return {
        "kernel, whole batch": with_kernel,
        "interpolate and argmax": densely,
        "with scores, picture by picture": one_by_one,
        "with scores, picture by picture, no kernel": functools.partial(_without_kernels, one_by_one),
    }


def _training_calls(folder: Path, batch: int, size: int) -> Calls:
    import msgspec
    import torch

    from segpipe import load_model
    from segpipe.trainers.engine import LocalEngine
    from segpipe.trainers.losses import build_loss
    from segpipe.trainers.objectives import SegmentationObjective
    from segpipe.trainers.optimizers import build_optimizer

    from .training_steps import make_batch, read_recipe

    recipe = msgspec.structs.replace(read_recipe(), precision="bfloat16")
    model = load_model(folder).train().to("cuda")
    loss = build_loss(recipe.loss, num_classes=model.num_classes, ignore_index=IGNORE_INDEX)
    optimizer = build_optimizer(model, recipe.optimizer)
    engine = LocalEngine(model, SegmentationObjective(model, loss), optimizer, recipe, torch.device("cuda"))
    pictures = make_batch(batch, size, NUM_CLASSES)

    def step() -> Any:
        return engine.step([pictures], 1)

    return {"kernels": step, "in tiles": functools.partial(_without_kernels, step)}


def _without_kernels(call: Callable[[], object]) -> object:
    from segpipe.fused import SWITCH

    with mock.patch.dict("os.environ", {SWITCH: "0"}):
        return call()


def _label_densely(logits: Tensor, size: int) -> Tensor:
    """(B, H, W) uint8, one picture at a time: all at once fill the memory."""
    import torch
    from torch.nn.functional import interpolate

    maps = (interpolate(image, size=(size, size), mode="bilinear").argmax(dim=1) for image in logits.split(1))
    return torch.cat([labels.to(torch.uint8) for labels in maps])


def _smooth_logits(batch: int, side: int) -> Tensor:
    """(B, K, side, side) on the GPU: regions and boundaries, as a trained network gives them."""
    import torch
    from torch.nn.functional import interpolate

    coarse = 8 * torch.randn(batch, NUM_CLASSES, 12, 12, device="cuda")
    return interpolate(coarse, size=(side, side), mode="bicubic").to(memory_format=torch.channels_last)


def _placement(size: int) -> Any:
    from segpipe.inference import place_picture

    sizes = (size, size)
    return place_picture(sizes, sizes, sizes, (size // STRIDE, size // STRIDE), upsampling="one-step")


if __name__ == "__main__":
    raise SystemExit(main())
