"""The hub: from a model's name to a folder on this disk, and back by publishing."""

from __future__ import annotations

import os
from dataclasses import replace
from datetime import timedelta
from functools import partial
from pathlib import Path

from segpipe import advice
from segpipe.configuration import load_preset, preset_names, unknown_preset_message
from segpipe.errors import (
    AccessDeniedError,
    DownloadError,
    ModelFolderError,
    ModelNameError,
    ModelNotFoundError,
    OfflineError,
    UnknownNameError,
)
from segpipe.files import absolute_path
from segpipe.log import get_logger

from .cache import Cache, CachedModel, Checked, Pruned, folder_lock
from .folder import ForeignReader, ModelFolder, is_model_folder, reading
from .http import Transport
from .model_files import INDEX_SUFFIX, select_weights_name
from .origins import (
    DATA,
    HuggingFaceSource,
    ModelScopeSource,
    Source,
    StaticHubSource,
    WeightsFileSource,
    huggingface_credentials,
    modelscope_credentials,
)
from .publishing import DEFAULT_REVISION, publish_to_directory, publish_to_hub, target_directory
from .references import WEIGHT_SUFFIXES, Reference, check_revision, parse_hub, parse_reference
from .retries import Limits
from .settings import Settings, read_settings
from .snapshots import Wanted, fetch_snapshot, touch

logger = get_logger(__name__)

BUNDLED = Path(__file__).parent / "bundled"


class Hub:
    """Finds models by name. What is in the cache is used without a request.

    Args:
        cache_dir: instead of SEGPIPE_HOME.
        offline: instead of SEGPIPE_OFFLINE.
        limits: timeouts and retries. If None, those of `Limits`, with SEGPIPE_DOWNLOAD_TIMEOUT.
        read_foreign: see `ModelFolder.open`.
    """

    def __init__(
        self,
        cache_dir: str | Path | None = None,
        offline: bool | None = None,
        *,
        limits: Limits | None = None,
        read_foreign: ForeignReader | None = None,
    ) -> None:
        self._cache_dir = cache_dir
        self._offline = offline
        self._limits = limits
        self._open = partial(ModelFolder.open, read_foreign=read_foreign)

    @property
    def settings(self) -> Settings:
        """The arguments and the environment, as they are now."""
        return read_settings(self._cache_dir, self._offline)

    @property
    def cache(self) -> Cache:
        """The cache folder."""
        return Cache(self.settings.home)

    def resolve(self, name: str | Path, revision: str | None = None, *, refresh: bool = False) -> ModelFolder:
        """Return the folder that a name stands for, downloaded if need be.

        In this order: a folder on disk, a preset, a name with its source, owner/name at the default source.

        Args:
            revision: branch, tag or commit; the same as `@revision` behind the name.
            refresh: ask the source whether the revision has moved; without a network the cached one is used.
        """
        if isinstance(name, str | Path) and os.path.isdir(name):
            return self._open_directory(Path(name), revision, str(name))
        if isinstance(name, Path):
            raise ModelFolderError(f"There is no folder {name}. Check the path.", path=name)
        if not isinstance(name, str):
            raise ModelNameError(f"A model's name is a text or a path; a {type(name).__name__} was given.")
        if name.endswith((*WEIGHT_SUFFIXES, INDEX_SUFFIX)) and ":" not in name and not os.path.exists(name):
            raise ModelFolderError(f"There is no file {name}. Check the path.", path=name)
        reference = _parse_name(name, revision)
        if reference.kind != "bare":
            return self._resolve_source(reference, name, refresh)
        if reference.location in preset_names():
            return self._resolve_preset(reference, refresh)
        return self._resolve_source(self._default_source(reference), name, refresh)

    def publish(self, folder: str | Path, name: str, *, revision: str | None = None) -> str:
        """Publish a model folder and return the name that resolves to it.

        On Hugging Face and ModelScope the repository is created if it is not there, as its account creates them. For a
        private one, create it on the website before.

        Args:
            folder: in segpipe's own format.
            name: hf:owner/name, modelscope:owner/name, owner/name where SEGPIPE_HUB says which of them or which
                directory is meant, or a directory: file:///srv/models/owner/name, ./models/owner/name.
            revision: on a static hub the name of the revision, default main; one that holds another model is refused.
                Elsewhere the branch to commit to, default main, on ModelScope master.
        """
        settings = self.settings
        if isinstance(name, str) and _is_path(name):  # a directory of a static hub
            name = absolute_path(name, error=ModelNameError).as_uri()
        reference, hub = parse_reference(name, revision), parse_hub(settings.hub) if settings.hub else None
        if reference.kind == "bare" and hub is not None and hub.kind in ("hf", "modelscope"):
            reference = replace(reference, kind=hub.kind)
        if reference.kind not in ("hf", "modelscope"):
            return publish_to_directory(folder, target_directory(reference, hub), reference.revision)
        source = self._repository(reference)
        branch = reference.revision or source.default_revision
        published = publish_to_hub(folder, source, branch, settings)
        self.cache.shelf(reference.label).drop(branch)  # what the cache has of it is old now
        return published

    def cached(self) -> tuple[CachedModel, ...]:
        """Return what the cache holds, the most recently used first."""
        return self.cache.models()

    def verify(self) -> tuple[Checked, ...]:
        """Hash everything in the cache again and compare it with the manifests."""
        return self.cache.verify()

    def prune(self, *, unused_for: timedelta | None = None, keep_last: int | None = None) -> Pruned:
        """Remove leftovers, and as much more as the arguments say, see Cache.prune."""
        return self.cache.prune(unused_for=unused_for, keep_last=keep_last)

    def remove(self, name: str, revision: str | None = None) -> Pruned:
        """Remove a model from the cache, or a data set by the name that `cached` shows.

        A preset's name removes the weights that it downloaded.
        """
        if name.startswith(f"{DATA}:"):
            return self.cache.remove_data(name, revision)
        reference = parse_reference(name, revision)
        if reference.kind == "bare" and reference.location in preset_names():
            weights = load_preset(reference.location).weights
            if weights is None or weights.source is None:
                raise ModelFolderError(f"The preset {name} has no weights to remove. Name another model.", key=name)
            reference = replace(parse_reference(weights.source), revision=reference.revision)
        elif reference.kind == "bare":
            reference = self._default_source(reference)
        return self.cache.remove(reference.label, reference.revision)

    def _resolve_source(self, reference: Reference, name: str, refresh: bool) -> ModelFolder:
        if reference.kind == "directory":
            return self._open_directory(Path(reference.location), reference.revision, name)
        if reference.kind == "package" or reference.is_weights_file:
            raise ModelNameError(
                f"{name!r} is a weights file, and a model needs a configuration. Name a preset that uses it, or fetch "
                "the file and convert it: "
                + advice.either(
                    python='segpipe.convert("FILE", "FOLDER", preset="NAME").',
                    command="segpipe convert FILE FOLDER --preset NAME.",
                )
            )
        source = self._source(reference)
        wanted = Wanted(reference.revision or source.default_revision)
        path = self._cached_or_fetched(source, reference, wanted, refresh)
        return self._open(path, name=name, revision=wanted.revision)

    def _resolve_preset(self, preset: Reference, refresh: bool) -> ModelFolder:
        configuration = load_preset(preset.location)
        weights = configuration.weights
        if weights is None or weights.source is None:
            return ModelFolder(BUNDLED, configuration, None, "segpipe", preset.location)
        reference = parse_reference(weights.source)
        if reference.kind == "package":
            return ModelFolder(BUNDLED, configuration, _bundled(reference), weights.dialect, preset.location)
        # The digest belongs to the preset's own revision.
        sha256 = weights.sha256 if preset.revision in (None, weights.revision) else None
        chosen = replace(reference, revision=preset.revision or weights.revision)
        path, file, revision = self._weights_of(chosen, weights.file, sha256, refresh)
        return ModelFolder(path, configuration, path / file, weights.dialect, preset.location, revision)

    def _weights_of(
        self, reference: Reference, file: str | None, sha256: str | None, refresh: bool
    ) -> tuple[Path, str, str]:
        """Return (folder, file name, revision) of a preset's weights."""
        if reference.kind == "directory":
            found = self._open_directory(Path(reference.location), reference.revision, reference.label)
            return found.path, file or _weights_name(found.path), found.revision or DEFAULT_REVISION
        source = self._source(reference, sha256)
        name = source.file_name if isinstance(source, WeightsFileSource) else file
        wanted = Wanted(reference.revision or source.default_revision, name, sha256)
        path = self._cached_or_fetched(source, reference, wanted, refresh)
        return path, name or _weights_name(path), wanted.revision

    def _open_directory(self, folder: Path, revision: str | None, name: str) -> ModelFolder:
        """Open a model folder, or the revision of it that a static hub's directory holds."""
        if revision is not None:
            check_revision(revision)
        with reading(folder):
            if revision is None and is_model_folder(folder):
                return self._open(folder, name=name)
            chosen = revision or DEFAULT_REVISION
            if is_model_folder(folder / chosen):
                return self._open(folder / chosen, name=name, revision=chosen)
            if revision is None and os.path.isdir(folder):
                return self._open(folder, name=name)  # says why it is not a model folder
            raise _no_such_directory(folder, revision)

    def _cached_or_fetched(self, source: Source, reference: Reference, wanted: Wanted, refresh: bool) -> Path:
        shelf = self.cache.shelf(reference.label)
        cached = shelf.find(wanted.revision, wanted.weights_file)
        if cached is not None and not refresh:
            touch(cached)
            return cached
        try:
            return self._fetch(source, reference, wanted, refresh)
        except (ModelNotFoundError, AccessDeniedError):
            raise
        except DownloadError as error:
            if cached is None:
                raise _not_cached(error, source, wanted, shelf.revisions()) from None
            logger.warning(
                "Using the cached %s@%s, the source could not be asked: %s", source.label, wanted.revision, error
            )
            return cached

    def _fetch(self, source: Source, reference: Reference, wanted: Wanted, refresh: bool) -> Path:
        settings = self.settings
        transport = Transport(self._limits or settings.limits, offline_reason=settings.offline_reason(reference.kind))
        if transport.offline_reason:
            message = f"{source.label}@{wanted.revision} would need a request and {transport.offline_reason}."
            raise OfflineError(message, key=source.label)
        self.cache.prepare()
        shelf = self.cache.shelf(reference.label)
        with folder_lock(shelf.root, settings.lock_timeout):
            # Another process may have fetched it while this one waited.
            found = None if refresh else shelf.find(wanted.revision, wanted.weights_file)
            return found or fetch_snapshot(source, shelf, transport, wanted)

    def _default_source(self, reference: Reference) -> Reference:
        """Return what a bare name means: a model at SEGPIPE_HUB, else on ModelScope."""
        hub = parse_hub(self.settings.hub or "modelscope:")
        if hub.kind == "directory":
            return replace(hub, location=str(Path(hub.location, reference.location)), revision=reference.revision)
        if hub.kind == "web":
            return replace(hub, location=f"{hub.location}/{reference.location}", revision=reference.revision)
        if reference.location.count("/") != 1:
            raise UnknownNameError(
                f"{unknown_preset_message(reference.location)} There is no folder of that name either; a model on a "
                "hub has a name like owner/name."
            )
        return replace(hub, location=reference.location, revision=reference.revision)

    def _source(self, reference: Reference, sha256: str | None = None) -> Source:
        if reference.kind in ("hf", "modelscope"):
            return self._repository(reference)
        if reference.is_weights_file:
            return WeightsFileSource(reference.location, sha256)
        return StaticHubSource(reference.location)

    def _repository(self, reference: Reference) -> HuggingFaceSource | ModelScopeSource:
        settings = self.settings
        if reference.kind == "hf":
            credentials = huggingface_credentials(settings.hf_token)
            return HuggingFaceSource(reference.location, settings.hf_endpoint, credentials)
        credentials = modelscope_credentials(settings.modelscope_token)
        return ModelScopeSource(reference.location, settings.modelscope_endpoint, credentials)


def publish(folder: str | Path, name: str, *, revision: str | None = None) -> str:
    """Publish a model folder and return the name that resolves to it, see Hub.publish."""
    return Hub().publish(folder, name, revision=revision)


def _no_such_directory(folder: Path, revision: str | None) -> ModelNotFoundError:
    if not os.path.isdir(folder):
        siblings = sorted(entry.name for entry in folder.parent.iterdir())[:8] if os.path.isdir(folder.parent) else []
        beside = f" Beside it there are {', '.join(siblings)}." if siblings else ""
        return ModelNotFoundError(f"There is no model at {folder}.{beside} Check the name.", path=folder)
    held = ", ".join(sorted(entry.name for entry in folder.iterdir() if is_model_folder(entry))[:8])
    return ModelNotFoundError(
        f"{folder} has no revision {revision!r}. It has {held or 'none'}. Name one of them.", path=folder
    )


def _parse_name(name: str, revision: str | None) -> Reference:
    """Take a name apart; what can only be a path is said to be missing instead of malformed."""
    try:
        return parse_reference(name, revision)
    except ModelNameError:
        if os.path.isfile(name):
            raise ModelFolderError(f"{name} is a file. A model folder is needed; give its folder.", path=name) from None
        if _is_path(name):
            raise ModelFolderError(f"There is no folder {name[:200]}. Check the path.", path=name) from None
        raise


def _is_path(name: str) -> bool:
    return name.startswith(("/", "./", "../", "~", ".\\", "..\\")) or name[1:3] == ":\\"


def _bundled(reference: Reference) -> Path:
    path = BUNDLED / reference.location
    if not os.path.isfile(path):
        raise ModelFolderError(
            f"{path} is missing, though it belongs to the package. Install segpipe again.", path=path
        )
    return path


def _weights_name(folder: Path) -> str:
    """Return the weights file of a folder whose other files do not matter."""
    name = select_weights_name([path.name for path in folder.iterdir()])
    if name is None:
        raise ModelFolderError(f"{folder} has no weights file that segpipe can choose. Check the source.", path=folder)
    return name


def _not_cached(
    error: DownloadError, source: Source, wanted: Wanted, revisions: tuple[tuple[str, str], ...]
) -> DownloadError:
    """Return the same kind of error, which also says what is missing and what the cache has instead."""
    file = f" with {wanted.weights_file}" if wanted.weights_file else ""
    held = ", ".join(sorted({revision for revision, _ in revisions})[:8])
    instead = (
        f"It has the revisions {held} of that model."
        if held
        else "Connect once to download it; segformer-b0-camvid comes with segpipe and needs no network."
    )
    kind = OfflineError if isinstance(error, OfflineError) else DownloadError
    return kind(
        f"{error} The cache does not have {source.label}@{wanted.revision}{file}. {instead}",
        url=error.url,
        status=error.status,
        key=source.label,
    )
