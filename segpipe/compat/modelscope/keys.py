"""EasyCV's and ModelScope's keys of a configuration in segpipe's words: all are in the tables below."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from segpipe.distributed import read_ranks
from segpipe.errors import ConfigurationError
from segpipe.log import get_logger

logger = get_logger(__name__)

Change = Callable[[Any], dict[str, Any]]


def _chosen(key: str, values: Mapping[Any, Any]) -> Change:
    """Return a change to a key whose values have other names here."""

    def change(value: Any) -> dict[str, Any]:
        if isinstance(value, bool | int | float | list | dict) or value not in values:
            known = ", ".join(map(str, values))
            raise ConfigurationError(f"{value!r} has no counterpart in segpipe; {known} have one. Set {key} instead.")
        return {key: values[value]}

    return change


def _length(key: str, other: str) -> Change:
    """Return a change of a run's length. Epochs and steps exclude each other."""
    return lambda value: {key: value} if value is None else {key: value, other: None}


def _precision(value: Any) -> dict[str, Any]:
    return {"train.precision": "float16"} if value else {}


def _batch_size(value: Any) -> dict[str, Any]:
    """Return the batch of all processes together, which is what ours is."""
    return {"train.batch_size": value * read_ranks().world_size if type(value) is int else value}


def _warmup(value: Any) -> dict[str, Any]:
    if value is None:
        return {"train.schedule.warmup": None}
    names = {"linear": "linear", "constant": "constant", "exp": "exponential"}
    names |= {"LinearWarmup": "linear", "ConstantWarmup": "constant", "ExponentialWarmup": "exponential"}
    return _chosen("train.schedule.warmup.type", names)(value)


def _hooks(value: Any) -> dict[str, Any]:
    """Return the settings of those hooks that have a counterpart. The others have no effect."""
    ignored: list[str] = []
    keys = {
        "EarlyStopHook": ("patience", "evaluation.patience"),
        "EvaluationHook": ("interval", "evaluation.every_epochs"),
        "TextLoggerHook": ("interval", "train.log_every"),
    }
    changes: dict[str, Any] = {}
    for hook in value if isinstance(value, list | tuple) else ():
        kind = str(hook.get("type")) if isinstance(hook, Mapping) else ""
        if kind in keys and keys[kind][0] in hook:
            changes[keys[kind][1]] = hook[keys[kind][0]]
        else:
            ignored.append(str(kind or hook))
    if ignored:
        logger.warning("train.hooks: %s have no effect in segpipe", ", ".join(ignored))
    return changes


def _groups(value: Any) -> dict[str, Any]:
    """Return groups of parameters by a part of their names, of which some have other names here."""
    names = {"backbone": "encoder", "decode_head": "head", "head": "head", "norm": "norm"}
    groups = []
    for name, factors in value.items() if isinstance(value, Mapping) else ():
        decay = factors.get("decay_mult", 1) if isinstance(factors, Mapping) else None
        if name == "pos_block":  # of networks with another kind of position
            continue
        if name not in names or decay not in (0, 1) or not set(factors) <= {"decay_mult", "lr_mult"}:
            known = f"{', '.join(names)} with lr_mult, and a decay_mult of 0 or 1"
            raise ConfigurationError(f"{name} {factors} has no counterpart; {known} have. Set train.optimizer.groups.")
        group = {"match": names[name], "lr_factor": factors.get("lr_mult", 1)}
        groups.append({**group, "weight_decay": 0} if decay == 0 else group)
    return {"train.optimizer.groups": groups}


_SCHEDULES = {"poly": "poly", "CosineAnnealing": "cosine", "CosineAnnealingLR": "cosine", "fixed": "constant"}
_SYNCHRONIZED = {"BN": False, "SyncBN": True}

RENAMED: dict[str, str] = {
    "evaluation.dataloader.batch_size_per_gpu": "evaluation.batch_size",
    "evaluation.period.interval": "evaluation.every_epochs",
    "model.backbone.drop_path_rate": "model.encoder.drop_path_rate",
    "model.decode_head.channels": "model.head.channels",
    "model.decode_head.dropout_ratio": "model.head.dropout",
    "model.decode_head.loss_decode.class_weight": "train.loss.class_weights",
    "model.decode_head.loss_decode.loss_weight": "train.loss.weight",
    "model.test_cfg.crop_size": "inference.window",
    "model.test_cfg.mode": "inference.mode",
    "model.test_cfg.stride": "inference.stride",
    "train.dataloader.workers_per_gpu": "train.workers",
    "train.logging.interval": "train.log_every",
    "train.lr_scheduler.eta_min": "train.schedule.min_lr",
    "train.lr_scheduler.min_lr": "train.schedule.min_lr",
    "train.lr_scheduler.options.warmup.warmup_iters": "train.schedule.warmup.steps",
    "train.lr_scheduler.options.warmup.warmup_ratio": "train.schedule.warmup.ratio",
    "train.lr_scheduler.power": "train.schedule.power",
    "train.lr_scheduler.warmup_iters": "train.schedule.warmup.steps",
    "train.lr_scheduler.warmup_ratio": "train.schedule.warmup.ratio",
    "train.optimizer.options.cumulative_iters": "train.accumulate",
    "train.optimizer.options.grad_clip.max_norm": "train.clip_grad_norm",
    "train.optimizer_config.grad_clip.max_norm": "train.clip_grad_norm",
}
"""Keys that say the same by another name."""

CHANGED: dict[str, Change] = {
    "model.decode_head.norm_cfg.type": _chosen("train.sync_batch_norm", _SYNCHRONIZED),
    "train.dataloader.batch_size_per_gpu": _batch_size,
    "train.hooks": _hooks,
    "train.lr_scheduler.options.warmup.type": _warmup,
    "train.lr_scheduler.policy": _chosen("train.schedule.type", _SCHEDULES),
    "train.lr_scheduler.type": _chosen("train.schedule.type", _SCHEDULES),
    "train.lr_scheduler.warmup": _warmup,
    "train.max_epochs": _length("train.max_epochs", "train.max_steps"),
    "train.max_iters": _length("train.max_steps", "train.max_epochs"),
    "train.optimizer.paramwise_options.custom_keys": _groups,
    "train.optimizer.type": _chosen(
        "train.optimizer.type", {"AdamW": "adamw", "SGD": "sgd", "adamw": "adamw", "sgd": "sgd"}
    ),
    "train.use_fp16": _precision,
    "use_fp16": _precision,
}
"""Keys whose values change with the name."""

IGNORED: dict[str, str] = {
    "CLASSES": "the data says what its classes are",
    "PALETTE": "the data says what its colors are",
    "allow_remote": "no code of a model is run",
    "dataset.train.ignore_index": "the data says what is ignored",
    "dataset.train.type": "the data set that is given is opened",
    "evaluation.dataloader": "evaluation reads in this process",
    "evaluation.period": "evaluation.every counts steps, evaluation.every_epochs passes",
    "evaluation.metrics": "mIoU and the scores of each class are always measured",
    "framework": "it is PyTorch",
    "log_level": "Python's logging says it",
    "model.backbone.norm_cfg": "the encoder has layer norms",
    "model.backbone.type": "the model says it",
    "model.decode_head.align_corners": "the model says it",
    "model.decode_head.loss_decode": "it is the cross-entropy",
    "model.decode_head.norm_cfg": "batch norms are trained",
    "model.decode_head.num_classes": "the data says how many there are",
    "model.decode_head.type": "the model says it",
    "model.train_cfg": "it is empty",
    "plugins": "no code of a model is run",
    "train.checkpoint": "train.checkpoint.every counts steps",
    "train.dataloader": "batches are shuffled, and the last one is filled up",
    "train.logging": "log.jsonl has all of it",
    "train.lr_scheduler.by_epoch": "learning rates change by steps",
    "train.lr_scheduler.options": "learning rates change by steps",
    "train.lr_scheduler.T_max": "a schedule is as long as the run",
    "train.lr_scheduler.warmup_by_epoch": "a warm-up counts steps",
}
"""Keys, and all below them, that change nothing here, and why."""

REFUSED: dict[str, str] = {
    "dataset.train.data_source": "train_dataset=MsDataset.load(…, data_dir=…)",
    "dataset.train.pipeline": "train.transforms",
    "dataset.val": "eval_dataset=MsDataset.load(…, data_dir=…)",
    "load_from": "the argument model, or trainer.train(checkpoint_path=…)",
    "model.backbone.init_cfg": "the argument encoder_weights",
    "model.backbone.pretrained": "the argument encoder_weights",
    "model.backbone": "model.encoder, as in segpipe config show segformer-b0-cocostuff",
    "model.decode_head": "model.head, as in segpipe config show segformer-b0-cocostuff",
    "model.pretrained": "the argument encoder_weights",
    "model.test_cfg": "inference, as in segpipe config show segformer-b0-cocostuff",
    "train.load_from": "the argument model, or trainer.train(checkpoint_path=…)",
    "train.lr_scheduler": "train.schedule, as in segpipe config show segformer-b0-cocostuff",
    "train.optimizer.options": "train.clip_grad_norm and train.accumulate",
    "train.optimizer.paramwise_options": "train.optimizer.groups",
    "train.optimizer_config": "train.clip_grad_norm",
    "train.work_dir": "the argument work_dir",
}
"""Keys, and all below them, and what to use instead."""

_OWN = ("train.checkpoint.every", "train.checkpoint.keep")
"""Ours, though they lie below a key of theirs that has no effect."""
_SECTIONS = {
    ".".join(key.split(".")[:depth])
    for key in (*RENAMED, *CHANGED, *IGNORED, *REFUSED, *_OWN)
    for depth in range(1, key.count(".") + 1)
}
"""What lies above a key of theirs: a dict there is taken apart."""


def own_changes(options: Mapping[str, Any], *, origin: str = "cfg_options") -> dict[str, Any]:
    """Return changes of a configuration in segpipe's keys. Keys that are in no table are taken for segpipe's.

    Args:
        options: EasyCV's, ModelScope's or segpipe's keys, such as `train.optimizer.lr`, or sections as dicts.
        origin: where they stand, for messages.

    Raises:
        ConfigurationError: a key, or its value, has no counterpart; the message says what to use.
    """
    changes: dict[str, Any] = {}
    ignored: list[str] = []
    for path, value in (leaf for key, member in options.items() for leaf in _leaves(str(key), member)):
        above = _above(path)
        if path in RENAMED:
            changes[RENAMED[path]] = list(value) if isinstance(value, tuple) else value
        elif path in CHANGED:
            changes |= _changed(path, value, origin)
        elif path in _OWN or above is None:
            changes[path] = value
        elif above in IGNORED:
            ignored.append(f"{path} ({IGNORED[above]})")
        elif value not in (None, {}, []):  # which ask for nothing
            raise ConfigurationError(
                f"{origin}: {path} is a key of EasyCV's without a counterpart in segpipe. Use {REFUSED[above]}."
            )
    if ignored:
        logger.warning("%s without an effect in segpipe: %s", origin, "; ".join(ignored))
    return changes


def is_foreign(document: Mapping[str, Any]) -> bool:
    """Return whether a document is in EasyCV's or ModelScope's words."""
    return any(
        key in section
        for name, keys in (("model", ("backbone", "decode_head")), ("train", ("dataloader", "lr_scheduler", "hooks")))
        if isinstance(section := document.get(name), Mapping)
        for key in keys
    )


def _leaves(path: str, value: Any) -> Iterator[tuple[str, Any]]:
    """Yield the values of sections that have keys of theirs, each with its path; other dicts are values."""
    if isinstance(value, Mapping) and value and path in _SECTIONS:
        for key, member in value.items():
            yield from _leaves(f"{path}.{key}", member)
        return
    yield path, value


def _above(path: str) -> str | None:
    """Return the longest key of theirs that a path is, or lies below, among those without a counterpart."""
    steps = path.split(".")
    prefixes = (".".join(steps[:length]) for length in range(len(steps), 0, -1))
    return next((prefix for prefix in prefixes if prefix in IGNORED or prefix in REFUSED), None)


def _changed(path: str, value: Any, origin: str) -> dict[str, Any]:
    try:
        return CHANGED[path](value)
    except ConfigurationError as error:
        raise ConfigurationError(f"{origin}: {path}: {error}") from None
