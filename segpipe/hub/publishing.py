"""Publishing a verified copy of a model folder: to a directory of a static hub, or by the client of another hub."""

from __future__ import annotations

import fnmatch
import os
import shlex
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from segpipe import advice
from segpipe.atomic import (
    atomic_folder,
    check_free_space,
    is_finished,
    scratch_folder,
    storage_errors,
)
from segpipe.errors import HubError, IntegrityError, ModelFolderError, ModelNameError
from segpipe.files import absolute_path, copy_regular
from segpipe.limits import limit
from segpipe.log import get_logger

from .folder import ModelFolder, reading, trained_model
from .manifest import Manifest, build_manifest, check_folder, find_problems, read_manifest, write_manifest
from .references import Reference, check_relative_path
from .sealing import folder_files, licence_id
from .settings import Settings
from .uploading import open_client, upload_folder

logger = get_logger(__name__)

DEFAULT_REVISION = "main"
SECRETS = (".*", "*token*", "*secret*", "*credential*", "*password*", "id_*", "*.pem", "*.key", "*.netrc")

RUNNABLE = (".py", ".pyc", ".pkl", ".pickle", ".pt", ".pth", ".bin", ".so", ".sh")


def publish_to_directory(folder: str | Path, target: Path, revision: str | None) -> str:
    """Copy a model folder to `target`/`revision` and return the name that resolves to it.

    Publishing the same bytes again changes nothing. Other bytes under a revision that is taken are refused: who has
    resolved it before must not get another model.
    """
    source, manifest = _open_publishable(folder)
    chosen = check_relative_path(revision or DEFAULT_REVISION)
    if "/" in chosen:
        raise ModelNameError(f"The revision {chosen!r} has a '/'. On a static hub it is a folder's name, e.g. 'v2'.")
    final = absolute_path(target, error=ModelNameError) / chosen
    if not os.path.lexists(final):
        check_free_space(final, manifest.size)
        with atomic_folder(final) as temporary:
            _copy(source.path, manifest, temporary, chosen)
    _require_same(final, manifest)
    return f"{final.parent.as_uri()}@{chosen}"


def publish_to_hub(folder: str | Path, reference: Reference, settings: Settings) -> str:
    """Upload a model folder to a branch on Hugging Face or ModelScope and return the name that resolves to it.

    What is uploaded is a copy, so that it is what its manifest says. Other files of the repository stay.
    """
    source, manifest = _open_publishable(folder)
    client = open_client(reference, settings)
    branch = reference.revision or client.default_branch
    weights = source.configuration.weights
    licence = licence_id(weights.licence) if weights and weights.licence else None
    place = settings.home / "publishing"
    check_free_space(place, manifest.size)
    with scratch_folder(place) as copy:
        _copy(source.path, manifest, copy, branch)
        upload_folder(client, copy, reference, branch, licence=licence)
    return f"{reference.label}@{branch}"


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
    return source, _publishable(source)


def _require_plain(folder: Path) -> None:
    """ModelFolderError for a link or a special file at any depth: it may show what is outside the folder."""
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
    """(entry, its depth) of everything below a folder. Links are not followed, except that the folder may be one."""
    waiting = [(str(folder), 1)] if os.path.isdir(folder) else []
    while waiting:
        place, depth = waiting.pop()
        for entry in os.scandir(place):
            yield entry, depth
            if entry.is_dir(follow_symlinks=False):
                waiting.append((entry.path, depth + 1))


def _publishable(source: ModelFolder) -> Manifest:
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
    return replace(manifest, files=kept)


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
    """What lies at the destination must be what was to be published, byte by byte."""
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
    """Whether a listed file may be published: a folder is data, so neither secrets nor what could run."""
    return not _is_secret(path) and not path.endswith(RUNNABLE)


def _is_secret(path: str) -> bool:
    name = path.rpartition("/")[2].lower()
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in SECRETS)
