"""Training steps: segpipe's engine and transformers' network in a plain loop, on one batch and with one optimiser.

As a program it measures the peak memory of one step, alone in its process.
"""

from __future__ import annotations

import argparse
import functools
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import msgspec
import numpy as np
import torch

from .contestants import require_transformers, use_threads
from .memory import TINY, Peak, measure_apart, peak_of, print_peak

if TYPE_CHECKING:
    from segpipe.configuration import Configuration, TrainConfig
    from segpipe.data import Batch

RECIPE = "segformer-b0-ade20k"
IGNORE_INDEX = 255
SCENE_CLASSES = 11
REGION = 64
"""Side of the squares in which the classes of a scene are renamed, in pixels."""
LOSS_TOLERANCE = 1e-3
Precision = Literal["float32", "bfloat16"]
Inputs = dict[str, torch.Tensor]


class SegpipeSteps:
    """segpipe's engine, as the trainer uses it.

    Args:
        folder: the network to begin with.
        device: where.
        precision: "float32", or "bfloat16" under autocast.
    """

    def __init__(self, folder: Path, *, device: str = "cpu", precision: Precision = "float32") -> None:
        from segpipe import load_model
        from segpipe.trainers.engine import LocalEngine
        from segpipe.trainers.losses import build_loss
        from segpipe.trainers.objectives import SegmentationObjective
        from segpipe.trainers.optimizers import build_optimizer

        recipe = msgspec.structs.replace(read_recipe(), precision=precision)
        model = load_model(folder, device=device).train()
        self.loss = build_loss(recipe.loss, num_classes=model.num_classes, ignore_index=IGNORE_INDEX)
        optimizer = build_optimizer(model, recipe.optimizer)
        objective = SegmentationObjective(model, self.loss)
        self.engine = LocalEngine(model, objective, optimizer, recipe, torch.device(device))
        self.number = 0

    def step(self, batch: Batch) -> float:
        """The loss before the update."""
        self.number += 1
        return self.engine.step([batch], self.number).loss

    @torch.no_grad()
    def evaluate(self, batch: Batch) -> float:
        """The loss without dropout; nothing is learnt."""
        model = self.engine.model.eval()
        device = self.engine.device
        return float(self.loss(model(batch.images.to(device)), batch.labels.to(device).long()).mean())


class TransformersSteps:
    """Hugging Face's network in the loop that its documentation shows; its pictures are normalised beforehand.

    Args:
        folder: the network to begin with.
        device: where.
        precision: "float32", or "bfloat16" under autocast.
    """

    def __init__(self, folder: Path, *, device: str = "cpu", precision: Precision = "float32") -> None:
        from segpipe.trainers.optimizers import build_optimizer

        transformers = require_transformers()
        self.device = torch.device(device)
        self.model: Any = transformers.SegformerForSemanticSegmentation.from_pretrained(folder).to(self.device)
        self.optimizer = build_optimizer(self.model, read_recipe().optimizer)
        self.autocast = functools.partial(
            torch.autocast, self.device.type, torch.bfloat16, enabled=precision == "bfloat16"
        )
        self.inputs: tuple[Batch, Inputs] | None = None

    def step(self, batch: Batch) -> float:
        """The loss before the update."""
        self.model.train()
        self.optimizer.zero_grad()
        with self.autocast():
            loss = self.model(**self.prepare(batch)).loss
        loss.backward()
        self.optimizer.step()
        return float(loss.detach())

    @torch.no_grad()
    def evaluate(self, batch: Batch) -> float:
        """The loss without dropout; nothing is learnt."""
        return float(self.model.eval()(**self.prepare(batch)).loss)

    def prepare(self, batch: Batch) -> Inputs:
        """What the network takes, on its device; of the same batch, what was prepared before."""
        if self.inputs is None or self.inputs[0] is not batch:
            network = read_preset().model
            mean, std = torch.tensor([network.pixel_mean, network.pixel_std])[..., None, None]
            pixels = ((batch.images.float() - mean) / std).to(self.device)
            self.inputs = batch, {"pixel_values": pixels, "labels": batch.labels.to(self.device).long()}
        return self.inputs[1]


Steps = SegpipeSteps | TransformersSteps
CONTESTANTS: dict[str, Callable[..., Steps]] = {"segpipe": SegpipeSteps, "transformers": TransformersSteps}


def read_preset() -> Configuration:
    """The ADE20K recipe, whose loss, optimiser and transforms are measured."""
    from segpipe.configuration import load_preset

    return load_preset(RECIPE)


def read_recipe() -> TrainConfig:
    """Its section `train`."""
    recipe = read_preset().train
    assert recipe is not None
    return recipe


def make_batch(count: int, size: int, num_classes: int) -> Batch:
    """Drawn street scenes of size × size with labels of `num_classes`."""
    from segpipe.data import Sample, collate
    from segpipe.scenes.street import draw_street_scene

    scenes = [draw_street_scene(seed, (size, size)) for seed in range(count)]
    return collate([Sample(scene.image, split_regions(scene.label, num_classes), scene.name) for scene in scenes])


def split_regions(label: np.ndarray, num_classes: int) -> np.ndarray:
    """A scene's label (H, W) uint8 with up to `num_classes`: in each square of 64 pixels its classes have names of
    their own, class k those that are k modulo 11. Ignored pixels stay ignored."""
    rows, columns = np.indices(label.shape) // REGION
    copies = (rows * 4 + columns) % (num_classes // SCENE_CLASSES)
    return np.where(label == IGNORE_INDEX, IGNORE_INDEX, label + SCENE_CLASSES * copies).astype(np.uint8)


def check_losses(ours: float, theirs: float) -> None:
    """SystemExit unless both contestants begin with the same loss, and so learn the same."""
    if not abs(ours - theirs) <= LOSS_TOLERANCE * abs(theirs):
        raise SystemExit(
            f"Without dropout the loss is {ours:.5f} with segpipe and {theirs:.5f} with transformers; they should be "
            "equal, or the two train different things. Look for what changed in the losses or the networks."
        )


def crop_batch(batch: Batch, size: tuple[int, int]) -> Batch:
    """The lower left corners, a street's, for a first step that costs little."""
    from segpipe.data import Batch

    height, width = size
    return Batch(batch.images[..., -height:, :width], batch.labels[..., -height:, :width], batch.names)


def measure_step_peak(contestant: str, folder: Path, *, batch: int, size: int, threads: int) -> Peak:
    """Start a process that measures one step of one contestant."""
    return measure_apart("benchmarks.training_steps", contestant, [folder, batch, size, threads])


def main() -> None:
    """Measure in this process and print one line of JSON."""
    parser = argparse.ArgumentParser(description="Peak memory of one training step.")
    parser.add_argument("contestant", choices=CONTESTANTS)
    parser.add_argument("folder", type=Path)
    for number in ("batch", "size", "threads"):
        parser.add_argument(number, type=int)
    arguments = parser.parse_args()
    print_peak(_measure_here(arguments))


def _measure_here(arguments: argparse.Namespace) -> Peak:
    from .networks import NUM_CLASSES

    use_threads(arguments.threads)
    steps = CONTESTANTS[arguments.contestant](arguments.folder)
    batch = make_batch(arguments.batch, arguments.size, NUM_CLASSES)
    steps.step(crop_batch(batch, TINY))  # from here on there are gradients and the optimiser's state
    if isinstance(steps, TransformersSteps):
        steps.prepare(batch)
    return peak_of(lambda: steps.step(batch))


if __name__ == "__main__":
    main()
