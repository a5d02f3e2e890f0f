"""`segpipe train`: says what it will do, trains, and says what came out and how to use it."""

from __future__ import annotations

import argparse
import logging
import os
import shlex
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from segpipe.configuration import (
    Configuration,
    DatasetConfig,
    EvaluationConfig,
    MixedDataConfig,
    override,
    read_configuration,
)
from segpipe.errors import InputError
from segpipe.hub import Hub, ModelFolder
from segpipe.text import format_fields, format_seconds

from .catalogue import find_configuration, has_weights, is_preset
from .parsing import parse_options, share, whole_number
from .printing import print_note
from .training_result import print_result

if TYPE_CHECKING:
    from segpipe.data import SegmentationDataset
    from segpipe.trainers import Callback, Trainer

DRY_STEPS, DRY_PICTURES = 2, 2
EXAMPLES = """  segpipe train --model segformer-b0-ade20k --data ade20k ~/data/ADEChallengeData2016
  segpipe train --model segformer-b0-camvid --data folder ./street --max-epochs 40 --set train.batch_size=4
  segpipe train --model segformer-b0-camvid --data folder ./street --option names=road,sky --dry-run
  torchrun --nproc-per-node 8 -m segpipe train --model segformer-b2-cityscapes --data cityscapes /data/cityscapes

to go on, and to train longer:
  resume     The same command again goes on where the run in --work-dir stopped, to the same weights.
  extend     With a new --max-epochs or --max-steps and --extend, that run goes on to the new end. Each further step
             has the learning rate that a run of the new length has there: one that had come down rises again.
  fine-tune  --model DIR and another --work-dir begin a new run at step 0, with the best weights of the run in DIR
             and the whole schedule; mostly with a lower rate, such as --set train.optimizer.lr=6e-6."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--model",
        metavar="NAME",
        help="a preset, a model's name, a folder or another run's work directory: recipe and first weights",
    )
    parser.add_argument("--config", type=Path, metavar="FILE", help="a configuration.json instead of the model's")
    parser.add_argument(
        "--data",
        nargs=2,
        metavar=("NAME", "ROOT"),
        help="kind of data set and its folder; default: the configuration's. "
        "Its splits are dataset.train.split and dataset.eval.split",
    )
    parser.add_argument(
        "--option", action="append", default=[], metavar="KEY=VALUE", help="of the data set, e.g. names=sky,road"
    )
    parser.add_argument(
        "--val-share",
        type=share,
        metavar="SHARE",
        help="evaluate on this share of the training data, held out by the images' names, instead of a split: 0.1",
    )
    parser.add_argument(
        "--mix",
        nargs=2,
        action="append",
        default=[],
        metavar=("NAME", "ROOT"),
        help="further data of the same classes to train on, e.g. street-scenes ./scenes; may be repeated",
    )
    parser.add_argument(
        "--work-dir",
        type=Path,
        default=Path("work_dir"),
        metavar="DIR",
        help="checkpoints, log, model; default: work_dir",
    )
    length = parser.add_mutually_exclusive_group()
    length.add_argument("--max-steps", type=whole_number, metavar="N", help="length in optimiser steps")
    length.add_argument("--max-epochs", type=whole_number, metavar="N", help="length in passes over the data")
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="change the configuration; may be repeated"
    )
    parser.add_argument("--from-scratch", action="store_true", help="begin with random weights instead of the model's")
    parser.add_argument(
        "--encoder-weights",
        metavar="FILE",
        help="begin with these in the encoder, random elsewhere: mit_b0.pth, a folder or a model's name",
    )
    parser.add_argument(
        "--extend", action="store_true", help="go on with the run in the work directory to a new end; see below"
    )
    parser.add_argument(
        "--accept-changed-data",
        action="store_true",
        help="go on with a run in the work directory although its data has changed",
    )
    parser.add_argument("--local-rank", "--local_rank", type=int, help=argparse.SUPPRESS)  # of torch's old launcher
    parser.add_argument("--device", help="cpu, cuda, cuda:1, …; default: a GPU if there is one")
    parser.add_argument(
        "--tensorboard", action="store_true", help="also write curves for TensorBoard, to DIR/tensorboard"
    )
    parser.add_argument("--quiet", action="store_true", help="no progress: neither bars nor lines of the run")
    parser.add_argument(
        "--skip-data-check", action="store_true", help="no look at some labels of both splits before the first step"
    )
    parser.add_argument(
        "--dry-run", action="store_true", help="two steps and one evaluation of two pictures; leaves nothing behind"
    )


def run(options: argparse.Namespace) -> int:
    if options.mix and not options.data:
        print_note("segpipe train: --mix goes with --data: what is it mixed into? Give --data NAME ROOT too.")
        return 2
    if options.model is None and options.config is None:
        print_note(
            "segpipe train: What shall be trained? Give --model NAME, see segpipe models list, or --config FILE."
        )
        return 2
    from segpipe.distributed import is_main, read_ranks

    if options.local_rank is not None:
        os.environ.setdefault("LOCAL_RANK", str(options.local_rank))
    if read_ranks().rank != 0:  # what the first process says is said once
        logging.getLogger("segpipe").setLevel(logging.ERROR)
    folder = _folder(options)
    data = _open_data(_configuration(options, folder), options)
    trainer = _build(options, folder, data)
    if is_main():
        print(f"Training\n{format_fields(_plan(trainer, data, options))}\n", flush=True)
    if options.dry_run:
        return _try_out(trainer)
    result = trainer.train()
    if is_main():
        print_result(trainer, result, options, _example(data))
    return 0


@dataclass(frozen=True)
class Data:
    """The data sets of a run and the folder that they lie in."""

    train: SegmentationDataset
    evaluation: SegmentationDataset
    root: Path


def _folder(options: argparse.Namespace) -> ModelFolder | None:
    """The model's folder; of a preset that starts from scratch only the recipe, so that nothing is downloaded."""
    if options.model is None:
        return None
    if (options.from_scratch or options.encoder_weights) and is_preset(options.model):
        return ModelFolder(Path(options.model), find_configuration(options.model), None, "segpipe", options.model)
    return Hub().resolve(options.model)


def _configuration(options: argparse.Namespace, folder: ModelFolder | None) -> Configuration:
    """With the changes of `dataset` alone: a recipe to change may be added when the trainer is built."""
    configuration = read_configuration(options.config) if options.config else folder.configuration  # type: ignore[union-attr]
    return override(configuration, [change for change in _changes(options) if change.startswith("dataset")])


def _changes(options: argparse.Namespace) -> list[str]:
    """The command's changes of the configuration. The data's folder is not among them: it is this machine's."""
    data = [f"dataset={_dataset(options)}"] if options.data else []
    length = ["train.max_epochs=null", f"train.max_steps={DRY_STEPS}"] if options.dry_run else []
    share = [] if options.val_share is None else [f"dataset.val_share={options.val_share}"]
    return [*data, *share, *options.set, *length]


def _dataset(options: argparse.Namespace) -> str:
    """The section `dataset` for what the command names, without folders."""
    mixed = tuple(MixedDataConfig(type=name) for name, _ in options.mix)
    return msgspec.json.encode(DatasetConfig(type=options.data[0], mixed=mixed)).decode()


def _open_data(configuration: Configuration, options: argparse.Namespace) -> Data:
    from segpipe.data import load_configured

    named = _with_roots(configuration, options)
    if named is None or named.root is None:
        raise InputError("There is nothing to train on. Give --data NAME ROOT, e.g. --data folder ./my-pictures.")
    return Data(*load_configured(named, **parse_options(options.option)), Path(named.root))


def _with_roots(configuration: Configuration, options: argparse.Namespace) -> DatasetConfig | None:
    """What the configuration names, with the folders that the command names."""
    named = configuration.dataset
    if named is None or not options.data:
        return named
    return msgspec.structs.replace(named, root=options.data[1], mixed=_mixed_with_roots(named.mixed, options.mix))


def _mixed_with_roots(named: Sequence[MixedDataConfig], given: Sequence[Sequence[str]]) -> tuple[MixedDataConfig, ...]:
    """What is mixed in, with the folders of --mix; as it is without."""
    if not given:
        return tuple(named)
    if [each.type for each in named] != [name for name, _ in given]:
        raise InputError(
            f"--mix names {', '.join(name for name, _ in given)} and dataset.mixed is set to "
            f"{', '.join(each.type for each in named) or 'nothing'}; one of them says what is mixed in. "
            "Give --mix or dataset.mixed, not both."
        )
    return tuple(msgspec.structs.replace(each, root=root) for each, (_, root) in zip(named, given, strict=True))


def _build(options: argparse.Namespace, folder: ModelFolder | None, data: Data) -> Trainer:
    from segpipe.trainers import build_trainer

    dry = options.dry_run
    trainer: Trainer = build_trainer(
        model=folder,
        cfg_file=options.config,
        cfg_options=_changes(options),
        train_dataset=data.train,
        eval_dataset=data.evaluation[:DRY_PICTURES] if dry else data.evaluation,
        work_dir=Path(f"{options.work_dir}-dry-run") if dry else options.work_dir,
        max_steps=None if dry else options.max_steps,
        max_epochs=None if dry else options.max_epochs,
        pretrained=not options.from_scratch,
        encoder_weights=options.encoder_weights,
        device=options.device,
        callbacks=_callbacks(options),
        check_data=not options.skip_data_check,
        accept_changed_data=options.accept_changed_data,
        extend=options.extend and not dry,
        progress=not options.quiet,
    )
    return trainer


def _example(data: Data) -> str:
    """Return an image that the model can be tried on."""
    evaluation: Any = data.evaluation
    return str(evaluation.pairs[0].image if hasattr(evaluation, "pairs") else os.fsdecode(evaluation.paths[0]))


def _callbacks(options: argparse.Namespace) -> list[Callback]:
    if not options.tensorboard:
        return []
    from segpipe.trainers import TensorBoard

    return [TensorBoard()]


def _plan(trainer: Trainer, data: Data, options: argparse.Namespace) -> list[tuple[str, str]]:
    """What will be done, as names and values."""
    parts, names = trainer.parts, data.train.labels.names
    shown = ", ".join(names[:6]) + (", …" if len(names) > 6 else "")
    start = _start_text(options)
    return [
        ("model", f"{_model_text(parts.configuration)}, from {start}"),
        ("data", f"{data.train.name} in {data.root}"),
        ("", f"{data.train.split}: {len(data.train):,} pictures, {data.evaluation.split}: {len(data.evaluation):,}"),
        *_assumption_fields(data),
        ("classes", f"{len(names)}: {shown}"),
        ("steps", _length_text(trainer)),
        *_group_fields(trainer),
        ("device", _device_text(trainer)),
        ("work dir", str(parts.work_dir)),
        *([("curves", f"tensorboard --logdir {shlex.quote(str(parts.work_dir))}")] if options.tensorboard else []),
    ]


def _assumption_fields(data: Data) -> list[tuple[str, str]]:
    """Return what was held out and what was assumed when the data was opened."""
    notes = [note for part in (data.train, data.evaluation) for note in getattr(part, "notes", ())]
    return [("", text) for text in dict.fromkeys(note.what for note in notes if note.kind == "assumed")]


def _start_text(options: argparse.Namespace) -> str:
    if options.encoder_weights:
        return f"the encoder of {options.encoder_weights}"
    if options.from_scratch or options.model is None:
        return "random weights"
    if is_preset(options.model) and not has_weights(find_configuration(options.model)):
        return f"random weights, since there are no public ones of {options.model}"
    return f"the weights of {options.model}"


def _length_text(trainer: Trainer) -> str:
    parts, config = trainer.parts, trainer.config
    batch = f"{config.batch_size}" + (f" × {config.accumulate}" if config.accumulate > 1 else "")
    passes = parts.max_steps * config.batch_size * config.accumulate / parts.num_samples
    evaluation = parts.configuration.evaluation
    when = f"every {_interval_text(evaluation)} and at the end" if evaluation else "at the end"
    when = f"before the first step, {when}" if trainer.evaluates_first else when
    if evaluation and evaluation.patience:
        when += f"; over after {evaluation.patience} without a better one"
    return f"{parts.max_steps:,} of {batch} pictures, {passes:.3g} passes over the data; scores {when}"


def _interval_text(evaluation: EvaluationConfig) -> str:
    if evaluation.every_epochs is None:
        return f"{evaluation.every:,} steps"
    return f"{evaluation.every_epochs} epochs" if evaluation.every_epochs > 1 else "epoch"


def _model_text(configuration: Configuration) -> str:
    model: Any = configuration.model
    variant = f"{model.variant} " if hasattr(model, "variant") else ""
    return f"{type(model).__struct_config__.tag} {variant}with {model.num_classes} outputs"


def _group_fields(trainer: Trainer) -> list[tuple[str, str]]:
    from segpipe.trainers import summarize_groups

    config = trainer.config.optimizer
    groups = summarize_groups(trainer.parts.engine.optimizer)
    kind = f"{type(config).__struct_config__.tag}, learning rate {config.lr:g}; parameters by group:"
    still = [parameter for parameter in trainer.model.parameters() if not parameter.requires_grad]
    values = sum(parameter.numel() for parameter in still)
    frozen = [f"frozen: {values:,} values in {len(still)} tensors"] if still else []
    return [("optimiser", kind), *(("", text) for text in [*map(str, groups), *frozen])]


def _device_text(trainer: Trainer) -> str:
    from segpipe.distributed import world_size

    processes = f", {world_size()} processes" if world_size() > 1 else ""
    return f"{trainer.parts.engine.device}, {trainer.config.precision}{processes}"


def _try_out(trainer: Trainer) -> int:
    """Two steps, an evaluation and a model folder in a place of its own, which is removed."""
    from time import perf_counter

    from segpipe.distributed import barrier, is_main

    place, start = trainer.parts.work_dir, perf_counter()
    try:
        trainer.train()
        barrier()
    finally:
        if is_main():
            shutil.rmtree(place, ignore_errors=True)
    if is_main():
        seconds = format_seconds(perf_counter() - start)
        print(f"It works: {DRY_STEPS} steps, an evaluation and a model folder took {seconds}; nothing was kept.")
    return 0
