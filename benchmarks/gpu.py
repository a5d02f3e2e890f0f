"""The kernels for GPUs beside the same operations in plain torch; whole calls and training steps beside transformers'.

    python -m benchmarks.gpu

from the top of a checkout, on a machine with an NVIDIA GPU and Triton. It needs no download and takes a few minutes.
Whole calls go from a list of decoded pictures to their label maps, both on the host; all networks compute in float16.
Training steps compute in bfloat16.
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

from .results import (
    AGREEMENT_WANTED_OF_HALF,
    Result,
    Row,
    describe_machine,
    installed_versions,
    spread_of,
    write_result,
)
from .runs import RESULTS, tell
from .tables import disagreements

if TYPE_CHECKING:
    from torch import Tensor

NUM_CLASSES = 172
STRIDE = 4
IGNORE_INDEX = 255
BATCHES = 8
"""In the list of a whole call."""
Calls = dict[str, Callable[[], object]]
Prepared = tuple[Calls, float | None]
"""Calls by contestant, the first of which the others are compared with, and how well label maps agree."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, write; 1 when label maps disagree. SystemExit with a sentence where there is no GPU or Triton."""
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
    return int(bool(disagreements(rows)))


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.gpu", description="segpipe on a GPU: its kernels, whole calls and training steps."
    )
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
    import torch

    from .networks import write_b0, write_untrained

    write_b0(folder / "b0")
    write_untrained("b0", folder / "untrained")
    for batch in options.batch:
        for what, pictures, build in _all_calls(folder, batch, options.size):
            tell(f"{what}, batch size {batch}")
            calls, agreement = build()
            yield Row(
                table=what,
                network="b0",
                size=(options.size, options.size),
                what=f"batch size {batch}",
                unit="ms",
                runs=_measure_calls(options, calls, pictures),
                agreement=agreement,
                agreement_wanted=AGREEMENT_WANTED_OF_HALF,
                notes=(torch.cuda.get_device_name(),),
            )


def render_rows(rows: Sequence[Row]) -> str:
    """One line for each contestant: milliseconds a picture, pictures a second, and the ratio to the first."""
    lines = [*(rows[0].notes if rows else ())]
    for row in rows:
        medians = {name: spread_of(values).median for name, values in row.runs.items()}
        first = next(iter(medians.values()))
        lines.append(f"{row.table}, {row.network}, {row.size[0]} × {row.size[1]}, {row.what}")
        lines += [
            f"  {name:<40} {value:9.3f} ms  {1000 / value:9.0f} pictures/s  {value / first:6.2f}×"
            for name, value in medians.items()
        ]
        if row.agreement is not None:
            lines.append(f"  the label maps agree with transformers' in float32 on {row.agreement:.4%} of the pixels")
    return "\n".join(lines)


def _require_gpu() -> None:
    import torch

    if not torch.cuda.is_available():
        raise SystemExit("torch sees no GPU here. This benchmark needs one: run it on a machine with an NVIDIA GPU.")
    from segpipe.models.fast.choosing import can_fuse

    if not can_fuse(torch.zeros(1, device="cuda")):
        raise SystemExit("Triton cannot be used here, so there is nothing to compare. Run pip install triton.")


def _measure_calls(options: argparse.Namespace, calls: Calls, pictures: int) -> dict[str, tuple[float, ...]]:
    """Milliseconds for each of the pictures of a call."""
    from .timing import time_in_turn

    waiting = {name: functools.partial(_wait_for, call) for name, call in calls.items()}
    times = time_in_turn(waiting, rounds=options.rounds, seconds=options.seconds)
    return {name: tuple(value / pictures for value in values) for name, values in times.items()}


def _wait_for(call: Callable[[], object]) -> object:
    import torch

    result = call()
    torch.cuda.synchronize()
    return result


def _all_calls(folder: Path, batch: int, size: int) -> Iterator[tuple[str, int, Callable[[], Prepared]]]:
    """What is measured: a name, the pictures of a call, and what prepares the calls."""
    yield "upsampling and argmax", batch, lambda: (_label_calls(batch, size), None)
    yield "upsampling and cross-entropy with gradient", batch, lambda: (_loss_calls(batch, size), None)
    yield "deformable sampling with gradients", batch, lambda: (_deformable_calls(batch, size), None)
    yield "whole call", batch * BATCHES, lambda: prepare_whole_calls(folder / "b0", batch, size)
    yield "training step", batch, lambda: (prepare_training_calls(folder / "untrained", batch, size), None)


def _label_calls(batch: int, size: int) -> Calls:
    from segpipe.inference.label_maps.fused import fused_label_map

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

    from segpipe.models.unept.deformable import sample_levels

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


def prepare_whole_calls(
    folder: Path, batch: int, size: int, *, device: str = "cuda", dtype: str = "float16"
) -> Prepared:
    """Both libraries' pipelines on a list of pictures, and how well their label maps agree."""
    import numpy as np

    from .contestants import Segpipe, Transformers
    from .measurements import agreement_of
    from .pictures import make_pictures

    ours = Segpipe(folder, dtype=dtype, device=device)
    theirs = Transformers(folder, dtype, device=device)
    exact = Transformers(folder, device=device)
    distinct = make_pictures((size, size), batch)
    found = ours.run_list(distinct, batch)
    agreement = min(
        agreement_of(mine.label_map, exact.run_lean(picture)) for mine, picture in zip(found, distinct, strict=True)
    )
    pictures = distinct * BATCHES
    arrays = [np.asarray(picture) for picture in pictures]
    calls = {
        "segpipe": functools.partial(ours.run_list, pictures, batch),
        "segpipe, arrays instead of PIL pictures": functools.partial(ours.run_list, arrays, batch),
        "segpipe without kernels": functools.partial(_without_kernels, lambda: ours.run_list(pictures, batch)),
        "transformers": functools.partial(theirs.run_list, pictures, batch),
    }
    return calls, agreement


def prepare_training_calls(folder: Path, batch: int, size: int, *, device: str = "cuda") -> Calls:
    """Both libraries' steps on one batch; SystemExit where they do not begin with the same loss."""
    from .training_steps import SegpipeSteps, TransformersSteps, check_losses, make_batch

    pictures = make_batch(batch, size, NUM_CLASSES)
    ours = SegpipeSteps(folder, device=device, precision="bfloat16")
    theirs = TransformersSteps(folder, device=device, precision="bfloat16")
    check_losses(ours.evaluate(pictures), theirs.evaluate(pictures))
    return {
        "segpipe": functools.partial(ours.step, pictures),
        "segpipe without kernels": functools.partial(_without_kernels, lambda: ours.step(pictures)),
        "transformers": functools.partial(theirs.step, pictures),
    }


def _without_kernels(call: Callable[[], object]) -> object:
    from segpipe.models.fast.choosing import SWITCH

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
    from segpipe.inference import place_image

    sizes = (size, size)
    return place_image(sizes, sizes, sizes, (size // STRIDE, size // STRIDE), upsampling="one-step")


if __name__ == "__main__":
    raise SystemExit(main())
