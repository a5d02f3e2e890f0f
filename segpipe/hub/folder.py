"""A model folder: configuration.json, weights, card, manifest; and the work directory of a run, which stands for it."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import msgspec

from segpipe.atomic import MANIFEST_NAME
from segpipe.configuration import Configuration, Dialect, WeightsConfig, preset_names, read_configuration
from segpipe.errors import ModelFolderError, SegpipeError
from segpipe.log import get_logger
from segpipe.names import listing

from .manifest import Manifest, Problem, check_folder, find_missing, read_manifest, sha256_of
from .model_files import INDEX_SUFFIX, LONE_WEIGHTS, SHARD, WEIGHT_FILES, select_weights_name
from .references import WEIGHT_SUFFIXES

logger = get_logger(__name__)

ForeignReader = Callable[[Path], tuple[Configuration, Dialect] | None]
CONFIGURATION_NAME = "configuration.json"
WEIGHTS_NAME = "model.safetensors"
CARD_NAME = "README.md"
RUN_MODEL: str = "model"
RUN_CHECKPOINTS: str = "checkpoints"
RUN_BEST: str = "best"
RUN_LOG: str = "log.jsonl"
"""What a work directory holds: the finished model, the last states of the run, its best weights, its log."""
_STEP = re.compile("step-([0-9]{8,16})")


@dataclass(frozen=True)
class ModelFolder:
    """What a model's name stands for: a folder on this disk and what its configuration says.

    `segpipe.checkpoints` opens `weights`; the hub knows bytes alone.
    """

    path: Path
    configuration: Configuration
    weights: Path | None
    """The file with the tensors, or the index of several; None for a folder, or a recipe, without."""
    dialect: str
    """Whose names the tensors have, see `segpipe.configuration.Dialect`."""
    name: str
    revision: str | None = None

    def __repr__(self) -> str:
        return f"ModelFolder({str(self.path)!r})"

    @classmethod
    def open(
        cls,
        path: str | Path,
        *,
        name: str | None = None,
        revision: str | None = None,
        read_foreign: ForeignReader | None = None,
    ) -> ModelFolder:
        """Read a folder in our own format; ModelFolderError when it is not one, or not a whole one.

        The work directory of a run stands for the model that was trained there. Digests are not computed here,
        `verify` does that.

        Args:
            path: of the folder.
            name: what it is called. If None, its path.
            revision: of the model. If None, what its manifest says.
            read_foreign: reads another library's folder: its configuration in our words and whose names its tensors
                have, or None where it is not one. If None, such a folder is refused.
        """
        with reading(Path(path)):
            folder = trained_model(Path(path))
            _require_folder(folder)
            configuration, dialect = _read_configuration(folder, read_foreign)
            manifest = read_manifest(folder)
            _require_whole(folder, manifest)
            configuration = _with_origin(configuration, dialect, manifest)
            stated = configuration.weights.file if configuration.weights else None
            weights = _find_weights(folder, stated)
        known_revision = revision or (manifest.revision if manifest else None)
        return cls(folder, configuration, weights, dialect, name or str(path), known_revision)

    def verify(self) -> tuple[Problem, ...]:
        """Hash every file and say what differs from manifest.json; an empty tuple means intact."""
        pinned = self.configuration.weights.sha256 if self.configuration.weights else None
        if pinned is None or self.weights is None or os.path.isfile(self.path / MANIFEST_NAME):
            return check_folder(self.path)
        # A file that comes with the package has no manifest; its digest is in the preset.
        actual = sha256_of(self.weights)
        what = f"has sha256 {actual}, the preset says {pinned}"
        return () if actual == pinned else (Problem("changed", self.weights.name, what),)

    def require_weights(self) -> Path:
        """Return the file with the tensors; ModelFolderError where there is none says where they could come from."""
        if self.weights is not None:
            return self.weights
        stated = self.configuration.weights
        if stated is not None and stated.source is None:
            raise ModelFolderError(
                f"{self.name} is a recipe without weights: no public weights are available. "
                f"Train it (segpipe train --model {self.name}), or convert a checkpoint that you have: "
                f"segpipe convert FILE FOLDER --preset {self.name}.",
                path=self.path,
            )
        raise ModelFolderError(
            f"{self.name} has no weights, only a configuration. Train it, or put {WEIGHTS_NAME} into {self.path}.",
            path=self.path,
        )


@contextmanager
def reading(folder: Path) -> Iterator[None]:
    """Turn an operating system's refusal to read a folder into a ModelFolderError."""
    try:
        yield
    except SegpipeError:  # some are OSErrors as well
        raise
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise ModelFolderError(
            f"{error.filename or folder} cannot be read: {reason}. Check the path and its permissions.",
            path=error.filename or folder,
        ) from None


def is_model_folder(path: str | Path) -> bool:
    """Return whether a directory has a configuration that might be a model's; its content is not looked at."""
    folder = Path(path)
    return any(os.path.isfile(folder / name) for name in (CONFIGURATION_NAME, "config.json"))


def trained_model(folder: Path) -> Path:
    """Return the model folder of a run's work directory; any other path as it is.

    Raises:
        ModelFolderError: a run that is not finished, so that there is no model folder yet.
    """
    if not _is_work_dir(folder):
        return folder
    if os.path.isfile(folder / RUN_MODEL / CONFIGURATION_NAME):
        _say_once(folder)
        return folder / RUN_MODEL
    if is_model_folder(folder):
        return folder
    raise ModelFolderError(_unfinished_text(folder), path=folder)


def last_weights(folder: Path) -> Path | None:
    """Return what can be used as the model of a work directory now, or None.

    It is the finished one, else the best weights so far, else the last checkpoint.
    """
    if os.path.isfile(folder / RUN_MODEL / CONFIGURATION_NAME):
        return folder / RUN_MODEL
    return newest_step(folder / RUN_BEST) or newest_step(folder / RUN_CHECKPOINTS)


def newest_step(folder: Path) -> Path | None:
    """Return the newest of the checkpoints in a folder, or None where there is none."""
    if not os.path.isdir(folder):
        return None
    steps = {entry.name: int(match[1]) for entry in folder.iterdir() if (match := _STEP.fullmatch(entry.name))}
    return folder / max(steps, key=steps.__getitem__) if steps else None


def _require_folder(folder: Path) -> None:
    if os.path.isfile(folder):
        raise ModelFolderError(
            f"{folder} is a file. A model folder is needed; give the folder that it lies in.", path=folder
        )
    if not os.path.isdir(folder):
        raise ModelFolderError(f"There is no folder {folder}. Check the path.", path=folder)
    if is_model_folder(folder):
        return
    held = ", ".join(sorted(os.listdir(folder))[:8]) or "nothing"
    raise ModelFolderError(
        f"{folder} is not a model folder: it has no configuration.json and no config.json (it holds {held}). "
        f"{_advice(folder)}",
        path=folder,
    )


def _advice(folder: Path) -> str:
    checkpoint = newest_step(folder)
    if checkpoint is not None:
        return f"It holds checkpoints of a run, each of which can be used as a model; the newest is {checkpoint}."
    if is_model_folder(folder / RUN_MODEL):
        return f"Its folder {folder / RUN_MODEL} may be meant."
    weights = [name for name in sorted(os.listdir(folder)) if name.endswith((*WEIGHT_SUFFIXES, INDEX_SUFFIX))]
    if weights:
        chosen = select_weights_name(weights) or weights[0]
        return f"To make one of a checkpoint in it: segpipe convert {folder / chosen} NEW_FOLDER."
    if folder.name in preset_names():
        return f"It hides the preset {folder.name}: rename the folder, or work in another one, to use the preset."
    return "For a model of that name on a hub, write modelscope:owner/name or hf:owner/name."


def _read_configuration(folder: Path, read_foreign: ForeignReader | None) -> tuple[Configuration, Dialect]:
    foreign = read_foreign(folder) if read_foreign else None
    if foreign is not None:
        return foreign
    if not os.path.isfile(folder / CONFIGURATION_NAME):
        raise ModelFolderError(
            f"{folder}/config.json is not that of a model which segpipe reads. It needs a SegFormer of Hugging Face's "
            "or a configuration.json."
            if read_foreign
            else f"{folder} is a folder of another library. Open it with segpipe.load_model, or convert it: segpipe "
            f"convert {folder} NEW_FOLDER.",
            path=folder,
        )
    configuration = read_configuration(folder / CONFIGURATION_NAME)
    return configuration, configuration.weights.dialect if configuration.weights else "segpipe"


def _with_origin(configuration: Configuration, dialect: Dialect, manifest: Manifest | None) -> Configuration:
    """Say where a downloaded folder of another library comes from, as the manifest made for it does."""
    if configuration.weights is not None or dialect == "segpipe" or manifest is None or manifest.source is None:
        return configuration
    weights = WeightsConfig(source=manifest.source, revision=manifest.revision, dialect=dialect)
    return msgspec.structs.replace(configuration, weights=weights)


def _require_whole(folder: Path, manifest: Manifest | None) -> None:
    problems = find_missing(folder, manifest) if manifest else ()
    if problems:
        raise ModelFolderError(
            f"{folder} is not whole: {'; '.join(str(problem) for problem in problems[:5])}. "
            "Download it again, or call segpipe.hub.seal_folder if you changed it on purpose.",
            path=folder,
        )


def _find_weights(folder: Path, stated: str | None) -> Path | None:
    names = [path.name for path in folder.iterdir() if os.path.isfile(path)]
    if stated in names:
        return folder / stated
    chosen = select_weights_name(names)
    lone = sorted(name for name in names if name.endswith(LONE_WEIGHTS))
    shards = sorted(name for name in names if SHARD.search(name))
    if stated is not None and (chosen or lone):
        raise ModelFolderError(
            f"{folder} has no {stated}, which weights.file of its configuration.json names, but {chosen or lone[0]}. "
            "Put the named file there, or correct weights.file and weights.dialect.",
            path=folder,
        )
    if chosen is not None:
        return folder / chosen
    if lone:
        raise ModelFolderError(
            f"{folder} has several weights files ({', '.join(lone[:5])}) and none of the usual names "
            f"({', '.join(WEIGHT_FILES)}). Keep one, or name it in weights.file of configuration.json.",
            path=folder,
        )
    if shards:
        raise ModelFolderError(
            f"{folder} has weights in several files ({listing(shards)}) without the index that says what is in them. "
            "Put model.safetensors.index.json or pytorch_model.bin.index.json beside them.",
            path=folder,
        )
    return None


def _is_work_dir(folder: Path) -> bool:
    """Return whether a run has worked in a folder. A model folder may hold a log, too, and weights beside it."""
    has_log = os.path.isfile(folder / RUN_LOG) and not os.path.isfile(folder / WEIGHTS_NAME)
    return has_log or os.path.isdir(folder / RUN_CHECKPOINTS)


@cache
def _say_once(folder: Path) -> None:
    """Log where a run's model lies, the first time that it is looked up."""
    logger.info("%s is the work directory of a run; its model is %s", folder, folder / RUN_MODEL)


def _unfinished_text(folder: Path) -> str:
    weights = last_weights(folder)
    text = (
        f"{folder} holds a run that is not finished, so it has no folder {RUN_MODEL} yet. To finish it, make the call "
        "that began it again."
    )
    if weights is None:
        return f"{text} It has saved no checkpoint so far."
    kind = "Its best weights so far" if weights.parent.name == RUN_BEST else "The weights of its last checkpoint"
    return f"{text} {kind} can be used as a model: {weights}."
