"""How each family is trained on CamVid: by its own preset's recipe, with what two CPU cores cannot do made smaller."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .family_results import FamilyRow, Score

if TYPE_CHECKING:
    from segpipe.configuration import Configuration

LENGTHS = ("size", "max_long_side", "window", "stride", "image_size", "query_grid")
"""Keys of a configuration whose values are lengths in pixels, or in cells that cover a fixed number of them."""
STRETCHES = 20
"""Parts of a run whose mean losses are recorded."""
_WITHOUT = ("labels", "weights", "dataset")
"""What the data decides; it is not listed among the changes."""


@dataclass(frozen=True)
class Family:
    """A preset and what is made smaller.

    Attributes:
        preset: whose network and recipe it is.
        scale: factor of all lengths in pixels: crops, pictures, windows, tables of positions.
        steps: optimiser steps, unless the command says otherwise.
        changes: by key of the configuration, in the preset's own lengths.
    """

    preset: str
    scale: Fraction
    steps: int
    changes: Mapping[str, Any] = field(default_factory=dict)


# The library and the step are those of the recorded run; the presets' own have changed since.
FAMILIES = {
    "segformer": Family(
        "segformer-b0-cityscapes",
        Fraction(240, 1024),
        250,
        {"train.batch_size": 4, "preprocessor.resize.library": "pillow"},
    ),
    "segmenter": Family(
        "segmenter-tiny-ade20k",
        Fraction(1, 2),
        250,
        {"train.batch_size": 4, "inference.stride": [512, 512]},
    ),
    "unept": Family(
        "unept-res50-ade20k",
        Fraction(1, 3),
        200,
        {
            "train.batch_size": 4,
            "train.loss.maps": "prepared",
            "model.encoder.channels": 16,
            "model.dim": 64,
            "model.hidden": 256,
            "model.points": 8,
        },
    ),
}


def link_data(data: Path, root: Path) -> None:
    """A folder of links to a data set's parts, so that files can be made beside them."""
    root.mkdir(parents=True, exist_ok=True)
    for part in data.resolve().iterdir():
        link = root / part.name
        if not link.exists() and part.name != "boundaries":
            link.symlink_to(part)


def train_family(name: str, data: Path, work_dir: Path, *, steps: int | None = None) -> FamilyRow:
    """Train a family from scratch through `build_trainer` and measure it before and after.

    Args:
        name: one of FAMILIES.
        data: CamVid's folder, in which boundary maps may be written.
        work_dir: of the run; it must not hold another one.
        steps: None: the family's own.
    """
    from segpipe import build_trainer, load_dataset
    from segpipe.configuration import load_preset

    family = FAMILIES[name]
    preset = load_preset(family.preset)
    made = _prepare(preset, data)
    trainer = build_trainer(
        model=family.preset,
        pretrained=False,
        cfg_modify_fn=partial(shrink, family=family, steps=steps or family.steps),
        train_dataset=load_dataset("camvid", data, "train"),
        eval_dataset=load_dataset("camvid", data, "val"),
        work_dir=work_dir,
        device="cpu",
    )
    before = trainer.evaluate()
    trainer.train()
    changed = differences(preset, trainer.parts.configuration)
    losses, rate, after = _read_run(work_dir, trainer.config.batch_size)
    return FamilyRow(
        family=name,
        preset=family.preset,
        changed=changed,
        boundary_maps=made,
        parameters=sum(parameter.numel() for parameter in trainer.model.parameters()),
        steps=len(losses),
        batch=trainer.config.batch_size,
        crop=_crop(trainer.parts.configuration),
        loss_first_tenth=statistics.fmean(losses[: tenth_of(losses)]),
        loss_last_tenth=statistics.fmean(losses[-tenth_of(losses) :]),
        losses=tuple(statistics.fmean(part) for part in _stretches(losses)),
        pictures_per_second=rate,
        before=Score(miou=before.miou, pixel_accuracy=before.pixel_accuracy, iou=before.iou),
        after=after,
    )


def shrink(configuration: Configuration, *, family: Family, steps: int) -> Configuration:
    """The preset with a family's changes, all lengths scaled, and a schedule of so many steps."""
    from segpipe.configuration import override
    from segpipe.configuration.codec import build_configuration
    from segpipe.configuration.values import json_values

    run = {
        "train.max_steps": steps,
        "train.max_epochs": None,
        "train.workers": 1,
        "train.log_every": 1,
        "evaluation.every": steps,
        "evaluation.every_epochs": None,
    }
    changed = override(configuration, {**family.changes, **run, **_milestones(configuration, steps)})
    document = json_values(changed)
    for section in ("model", "preprocessor", "inference"):
        document[section] = _scaled(document[section], family.scale)
    document["train"]["transforms"] = _scaled(document["train"]["transforms"], family.scale)
    return build_configuration(document, origin=family.preset)


def differences(preset: Configuration, run: Configuration) -> dict[str, tuple[Any, Any]]:
    """By key, what the preset says and what the run had, where they differ; data and classes are left out."""
    ours, theirs = (dict(_flat(_document(each))) for each in (preset, run))
    keys = dict.fromkeys([*ours, *theirs])
    return {key: (ours.get(key), theirs.get(key)) for key in keys if ours.get(key) != theirs.get(key)}


def tenth_of(values: Sequence[float]) -> int:
    """How many values a tenth is, one at least."""
    return max(1, len(values) // 10)


def _prepare(preset: Configuration, data: Path) -> int:
    """Boundary maps where the recipe's loss wants them; how many there are."""
    from segpipe.configuration import BoundaryLoss
    from segpipe.data import prepare_dataset

    if preset.train is None or not isinstance(preset.train.loss, BoundaryLoss):
        return 0
    prepared = prepare_dataset("boundaries", data, data="camvid", split="train")
    return prepared.num_written + prepared.kept


def _milestones(configuration: Configuration, steps: int) -> dict[str, Any]:
    """Steps at which the learning rate drops, at the same share of the run."""
    from segpipe.configuration import MultistepSchedule

    train = configuration.train
    if train is None or train.max_steps is None or not isinstance(train.schedule, MultistepSchedule):
        return {}
    places = [max(1, round(place * steps / train.max_steps)) for place in train.schedule.milestones]
    return {"train.schedule.milestones": places}


def _scaled(value: Any, scale: Fraction) -> Any:
    """A part of a document with its lengths multiplied and rounded."""
    if isinstance(value, list):
        return [_scaled(item, scale) for item in value]
    if not isinstance(value, dict):
        return value
    return {key: (_rounded if key in LENGTHS else _scaled)(member, scale) for key, member in value.items()}


def _rounded(value: Any, scale: Fraction) -> Any:
    if isinstance(value, list):
        return [_rounded(item, scale) for item in value]
    return value if value is None else max(1, round(value * scale))


def _document(configuration: Configuration) -> dict[str, Any]:
    from segpipe.configuration.values import json_values

    return {key: value for key, value in json_values(configuration).items() if key not in _WITHOUT}


def _flat(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """(path, value) of all that is neither an object nor a list of objects."""
    if isinstance(value, dict):
        for key, member in value.items():
            yield from _flat(member, f"{path}.{key}" if path else key)
    elif isinstance(value, list) and value and isinstance(value[0], dict):
        for index, member in enumerate(value):
            yield from _flat(member, f"{path}[{index}]")
    else:
        yield path, value


def _read_run(work_dir: Path, batch: int) -> tuple[list[float], float, Score]:
    """The loss of each step, pictures a second between the first step and the last, and the scores after it."""
    from segpipe.trainers.run.run_log import LOG, read_log

    lines = read_log(work_dir / LOG)
    steps = [line for line in lines if line["event"] == "step"]
    seconds = steps[-1]["time"] - steps[0]["time"]
    [scores] = [line for line in lines if line["event"] == "evaluation"]
    after = Score(miou=scores["miou"], pixel_accuracy=scores["pixel_accuracy"], iou=scores["iou"])
    return [line["loss"] for line in steps], batch * (len(steps) - 1) / max(seconds, 1e-9), after


def _crop(configuration: Configuration) -> tuple[int, int]:
    from segpipe.configuration import RandomCrop

    assert configuration.train is not None
    [crop] = [step.size for step in configuration.train.transforms if isinstance(step, RandomCrop)]
    return crop


def _stretches(losses: Sequence[float]) -> Iterator[Sequence[float]]:
    """The run in parts of nearly the same length, each of one step at least."""
    count = min(STRETCHES, len(losses))
    for index in range(count):
        yield losses[index * len(losses) // count : (index + 1) * len(losses) // count]
