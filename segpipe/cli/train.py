"""`segpipe train`, which says what it will do, trains, and says how to use what came out; and `segpipe curves`."""

from __future__ import annotations

import argparse
import json
import os
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import msgspec

from segpipe import drawing, trainers
from segpipe.checkpoints import find_configuration
from segpipe.configuration import Configuration, DatasetConfig, MixedDataConfig, override, read_configuration
from segpipe.errors import InputError
from segpipe.hub import ModelFolder, has_weights, is_preset
from segpipe.text import format_fields, format_percent, format_seconds, format_table

from .parsing import Command, UsageError, share, whole_number
from .printing import print_result
from .shared_options import (
    add_dataset_option,
    add_device,
    add_json,
    add_launcher,
    add_set,
    apply_launcher,
    parse_options,
)

if TYPE_CHECKING:
    from segpipe.data import SegmentationDataset

DRY_STEPS, DRY_IMAGES = 2, 2
TRAIN_EXAMPLES = """  segpipe train --model segformer-b0-ade20k --data ade20k ~/data/ADEChallengeData2016
  segpipe train --model segformer-b0-camvid --data folder ./street --max-epochs 40 --set train.batch_size=4
  segpipe train --model segformer-b0-camvid --data folder ./street --option names=road,sky --dry-run
  torchrun --nproc-per-node 8 -m segpipe train --model segformer-b2-cityscapes --data cityscapes /data/cityscapes

to go on, and to train longer:
  resume     The same command again goes on where the run in --work-dir stopped, to the same weights.
  extend     With a new --max-epochs or --max-steps and --extend, that run goes on to the new end. Each further step
             has the learning rate that a run of the new length has there: one that had come down rises again.
  fine-tune  --model DIR and another --work-dir begin a new run at step 0, with the best weights of the run in DIR
             and the whole schedule; mostly with a lower rate, such as --set train.optimizer.lr=6e-6."""
CURVES_EXAMPLES = """  segpipe curves work_dir
  segpipe curves first second third --output curves.png --keys loss,miou,lr
  segpipe curves runs/* --x time"""


@dataclass(frozen=True)
class Data:
    """The data sets of a run and the folder that they lie in."""

    train: SegmentationDataset
    evaluation: SegmentationDataset
    root: Path


def add_train_arguments(parser: argparse.ArgumentParser) -> None:
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
    add_dataset_option(parser)
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
    length.add_argument("--max-steps", type=whole_number, metavar="N", help="length in optimizer steps")
    length.add_argument("--max-epochs", type=whole_number, metavar="N", help="length in passes over the data")
    add_set(parser)
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
    add_launcher(parser)
    add_device(parser)
    parser.add_argument(
        "--tensorboard", action="store_true", help="also write curves for TensorBoard, to DIR/tensorboard"
    )
    parser.add_argument("--quiet", action="store_true", help="no progress: neither bars nor lines of the run")
    parser.add_argument(
        "--skip-data-check", action="store_true", help="no look at some labels of both splits before the first step"
    )
    parser.add_argument(
        "--dry-run", action="store_true", help="two steps and one evaluation of two images; leaves nothing behind"
    )


def run_train(options: argparse.Namespace) -> int:
    if options.mix and not options.data:
        raise UsageError("--mix goes with --data: what is it mixed into? Give --data NAME ROOT too.")
    if options.model is None and options.config is None:
        raise UsageError("What shall be trained? Give --model NAME, see segpipe models list, or --config FILE.")
    from segpipe.distributed import is_main

    apply_launcher(options)
    folder = _folder(options)
    data = _open_data(_configuration(options, folder), options)
    trainer = _build(options, folder, data)
    if is_main():
        print(f"Training\n{format_fields(_plan(trainer, data, options))}\n", flush=True)
    if options.dry_run:
        seconds = trainers.try_out(trainer)
        if is_main():
            took = f"{DRY_STEPS} steps, an evaluation and a model folder took {format_seconds(seconds)}"
            print(f"It works: {took}; nothing was kept.")
        return 0
    result = trainer.train()
    if is_main():
        _print_result(trainer, result, options, _example(data))
    return 0


def _folder(options: argparse.Namespace) -> ModelFolder | None:
    """Return the model's folder; of a preset that starts from scratch only the recipe, so nothing is downloaded."""
    if options.model is None:
        return None
    return trainers.open_recipe(options.model, with_weights=not options.from_scratch and not options.encoder_weights)


def _configuration(options: argparse.Namespace, folder: ModelFolder | None) -> Configuration:
    """Return the configuration with the changes of `dataset` alone; the trainer's builder may add a recipe first."""
    configuration = read_configuration(options.config) if options.config else folder.configuration  # type: ignore[union-attr]
    return override(configuration, [change for change in _changes(options) if change.startswith("dataset")])


def _changes(options: argparse.Namespace) -> list[str]:
    """Return the command's changes of the configuration, without the data's folder, which is this machine's."""
    data = [f"dataset={_dataset(options)}"] if options.data else []
    length = ["train.max_epochs=null", f"train.max_steps={DRY_STEPS}"] if options.dry_run else []
    held_out = [] if options.val_share is None else [f"dataset.val_share={options.val_share}"]
    return [*data, *held_out, *options.set, *length]


def _dataset(options: argparse.Namespace) -> str:
    """Return the section `dataset` for what the command names, without folders."""
    mixed = tuple(MixedDataConfig(type=name) for name, _ in options.mix)
    return msgspec.json.encode(DatasetConfig(type=options.data[0], mixed=mixed)).decode()


def _open_data(configuration: Configuration, options: argparse.Namespace) -> Data:
    from segpipe.data import load_configured

    named = _with_roots(configuration, options)
    if named is None or named.root is None:
        raise InputError("There is nothing to train on. Give --data NAME ROOT, e.g. --data folder ./my-images.")
    return Data(*load_configured(named, **parse_options(options.option)), Path(named.root))


def _with_roots(configuration: Configuration, options: argparse.Namespace) -> DatasetConfig | None:
    """Return the configuration's data, with the folders that the command names."""
    named = configuration.dataset
    if named is None or not options.data:
        return named
    return msgspec.structs.replace(named, root=options.data[1], mixed=_mixed_with_roots(named.mixed, options.mix))


def _mixed_with_roots(named: Sequence[MixedDataConfig], given: Sequence[Sequence[str]]) -> tuple[MixedDataConfig, ...]:
    """Return the mixed data with the folders of --mix, or unchanged without it."""
    if not given:
        return tuple(named)
    if [each.type for each in named] != [name for name, _ in given]:
        raise InputError(
            f"--mix names {', '.join(name for name, _ in given)} and dataset.mixed is set to "
            f"{', '.join(each.type for each in named) or 'nothing'}; one of them says what is mixed in. "
            "Give --mix or dataset.mixed, not both."
        )
    return tuple(msgspec.structs.replace(each, root=root) for each, (_, root) in zip(named, given, strict=True))


def _build(options: argparse.Namespace, folder: ModelFolder | None, data: Data) -> trainers.Trainer:
    dry = options.dry_run
    return trainers.build_trainer(
        model=folder,
        cfg_file=options.config,
        cfg_options=_changes(options),
        train_dataset=data.train,
        eval_dataset=data.evaluation[:DRY_IMAGES] if dry else data.evaluation,
        work_dir=Path(f"{options.work_dir}-dry-run") if dry else options.work_dir,
        max_steps=None if dry else options.max_steps,
        max_epochs=None if dry else options.max_epochs,
        pretrained=not options.from_scratch,
        encoder_weights=options.encoder_weights,
        device=options.device,
        callbacks=[trainers.TensorBoard()] if options.tensorboard else [],
        check_data=not options.skip_data_check,
        accept_changed_data=options.accept_changed_data,
        extend=options.extend and not dry,
        progress=not options.quiet,
    )


def _plan(trainer: trainers.Trainer, data: Data, options: argparse.Namespace) -> list[tuple[str, str]]:
    """Return the plan of the run, as names and values."""
    run, names = trainers.describe_run(trainer), data.train.labels.names
    shown = ", ".join(names[:6]) + (", …" if len(names) > 6 else "")
    work_dir = trainer.parts.work_dir
    return [
        ("model", f"{run.model}, from {_start_text(options)}"),
        ("data", f"{data.train.name} in {data.root}"),
        ("", f"{data.train.split}: {len(data.train):,} images, {data.evaluation.split}: {len(data.evaluation):,}"),
        *_assumption_fields(data),
        ("classes", f"{len(names)}: {shown}"),
        ("steps", run.length),
        *[("" if index else "optimizer", text) for index, text in enumerate(run.optimizer)],
        ("device", run.device),
        ("work dir", str(work_dir)),
        *([("curves", f"tensorboard --logdir {shlex.quote(str(work_dir))}")] if options.tensorboard else []),
    ]


def _assumption_fields(data: Data) -> list[tuple[str, str]]:
    """Return the notes on what was held out and assumed when the data was opened."""
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


def _example(data: Data) -> str:
    """Return an image that the model can be tried on."""
    evaluation: Any = data.evaluation
    return str(evaluation.pairs[0].image if hasattr(evaluation, "pairs") else os.fsdecode(evaluation.paths[0]))


def _print_result(trainer: trainers.Trainer, result: ModelFolder, options: argparse.Namespace, image: str) -> None:
    """Print the scores of a run and what can be done with its model, in commands and code to copy."""
    table = _score_table(trainer)
    if table:
        print(f"\n{table}\n")
    folder = shlex.quote(str(result.path))
    print(f"The model is in {result.path}, the run's curves in {trainer.parts.work_dir / 'curves.png'}.\n")
    reading = {key: value for key, value in parse_options(options.option).items() if key in ("alpha", "bit_depth")}
    read = [part for key, value in reading.items() for part in (f"--{key.replace('_', '-')}", str(value))]
    print(f"  {shlex.join(['segpipe', 'predict', image, '--model', str(result.path), *read])}")
    if options.data:
        held_out = [] if options.val_share is None else [f"val_share={options.val_share}"]
        given = [part for pair in [*options.option, *held_out] for part in ("--option", pair)]
        print(f"  segpipe eval {folder} --data {shlex.join([*options.data, *given])}")
    print("\nor in Python:\n\n  from segpipe import pipeline")
    named = "".join(f", {key}={json.dumps(value)}" for key, value in reading.items())
    print(
        f'  print(pipeline("{result.configuration.task}", {json.dumps(str(result.path))}{named})({json.dumps(image)}))'
    )


def _score_table(trainer: trainers.Trainer) -> str | None:
    """Return the scores of the best step, whose weights the folder has, or None without an evaluation."""
    best = trainers.best_evaluation(trainer)
    if best is None:
        return None
    first = trainer.progress.first_score
    began = "" if first is None else f"; training began at {format_percent(first)}"
    header = f"Step {best['step']:,}, on the evaluation data{began}"
    if "iou" not in best:
        rows = [(title, format_percent(best.get(key))) for key, title in (("acc1", "Acc@1"), ("acc5", "Acc@5"))]
        return f"{header}\n{format_table([('score', '%'), *rows], ('left', 'right'))}"
    rows = [(name, format_percent(iou)) for name, iou in best["iou"].items()]
    mean = format_percent(best.get("miou"))
    return f"{header}\n{format_table([('class', 'IoU %'), *rows, ('mean', mean)], ('left', 'right'))}"


def add_curves_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("runs", nargs="+", metavar="RUN", help="work directory, model folder or log.jsonl; at most 8")
    parser.add_argument("--output", type=Path, default=Path("curves.png"), metavar="FILE", help="default: curves.png")
    parser.add_argument("--keys", metavar="A,B,C", help="panels, e.g. loss,lr,miou; default: loss and the main score")
    parser.add_argument("--x", choices=get_args(trainers.XAxis), default="step", help="the axis; default: step")
    add_json(parser)


def run_curves(options: argparse.Namespace) -> int:
    runs = trainers.read_runs(options.runs)
    keys = [key.strip() for key in options.keys.split(",")] if options.keys else None
    path = drawing.write_image(options.output, trainers.compare_runs(runs, keys, x=options.x))
    document = {"path": str(path), "runs": [{"name": run.name, "keys": list(run.keys)} for run in runs]}
    print_result(options, document, f"{path}  {', '.join(run.name for run in runs)}")
    return 0


COMMANDS = {
    "train": Command(add_train_arguments, run_train, TRAIN_EXAMPLES),
    "curves": Command(add_curves_arguments, run_curves, CURVES_EXAMPLES),
}
