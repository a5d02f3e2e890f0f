"""Publish a verified copy of a model folder: to a directory of a static hub, or by the client of another hub."""

from __future__ import annotations

import fnmatch
import io
import os
import shlex
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, redirect_stdout
from dataclasses import replace
from pathlib import Path
from typing import Any

from segpipe import advice
from segpipe.atomic import atomic_folder, check_free_space, is_finished, scratch_folder, storage_errors
from segpipe.errors import AccessDeniedError, HubError, IntegrityError, ModelFolderError, ModelNameError, OfflineError
from segpipe.extras import import_extra
from segpipe.files import absolute_path, copy_regular
from segpipe.limits import limit
from segpipe.log import get_logger
from segpipe.progress_bars import are_bars_seen
from segpipe.text import first_line

from .folder import ModelFolder, reading, trained_model
from .manifest import Manifest, build_manifest, check_folder, find_problems, read_manifest, write_manifest
from .model_card import folder_files, license_id
from .origins import Repository
from .references import Reference, check_relative_path
from .settings import Settings

logger = get_logger(__name__)

DEFAULT_REVISION = "main"
SECRETS = (".*", "*token*", "*secret*", "*credential*", "*password*", "id_*", "*.pem", "*.key", "*.netrc")
RUNNABLE = (".py", ".pyc", ".pkl", ".pickle", ".pt", ".pth", ".bin", ".so", ".sh")
MESSAGE = "Upload a model folder of segpipe"
"""Of the commits."""


def publish_to_directory(folder: str | Path, target: Path, revision: str | None) -> str:
    """Copy a model folder to `target`/`revision` and return the name that resolves to it.

    Publishing the same bytes again changes nothing. Other bytes under a revision that is taken are refused: what it
    resolves to must not change.
    """
    source, manifest = _open_publishable(folder)
    chosen = check_relative_path(revision or DEFAULT_REVISION)
    if "/" in chosen:
        raise ModelNameError(f"The revision {chosen!r} has a '/'. On a static hub it is a folder's name, e.g. 'v2'.")
    final = absolute_path(target, error=ModelNameError) / chosen
    if not os.path.lexists(final):
        check_free_space(final, manifest.size, "The model", advice="or publish to a larger disk")
        with atomic_folder(final) as temporary:
            _copy(source.path, manifest, temporary, chosen)
    _require_same(final, manifest)
    return f"{final.parent.as_uri()}@{chosen}"


def publish_to_hub(folder: str | Path, source: Repository, branch: str, settings: Settings) -> str:
    """Upload a model folder to a branch on Hugging Face or ModelScope and return the name that resolves to it.

    What is uploaded is a copy, so that it is what its manifest says, in one commit. Other files of the repository stay.

    Raises:
        OfflineError: no request may be made.
        MissingExtraError: the client is not installed.
        AccessDeniedError: the token may not write there, or there is none.
        HubError: the client failed for another reason.
    """
    model, manifest = _open_publishable(folder)
    reason = settings.offline_reason(source.kind)
    if reason:
        raise OfflineError(f"Publishing to {source.label} would need requests and {reason}.", key=source.label)
    module, extra, upload = _CLIENTS[source.kind]
    library = import_extra(module, extra=extra)
    weights = model.configuration.weights
    license = license_id(weights.licence) if weights and weights.licence else None
    place = settings.home / "publishing"
    check_free_space(place, manifest.size, "A copy to publish")
    with scratch_folder(place) as copy:
        _copy(model.path, manifest, copy, branch)
        try:
            upload(library, source, branch, copy, license)
        except Exception as error:  # each client has a tree of its own, with errors of the network beside it
            raise _explained(error, source) from error
    return f"{source.label}@{branch}"


def target_directory(reference: Reference, hub: Reference | None) -> Path:
    """Return the directory of the model that a name stands for; HubError when it cannot be published to."""
    if reference.kind == "directory":
        return Path(reference.location)
    if reference.kind == "bare" and hub is not None and hub.kind == "directory":
        return Path(hub.location, *reference.location.split("/"))
    if reference.kind == "package":
        raise ModelNameError(f"{reference.label} is inside the package. Publish to owner/name or file:///directory.")
    where = "does not say where to publish" if reference.kind == "bare" else "is on a web server, which only serves"
    raise HubError(
        f"{reference.label!r} {where}. segpipe publishes to a static hub, a directory that a web server may serve, to "
        "Hugging Face and to ModelScope. Set SEGPIPE_HUB to that directory and publish to owner/name, or publish to "
        "file:///directory/owner/name, hf:owner/name or modelscope:owner/name.",
        key=reference.label,
    )


def _open_publishable(folder: str | Path) -> tuple[ModelFolder, Manifest]:
    """Open a folder that may be published, with the manifest of what is."""
    place = trained_model(Path(folder))
    _require_plain(place)
    source = ModelFolder.open(place)
    if source.dialect != "segpipe" or source.weights is None or source.weights.suffix != ".safetensors":
        own = f"{source.path}-own"
        raise ModelFolderError(
            f"{source.path} is not a folder in segpipe's own format (dialect {source.dialect}, weights "
            f"{source.weights.name if source.weights else 'missing'}). Convert it first: "
            + advice.either(
                python=f"segpipe.convert({advice.python_value(source.path)}, {advice.python_value(own)}).",
                command=f"{shlex.join(['segpipe', 'convert', str(source.path), own])}.",
            ),
            path=source.path,
        )
    manifest = read_manifest(source.path) or build_manifest(source.path, folder_files(source.path))
    problems = [problem for problem in find_problems(source.path, manifest) if problem.kind != "extra"]
    if problems:
        raise IntegrityError(
            f"{source.path} is not what its manifest says: {'; '.join(str(p) for p in problems[:5])}. "
            "Seal it again if the change is meant, or download it again.",
            path=source.path,
        )
    _warn_of_others(source.path, manifest)
    kept = tuple(entry for entry in manifest.files if _is_published(entry.path))
    return source, replace(manifest, files=kept)


def _require_plain(folder: Path) -> None:
    """Refuse a link or a special file at any depth: it may show what is outside the folder."""
    with reading(folder):
        for count, (entry, depth) in enumerate(_entries_below(folder), 1):
            if not entry.is_dir(follow_symlinks=False) and not entry.is_file(follow_symlinks=False):
                kind = "a link" if entry.is_symlink() else "a special file"
                raise ModelFolderError(
                    f"{entry.path} is {kind}; a folder that is published holds regular files alone. Replace it with a "
                    "copy of what is meant, or move it out of the folder.",
                    path=folder,
                )
            if count > limit("listed_files") or depth > limit("path_depth"):
                raise ModelFolderError(
                    f"{folder} holds more than {limit('listed_files'):,} files, or folders nested more than "
                    f"{limit('path_depth')} deep. Publish the model folder itself.",
                    path=folder,
                )


def _entries_below(folder: Path) -> Iterator[tuple[os.DirEntry[str], int]]:
    """Yield (entry, its depth) of everything below a folder, which may be a link; others are not followed."""
    waiting = [(str(folder), 1)] if os.path.isdir(folder) else []
    while waiting:
        place, depth = waiting.pop()
        for entry in os.scandir(place):
            yield entry, depth
            if entry.is_dir(follow_symlinks=False):
                waiting.append((entry.path, depth + 1))


def _copy(folder: Path, manifest: Manifest, target: Path, revision: str) -> None:
    """Copy what a manifest lists into an empty folder, and verify it there."""
    with storage_errors(target, manifest.size):
        for entry in manifest.files:
            place = target / entry.path
            place.parent.mkdir(parents=True, exist_ok=True)
            copy_regular(folder / entry.path, place, error=ModelFolderError)
        write_manifest(target, replace(manifest, revision=revision, commit=None))
    problems = check_folder(target)
    if problems:
        raise IntegrityError(
            f"{folder} changed while it was copied: {problems[0]}. Publish it again.", path=folder / problems[0].path
        )


def _require_same(final: Path, manifest: Manifest) -> None:
    """Refuse a destination that does not hold what was to be published, byte by byte."""
    held = read_manifest(final) if is_finished(final) else None
    if held is None or held.id != manifest.id:
        raise HubError(
            f"{final} already holds something else. A published revision stays as it is: "
            f"publish under another one, such as the revision 'v2', or remove {final} first.",
            path=final,
        )
    problems = find_problems(final, held)
    if problems:
        raise IntegrityError(f"{final} is damaged: {problems[0]}. Remove it and publish again.", path=final)


def _warn_of_others(folder: Path, manifest: Manifest) -> None:
    listed = {entry.path for entry in manifest.files if _is_published(entry.path)} | {"manifest.json"}
    others = sorted(entry.name for entry in os.scandir(folder) if entry.name not in listed)
    secrets = [name for name in others if _is_secret(name)]
    if secrets:
        logger.warning("Not publishing %s: they look like secrets.", ", ".join(secrets))
    if len(others) > len(secrets):
        logger.info("Not part of the model folder: %s.", ", ".join(name for name in others if name not in secrets))


def _is_published(path: str) -> bool:
    """Return whether a listed file may be published: a folder is data, so neither secrets nor what could run."""
    return not _is_secret(path) and not path.endswith(RUNNABLE)


def _is_secret(path: str) -> bool:
    name = path.rpartition("/")[2].lower()
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in SECRETS)


def _upload_to_huggingface(library: Any, source: Repository, branch: str, folder: Path, license: str | None) -> None:
    """Commit all files of a folder, signed in as the environment says, else as the user has signed in with the client.

    The repository is created if it is not there, and so is the branch.
    """
    api = library.HfApi(endpoint=source.endpoint, token=source.credentials.token)
    api.create_repo(source.name, exist_ok=True)
    if branch != source.default_revision:
        api.create_branch(source.name, branch=branch, exist_ok=True)
    with nullcontext() if are_bars_seen() else _without_bars():
        api.upload_folder(repo_id=source.name, folder_path=folder, revision=branch, commit_message=MESSAGE)


def _upload_to_modelscope(library: Any, source: Repository, branch: str, folder: Path, license: str | None) -> None:
    """Do what `_upload_to_huggingface` does; a repository that is created states a license."""
    api = library.HubApi(library.HubConfig(endpoint=source.endpoint, token=source.credentials.token))
    if not api.repo_exists(source.name, "model"):
        api.create_repo(source.name, "model", license=license or "other")  # its default is Apache-2.0
    # It prints a report, which it has no switch for. What other threads print meanwhile is lost with it.
    with redirect_stdout(io.StringIO()):
        api.upload_folder(
            source.name,
            "model",
            folder,
            revision=branch,
            commit_message=MESSAGE,
            use_cache=False,
            disable_tqdm=not are_bars_seen(),
        )


_CLIENTS = {
    "hf": ("huggingface_hub", "huggingface", _upload_to_huggingface),
    "modelscope": ("modelscope_hub", "modelscope", _upload_to_modelscope),
}
"""The hub's own client, the extra that brings it, and what uploads by it."""


@contextmanager
def _without_bars() -> Iterator[None]:
    """Switch the progress bars of `huggingface_hub` off meanwhile."""
    switches = import_extra("huggingface_hub.utils", extra="huggingface")
    if switches.are_progress_bars_disabled():
        yield
        return
    switches.disable_progress_bars()
    try:
        yield
    finally:
        switches.enable_progress_bars()


def _explained(error: Exception, source: Repository) -> HubError:
    """Return our error for what a client raised."""
    response = getattr(error, "response", None)
    status = getattr(response, "status_code", None) or getattr(error, "status_code", None)
    reason = first_line(error).rstrip(". :")
    if status in (401, 403):
        return AccessDeniedError(
            f"{source.label} may not be written to: {reason}. It needs a token of its owner's that may write. Set "
            f"{source.credentials.variable}, or sign in with the hub's own client.",
            status=status,
            key=source.label,
        )
    return HubError(
        f"Publishing to {source.label} failed: {reason}. Check the name, the branch and the network, and publish "
        "again; files that the hub has already are not sent twice.",
        status=status,
        key=source.label,
    )
