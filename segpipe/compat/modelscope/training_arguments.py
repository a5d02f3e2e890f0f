"""ModelScope's `build_trainer`: its arguments and EasyCV's keys in segpipe's words."""

from __future__ import annotations

import copy
import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec

from segpipe import distributed
from segpipe.checkpoints import read_weights, resolve_folder, tensors_of
from segpipe.configuration import load_preset, override, preset_names
from segpipe.errors import InputError
from segpipe.evaluation import AnyScores
from segpipe.hub import ModelFolder
from segpipe.log import get_logger
from segpipe.models import fit_tensors
from segpipe.trainers import Trainer, build_trainer as build_own_trainer, with_published_recipe

from .constants import Trainers
from .documents import Config
from .downloads import configuration_of, without_ignored
from .keys import is_foreign, own_changes
from .running import own_device

logger = get_logger(__name__)

WITHOUT_EFFECT = frozenset(
    {
        "arg_parse_fn",
        "compile_options",
        "data_collator",
        "preprocessor",
        "remove_unused_data",
        "samplers",
        "third_party",
        "trust_remote_code",
        "train_iters_per_epoch",
        "val_iters_per_epoch",
    }
)
"""Arguments with which ModelScope finds code, and prepares and groups samples."""
_REFUSED = {
    "efficient_tuners": "freeze parts with cfg_options={'train.freeze': [...]}",
    "optimizers": "describe the optimiser by cfg_options={'train.optimizer.…': …}",
}
OUTPUT = "output"
"""What ModelScope calls the model folder in a work directory."""


class ModelScopeTrainer:
    """A trainer with ModelScope's methods; everything else is segpipe's `Trainer`, which is `trainer`."""

    def __init__(self, trainer: Trainer) -> None:
        self.trainer = trainer

    def __getattr__(self, name: str) -> Any:
        if name == "trainer":  # in a copy that has no attributes yet
            raise AttributeError(name)
        return getattr(self.trainer, name)

    def train(
        self, checkpoint_path: str | Path | None = None, load_all_state: bool = True, strict: bool = False
    ) -> ModelFolder:
        """Train to the end, or go on where the last run in the work directory stopped; see `Trainer.train`.

        The model folder is `model` in the work directory, and `output` leads to it.

        Args:
            checkpoint_path: weights to begin with. They are not used where a run goes on.
            load_all_state: has no effect: an optimiser's state is taken from a run's own checkpoints alone.
            strict: has no effect: all weights must fit, but for a classifier of other classes.
        """
        if checkpoint_path is not None:
            _apply_checkpoint(self.trainer, Path(checkpoint_path))
        folder = self.trainer.train()
        if distributed.is_main():
            _link_output(folder)
        return folder

    def evaluate(self, checkpoint_path: str | Path | None = None, *_: Any, **__: Any) -> Evaluation:
        """Return scores on the evaluation data, of the weights in a file or of those that the trainer has."""
        if checkpoint_path is not None:
            _apply_checkpoint(self.trainer, Path(checkpoint_path))
        return Evaluation(self.trainer.evaluate())


class Evaluation(dict[str, float]):
    """Scores by EasyCV's names: mIoU, mAcc, aAcc, and IoU.… of each class, from 0 to 1. `scores` has ours."""

    def __init__(self, scores: AnyScores) -> None:
        names = {"miou": "mIoU", "mean_accuracy": "mAcc", "pixel_accuracy": "aAcc"}
        super().__init__({names.get(name, name): value for name, value in scores.means.items()})
        self.update({f"IoU.{name}": value for name, value in scores.by_class.get("iou", {}).items()})
        self.scores = scores

    def __getattr__(self, name: str) -> Any:
        if name == "scores":
            raise AttributeError(name)
        return getattr(self.scores, name)


def build_trainer(
    name: str | None = Trainers.default, default_args: Mapping[str, Any] | None = None, **arguments: Any
) -> Any:
    """Build a trainer as ModelScope does; see `segpipe.build_trainer` for the arguments.

    `cfg_options` takes EasyCV's keys, see `keys.own_changes`. `cfg_modify_fn` gets the model's configuration.json as a
    `Config`, and what it changes is a change by key; so is what differs from the model in a `cfg_file` of EasyCV's.
    `device="gpu"` is the CPU where there is no GPU.

    Raises:
        ConfigurationError: a key has no counterpart here; the message says what to use.
    """
    twice = sorted(set(default_args or {}) & set(arguments))
    if twice:
        raise InputError(f"{twice[0]!r} is given in default_args and as a keyword. Give it once.")
    chosen = _without_refused({**(default_args or {}), **arguments})
    revision, modify = chosen.pop("model_revision", None), chosen.pop("cfg_modify_fn", None)
    if chosen.get("model") is not None:
        chosen["model"] = _opened(chosen["model"], revision)
    changes = _modifications(chosen, modify)
    changes |= {key: chosen.pop(key) for key in ("use_fp16",) if key in chosen}
    if chosen.pop("compile", False):
        changes["train.compile"] = True
    options = chosen.get("cfg_options") or {}
    if isinstance(options, Mapping):
        chosen["cfg_options"] = own_changes({**changes, **options})
    elif changes:
        raise InputError("cfg_options is a list here, beside other changes. Give it as a dict of keys and values.")
    if chosen.get("device") is not None:
        chosen["device"] = _device(str(chosen["device"]))
    built = build_own_trainer(name, chosen)
    return ModelScopeTrainer(built) if isinstance(built, Trainer) else built


def _opened(model: str | Path | ModelFolder, revision: str | None) -> str | Path | ModelFolder:
    """Return the model's folder, with a recipe; a preset's name as it is, for its weights may not be wanted."""
    if isinstance(model, ModelFolder):
        return _with_own_recipe(model)
    if str(model) in preset_names() and revision is None and not os.path.isdir(model):
        return model
    return _with_own_recipe(resolve_folder(model, revision))


def _with_own_recipe(folder: ModelFolder) -> ModelFolder:
    """Give an EasyCV folder that no preset describes the recipe that its configuration.json states.

    What the file does not state, such as the augmentations, is as in the preset of the same size.
    """
    configuration = folder.configuration
    if with_published_recipe(configuration, folder.name).train is not None:
        return folder
    theirs = configuration_of(folder)
    if "train" not in theirs or not is_foreign(theirs):
        return folder
    variant = configuration.model.variant
    preset = load_preset(f"segformer-{variant}-cocostuff")
    logger.info("The recipe of %s is its own, with the augmentations of segformer-%s-cocostuff", folder.name, variant)
    based = msgspec.structs.replace(configuration, train=preset.train, evaluation=preset.evaluation)
    stated = {section: theirs[section] for section in ("train", "evaluation") if section in theirs}
    return replace(
        folder, configuration=override(based, own_changes(stated, origin=f"{folder.name}: configuration.json"))
    )


def _without_refused(arguments: dict[str, Any]) -> dict[str, Any]:
    """Return the arguments that have an effect here; InputError for those that cannot have one."""
    for name, instead in _REFUSED.items():
        value = arguments.pop(name, None)
        if value is not None and any(part is not None for part in (value if isinstance(value, tuple) else (value,))):
            raise InputError(f"build_trainer: {name} cannot be given to segpipe; {instead}.")
    return without_ignored("build_trainer", arguments, WITHOUT_EFFECT)


def _modifications(arguments: dict[str, Any], modify: Callable[[Config], Config] | None) -> dict[str, Any]:
    """Return by key where a file in EasyCV's words differs from the model, and what a function changes.

    Such a file is removed from the arguments, since the model and these changes describe the run.
    """
    stated = Config.from_file(arguments["cfg_file"]) if arguments.get("cfg_file") else None
    is_theirs = stated is not None and is_foreign(stated)
    if modify is None and not is_theirs:
        return {}
    before = _configuration_of_model(arguments) if stated is None or is_theirs else stated
    after = copy.deepcopy(before if stated is None else stated)
    if is_theirs:
        del arguments["cfg_file"]
    if modify is not None:
        after = modify(after)
    if not isinstance(after, Mapping):
        raise InputError(f"cfg_modify_fn gave {type(after).__name__}; it must return the configuration.")
    return _differences(_with_lists(before), _with_lists(after))


def _configuration_of_model(arguments: Mapping[str, Any]) -> Config:
    if arguments.get("model") is None:
        raise InputError("There is no model whose configuration could be changed. Give model.")
    return configuration_of(resolve_folder(arguments["model"]))


def _with_lists(value: Any) -> Any:
    """Return plain dicts, and lists for tuples, which JSON does not tell from each other."""
    if isinstance(value, Mapping):
        return {key: _with_lists(member) for key, member in value.items()}
    return [_with_lists(member) for member in value] if isinstance(value, list | tuple) else value


def _differences(before: Mapping[str, Any], after: Mapping[str, Any], path: str = "") -> dict[str, Any]:
    """Return the members of `after` that are new or changed, by path; what is missing there is left out."""
    changes: dict[str, Any] = {}
    for key, value in after.items():
        here, own = f"{path}.{key}" if path else key, before.get(key)
        if isinstance(value, Mapping) and isinstance(own, Mapping):
            changes |= _differences(own, value, here)
        elif key not in before or value != own:
            changes[here] = value
    return changes


def _device(device: str) -> str | None:
    """Return the device that is named, or None, which is the GPU of this process, for "gpu" alone."""
    chosen = own_device(device)
    return None if chosen == "cuda" else chosen


def _apply_checkpoint(trainer: Trainer, path: Path) -> None:
    """Put the weights of a file into a trainer's network; a classifier of other classes stays as it is."""
    if not os.path.exists(path):
        work_dir = trainer.parts.work_dir
        raise InputError(
            f"There is no checkpoint {path}. segpipe's own are {work_dir}/model, the best weights, and "
            f"{work_dir}/checkpoints, from which train() goes on by itself. Give one of these, or another file."
        )
    tensors = tensors_of(resolve_folder(path)) if os.path.isdir(path) else read_weights(path).tensors
    own = trainer.model.state_dict()
    others = [
        key for key, tensor in tensors.items() if "classifier." in key and key in own and tensor.shape != own[key].shape
    ]
    fitted = fit_tensors(trainer.model, {**tensors, **{key: own[key] for key in others}}, origin=str(path))
    trainer.model.load_state_dict(fitted, strict=False)
    logger.info("Beginning with the weights in %s%s", path, ", but for the classifier" if others else "")


def _link_output(folder: ModelFolder) -> None:
    """Let `output` beside the model folder lead to it, where links can be made and nothing else is there."""
    link = folder.path.parent / OUTPUT
    with suppress(OSError):
        if not os.path.lexists(link):
            link.symlink_to(folder.path.name, target_is_directory=True)
