"""Open data sets by name, one alone or those that a configuration names for training and evaluation."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

from segpipe import advice
from segpipe.configuration import DatasetConfig, MixedDataConfig
from segpipe.errors import InputError, MissingSplitError, SegpipeError, UnknownNameError
from segpipe.log import get_logger
from segpipe.names import unknown_name_message
from segpipe.registry import Registry

from ..findings import collect_faults
from ..image_options import Alpha, BitDepth, Reading
from ..preparing.plans import Preparer
from .combining import concat, hold_out, repeat, subset_classes
from .dataset import ClassificationDataset, SegmentationDataset, image_files
from .splits import ALL, canonical, options_for

logger = get_logger(__name__)
DATASETS: Registry[Callable[..., Any]] = Registry("data set")
"""Name → builder(root, split, **options)."""
PREPARERS: Registry[Preparer] = Registry("data set that can be prepared")
"""Name → how it is prepared."""
_TEXTS = ("str", "str | None", "AnyPath", "AnyPath | None")
"""Annotations of options that are texts, as `from __future__ import annotations` keeps them."""


def load_dataset(
    name: str,
    root: str | os.PathLike[str],
    split: str = "train",
    *,
    classes: Sequence[str] | None = None,
    alpha: Alpha = "auto",
    bit_depth: BitDepth = None,
    val_share: float | None = None,
    **options: Any,
) -> SegmentationDataset:
    """Open a data set that lies in a folder. Files are listed, not decoded.

    An option of a single split has its name in front: `**{"train.split_file": "a.txt", "val.split_file": "b.txt"}`.

    Args:
        name: see `DATASETS`: ade20k, camvid, cityscapes, coco-stuff164k, pascal-context, pascal-voc, …; `folder` for
            images and masks of your own, `coco-annotations` and `coco-panoptic` for COCO's JSON. `imagenet` and
            `class-folders`, whose images have one class each, give a `ClassificationDataset`.
        root: its folder.
        split: train, val, …; training and validation are understood.
        classes: only these, numbered in this order; the pixels of all others are ignored. If None, all.
        alpha: how images are read, see `segpipe.data.Reading`; a pipeline takes the same option.
        bit_depth: the same.
        val_share: share of the training data that is the split "val", held out by the samples' names, where there is no
            such split, see `hold_out`; the split "train" is the rest. Other splits are as they are.
        options: options of this data set; all but the COCO ones take `split_file`, a text with the images to use.

    Raises:
        UnknownNameError: there is no such data set, split or class; the nearest one is named.
        InputError: the folder does not hold the data set, files do not fit together, or there is no sample.
    """
    _check_place(root, split)
    given = {"classes": classes, "alpha": alpha, "bit_depth": bit_depth, **options}
    part = canonical(split)
    if val_share is None or part not in ("train", "val"):
        return _open(name, root, split, given)
    whole = _open_whole(name, root, split if part == "train" else "train", given)
    return hold_out(whole, val_share)[part == "val"]


def _check_place(root: object, split: object) -> None:
    for key, value in (("root", root), ("split", split)):
        if not isinstance(value, str | os.PathLike):
            raise InputError(
                f"{key} is {value!r}; a {'folder' if key == 'root' else 'name'} is needed. Give e.g. "
                f"{advice.argument(key, 'path/to/it' if key == 'root' else 'train')}."
            )


def _open(name: str, root: str | os.PathLike[str], split: str, given: Mapping[str, Any]) -> Any:
    """Open a split with the options that are for it."""
    builder, options = DATASETS.get(name), options_for(split, given)
    classes = options.pop("classes", None)
    reading = Reading(options.pop("alpha", "auto"), options.pop("bit_depth", None))
    _check_options(name, builder, options)
    dataset = _with_reading(builder(root, split, **_texts_of(builder, options)), reading)
    if len(dataset) == 0:
        raise InputError(
            f"{name} {split} in {root} has no samples; at least one is needed. Check the folder, the split and the "
            "options."
        )
    return dataset if classes is None else subset_classes(dataset, classes)


def _open_whole(name: str, root: str | os.PathLike[str], split: str, given: Mapping[str, Any]) -> Any:
    """Open the split to hold samples out of: all of it where there are no splits."""
    try:
        return _open(name, root, split, given)
    except MissingSplitError:
        with suppress(InputError, UnknownNameError):
            return _open(name, root, ALL, given)
        raise


def load_configured(config: DatasetConfig, **options: Any) -> tuple[SegmentationDataset, SegmentationDataset]:
    """Open training and evaluation data as a configuration names them.

    Args:
        config: with the folder of each data set.
        options: of the main data set, see `load_dataset`.

    Raises:
        InputError: a folder is not named, or data that is mixed in has other classes.
    """
    if config.root is None:
        raise InputError(
            f"dataset is {config.type} without a folder. Say where it lies: "
            f"{advice.setting('dataset.root', 'path/to/it')}."
        )
    train, evaluation = _open_both(config, config.root, {**config.options, **options})
    mixed = [
        repeat(load_dataset(each.type, _mixed_root(each, index), each.split), each.times)
        for index, each in enumerate(config.mixed)
    ]
    train = repeat(train, config.train.times)
    return (concat([train, *mixed]) if mixed else train), evaluation


def has_own_split(name: str, root: str | os.PathLike[str], split: str, *, train: str = "train", **options: Any) -> bool:
    """Return whether a split is there with images that are not trained on.

    Args:
        split: the split that is asked about.
        train: the split to train on.
        options: the data set's options; `val_share` is ignored.
    """
    given = {key: value for key, value in options.items() if key != "val_share"}
    with collect_faults():
        try:
            images = image_files(_open(name, root, split, given))
        except SegpipeError:
            return False
        try:
            return not images <= image_files(_open_whole(name, root, train, given))
        except SegpipeError:
            return True


def held_out_share(
    named: DatasetConfig | None, name: str, root: str | os.PathLike[str], split: str, **options: Any
) -> float | None:
    """Return the share of the training data that a run held out to evaluate on, if a split stands for it.

    Args:
        named: what the run's configuration says of its data.
        name: the data set that is opened now.
        split: the split that is opened now.

    Returns:
        None if nothing was held out of this data, the options say another share, or the split has images of its own.
    """
    if named is None or named.val_share is None or named.type != name or "val_share" in options:
        return None
    if split != named.eval.split or has_own_split(name, root, split, **options):
        return None
    return named.val_share


def all_options() -> set[str]:
    """Return the options of all data sets that are registered."""
    return {option for name in DATASETS for option in options_of(name)}


def options_of(name: str) -> list[str]:
    """Return the options that a data set takes, those of `load_dataset` included."""
    return [*keyword_options(DATASETS.get(name)), "classes", "alpha", "bit_depth", "val_share"]


def keyword_options(function: Callable[..., Any]) -> list[str]:
    """Return the names of a function's keyword-only parameters."""
    parameters = inspect.signature(function).parameters.values()
    return [parameter.name for parameter in parameters if parameter.kind is inspect.Parameter.KEYWORD_ONLY]


def _open_both(config: DatasetConfig, root: str, options: dict[str, Any]) -> tuple[Any, Any]:
    """Open the training and the evaluation data."""
    share = options.pop("val_share", config.val_share)
    if share is not None:
        if has_own_split(config.type, root, config.eval.split, train=config.train.split, **options):
            logger.warning(
                "%s has a split %r, which is not used, since val_share is given. Leave val_share out to evaluate on it",
                root,
                config.eval.split,
            )
        return hold_out(_open_whole(config.type, root, config.train.split, options), share)
    train = _open(config.type, root, config.train.split, options)
    try:
        evaluation = _open(config.type, root, config.eval.split, options)
    except MissingSplitError as error:
        hint = advice.argument("val_share", 0.1)
        if hint in str(error):
            raise
        raise MissingSplitError(
            f"{error} To hold out some of the training data to evaluate on instead, give {hint}."
        ) from None
    _refuse_the_same(train, evaluation, config)
    return train, evaluation


def _refuse_the_same(train: Any, evaluation: Any, config: DatasetConfig) -> None:
    """Refuse two splits that are the same images, as an option that is meant for one of them makes them."""
    if config.train.split == config.eval.split or not isinstance(train, SegmentationDataset):
        return
    images = image_files(train)
    if images == image_files(evaluation):
        raise InputError(
            f"{config.train.split} and {config.eval.split} are the same {len(images):,} images, such as "
            f"{min(images)}; scores on images that were trained on say nothing. Give each split its own option, such "
            f"as {advice.option('train.split_file')} and {advice.option('val.split_file')}, or hold some images out: "
            f"{advice.argument('val_share', 0.1)}."
        )


def _with_reading(dataset: Any, reading: Reading) -> Any:
    """Return the data set with images read this way."""
    reading.check()
    if reading == Reading():
        return dataset
    if isinstance(dataset, ClassificationDataset):
        return replace(dataset, reading=reading)
    return replace(dataset, pairs=tuple(pair._replace(reading=reading) for pair in dataset.pairs))


def _mixed_root(config: MixedDataConfig, index: int) -> str:
    if config.root is not None:
        return config.root
    how = " (segpipe data prepare street-scenes ROOT draws them)" if config.type == "street-scenes" else ""
    key = f"dataset.mixed[{index}]"
    raise InputError(
        f"{key} is {config.type} without a folder. Say where it lies: {advice.setting(f'{key}.root', 'path/to/it')}"
        f"{how}; or do without: {advice.setting('dataset.mixed', [])}."
    )


def _texts_of(builder: Callable[..., Any], options: dict[str, Any]) -> dict[str, Any]:
    """Return the options, in which a whole number is a text where one belongs: a folder may be called 2024."""
    texts = {each.name for each in inspect.signature(builder).parameters.values() if each.annotation in _TEXTS}
    wrong = next((key for key in options if key in texts and not _is_text(options[key])), None)
    if wrong is not None:
        raise InputError(
            f"{wrong} is {options[wrong]!r}; a text is needed. Write e.g. {advice.option(wrong, str(options[wrong]))}."
        )
    return {key: str(value) if key in texts and type(value) is int else value for key, value in options.items()}


def _is_text(value: object) -> bool:
    return isinstance(value, str | os.PathLike | int | None) and not isinstance(value, bool)


def _check_options(name: str, builder: Callable[..., SegmentationDataset], options: dict[str, Any]) -> None:
    parameters = inspect.signature(builder).parameters.values()
    if any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in parameters):
        return
    unknown = next((option for option in options if option not in options_of(name)), None)
    if unknown is not None:
        raise InputError(unknown_name_message(f"option of the data set {name}", unknown, options_of(name)))
